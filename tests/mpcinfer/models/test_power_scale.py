"""Power attention in training is power attention at inference, with heads scaled or not."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mpcinfer.backends.attention_weights import causal_weights
from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.config import AttentionForm, ModelConfig, weight_shapes
from mpcinfer.models.decoder import Decoder, KVCache
from mpcinfer.models.power_scale import power_scales, scale_power
from mpcinfer.models.ranges import RecordingBackend
from mpcinfer.models.static import static
from mpcinfer.models.variants import variant
from parties.errors import ConfigError
from tests.mpcinfer.models import paper

BASE = ModelConfig(
    layers=2, width=16, heads=2, kv_heads=2, head_width=8, hidden=24, vocabulary=40, context=16
)
CONFIGS = {
    name: variant(name, BASE) for name in ("power2", "power4", "power8", "2quad", "power4+SM(t)+ScFuFFN")
}
configs = pytest.mark.parametrize("config", CONFIGS.values(), ids=list(CONFIGS))
PROMPTS = [[3, 1, 4, 1, 5, 9, 2, 6], [2, 7, 1, 8, 2], [1]]


def run(config: ModelConfig, weights: dict[str, torch.Tensor], ids: list[int]) -> torch.Tensor:
    backend = PlainBackend()
    return Decoder(backend, config, weights).forward(backend.tokens(ids, len(ids)), len(ids))[0]


@pytest.mark.parametrize("power", [2, 4, 6, 8])
@pytest.mark.parametrize("start", [0, 5])
@pytest.mark.parametrize("size", [1e-3, 1.0, 30.0])
def test_weights_of_training_are_those_of_inference(power: int, start: int, size: float) -> None:
    """In float32, against s^p / L over (mean s^p + epsilon) in float64, row by row over the keys seen."""
    generator = torch.Generator().manual_seed(1)
    scores = size * torch.randn(1, 3, 7, 7 + start, generator=generator)
    epsilon = torch.tensor([1e-3, 1e-1, 1e-5])
    form = AttentionForm("power", power)
    for numbers in (None, epsilon):
        weights = causal_weights(scores, start, form, numbers)
        assert weights.dtype == torch.float32
        for head in range(3):
            per_key = form.epsilon if numbers is None else float(numbers[head])
            for row in range(7):
                seen = start + row + 1
                powers = scores[0, head, row, :seen].double() ** power
                right = powers / seen / (powers.mean() + per_key)
                assert float((weights[0, head, row, :seen] - right).abs().max()) < 1e-6
                assert not weights[0, head, row, seen:].any()


def test_the_divisor_does_not_grow_with_the_length() -> None:
    """Rows of equal scores: each of L keys gets s^p / (L (s^p + epsilon)), whatever L is."""
    form = AttentionForm("power", 4, epsilon=0.25)
    weights = causal_weights(torch.full((1, 1, 9, 9), 0.5, dtype=torch.float64), 0, form)
    share = 0.5**4 / (0.5**4 + 0.25)
    assert torch.allclose(weights.sum(-1), torch.tensor(share, dtype=torch.float64))


@configs
def test_scaled_heads_are_the_same_function(config: ModelConfig) -> None:
    weights = paper.random_weights(config)
    scales = torch.tensor([[0.5, 3.0], [7.0, 1.0]], dtype=torch.float64)
    scaled, result = scale_power(config, weights, scales)
    assert scaled.attention_scaled
    assert scaled.attention_shift == 0.0
    assert {name: tuple(value.shape) for name, value in result.items()} == weight_shapes(scaled)
    right = paper.logits(config, weights, PROMPTS[0])
    assert torch.allclose(run(*static(scaled, result), PROMPTS[0]), right, rtol=0, atol=1e-9)
    assert torch.allclose(paper.logits(scaled, result, PROMPTS[0]), right, rtol=0, atol=1e-9)
    twice, again = scale_power(scaled, result, 1 / scales)
    assert torch.allclose(run(*static(twice, again), PROMPTS[0]), right, rtol=0, atol=1e-9)


@configs
def test_training_form_is_inference_form_in_float32(config: ModelConfig) -> None:
    """All rows at once without scales, and row by row over a cache with scales."""
    weights = paper.random_weights(config, dtype=torch.float32)
    trained = run(*static(config, weights), PROMPTS[0])
    scales = power_scales(config, weights, PROMPTS)
    shape, used = static(*scale_power(config, weights, scales))
    backend, cache, rows = PlainBackend(), KVCache[torch.Tensor](), list[torch.Tensor]()
    for token in PROMPTS[0]:
        rows.append(Decoder(backend, shape, used).forward(backend.tokens([token], 1), 1, cache=cache)[0])
    largest = float(trained.abs().max())
    assert float((torch.cat(rows) - trained).abs().max()) < FLOAT32_STEPS * 2.0**-24 * largest


FLOAT32_STEPS = 8 * 100
"""Logits pass through two layers of sums over 8 to 24 terms, a hundred in a row, each off by 2^-24 of its
size in float32, which a power of 8 multiplies by 8. Attention weights alone are within 1e-6: above."""


@configs
def test_calibrated_scales_put_divisors_around_one(config: ModelConfig) -> None:
    weights = paper.random_weights(config)
    for name in weights:
        if name.endswith("qkv.weight"):
            weights[name] = 5 * weights[name]
    scaled, result = scale_power(config, weights, power_scales(config, weights, PROMPTS))
    after = power_scales(scaled, result, PROMPTS)
    assert torch.allclose(after, torch.ones_like(after), rtol=0, atol=1e-9)
    before, narrowed = (
        [_spread(shape, kept, layer) for layer in range(config.layers)]
        for shape, kept in ((config, weights), (scaled, result))
    )
    assert all(low <= 1 <= high for low, high in narrowed)
    assert max(high for _, high in before) > 1.5 * max(high for _, high in narrowed)


def _spread(config: ModelConfig, weights: dict[str, torch.Tensor], layer: int) -> tuple[float, float]:
    """Least and greatest divisor of a layer as calibration records them."""
    backend = RecordingBackend()
    shape, used = static(config, weights)
    for ids in PROMPTS:
        Decoder(backend, shape, used).forward(backend.tokens(ids, len(ids)), len(ids))
    prefix = f"layer{layer}.attn.power/divisor"
    return backend.ranges[f"{prefix}_min"], backend.ranges[f"{prefix}_max"]


def test_what_cannot_be_scaled_is_refused() -> None:
    softmax, power = variant("SM+ScFuFFN", BASE), CONFIGS["power4"]
    with pytest.raises(ConfigError, match="softmax"):
        scale_power(softmax, paper.random_weights(softmax), torch.ones(2, 2))
    with pytest.raises(ConfigError, match="power attention"):
        power_scales(softmax, paper.random_weights(softmax), PROMPTS)
    with pytest.raises(ConfigError, match="prompts"):
        power_scales(power, paper.random_weights(power), [])
    for scales in (torch.ones(2), torch.zeros(2, 2), -torch.ones(2, 2)):
        with pytest.raises(ConfigError, match=r"positive scales of shape \[2, 2\]"):
            scale_power(power, paper.random_weights(power), scales)
    with pytest.raises(ConfigError, match="relu"):
        dataclasses.replace(variant("relu", BASE), attention_scaled=True)
