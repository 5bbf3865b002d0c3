"""The watching backend computes what the plain one does and sees what happened."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.entropy.watch import WatchingBackend
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder
from mpcinfer.training.losses import Objective
from mpcinfer.training.range_penalty import RangePenalty
from mpcinfer.training.weights import initial_weights
from parties.errors import ConfigError

CONFIG = ModelConfig(
    layers=2, width=16, heads=2, kv_heads=2, head_width=8, hidden=32, vocabulary=30, context=8
)
TOKENS = torch.arange(24).view(3, 8)


def weights(config: ModelConfig) -> dict[str, torch.Tensor]:
    """First weights with larger queries and keys, so that attention is not flat."""
    first = initial_weights(config, 0)
    return {name: value * 20 if name.endswith("qkv.weight") else value for name, value in first.items()}


@pytest.mark.parametrize("attention", ["softmax", "power", "relu"])
def test_logits_are_the_plain_ones_and_weights_those_used(attention: str) -> None:
    config = dataclasses.replace(CONFIG, attention=attention, attention_offset=True)
    watching = WatchingBackend(keep_ranges=True)
    logits = Decoder(watching, config, weights(config)).forward(TOKENS, 8)
    assert torch.equal(logits, Decoder(PlainBackend(), config, weights(config)).forward(TOKENS, 8))
    assert [tuple(layer.shape) for layer in watching.weights] == [(3, 2, 8, 8)] * 2
    assert [tuple(peak.shape) for peak in watching.score_peaks] == [(3, 2)] * 2
    assert [tuple(variance.shape) for variance in watching.variances] == [
        (3,)
    ] * 5  # two a block, one at the head
    if attention == "softmax":
        assert torch.allclose(watching.weights[0].sum(-1), torch.ones(3, 2, 8), rtol=0, atol=1e-6)
    assert not watching.weights[0].triu(1).any()


def test_weights_are_float32_inside_mixed_precision() -> None:
    watching = WatchingBackend()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        Decoder(watching, CONFIG, weights(CONFIG)).forward(TOKENS, 8)
    assert {layer.dtype for layer in watching.weights} == {torch.float32}
    assert torch.allclose(watching.weights[1].sum(-1), torch.ones(3, 2, 8), rtol=0, atol=1e-6)


def test_peaks_are_of_visible_scores_alone() -> None:
    scores = torch.tensor([[1.0, 50.0], [-3.0, 2.0]])[None, None]
    watching = WatchingBackend(keep_weights=False, keep_ranges=True)
    watching.attention_weights(scores, 0, CONFIG.form)
    assert watching.score_peaks[0].tolist() == [[3.0]]
    assert not watching.weights


@pytest.mark.parametrize(("norm", "largest"), [("layernorm", 4.0), ("rmsnorm", 13.0)])
def test_variances_are_the_largest_of_a_windows_rows(norm: str, largest: float) -> None:
    x = torch.tensor([[[1.0, 5.0], [2.0, 2.0]]])
    watching = WatchingBackend(keep_ranges=True)
    watching.norm(x, None, None, norm, 1e-5)
    assert watching.variances[0].tolist() == [largest]


def test_pre_activations_are_the_largest_of_a_window() -> None:
    x = torch.tensor([[[1.0, -5.0], [2.0, 2.0]], [[0.5, 0.0], [0.0, 0.25]]])
    watching = WatchingBackend(keep_ranges=True)
    watching.activation(x, "gelu")
    watching.activation(x, "identity")
    assert [peak.tolist() for peak in watching.pre_activations] == [[5.0, 0.5]]


def test_range_penalty_counts_what_is_beyond() -> None:
    peaks = [torch.tensor([[2.0, 5.0]]), torch.tensor([[4.0, 3.0]])]
    variances = [torch.tensor([11.0])]
    scores = RangePenalty(strength=0.5, scores=3.0)
    assert scores.value(peaks, variances).item() == 0.5 * ((0 + 4) / 2 + (1 + 0) / 2)
    assert RangePenalty(strength=0.5, scores=5.0).value(peaks, variances).item() == 0
    assert RangePenalty(strength=0.5, variance=10.0).value(peaks, variances).item() == 0.5
    both = RangePenalty(strength=0.5, scores=3.0, variance=10.0)
    assert both.value(peaks, variances).item() == 0.5 * 3.5
    activations = RangePenalty(strength=0.5, activations=4.0)
    assert activations.value(peaks, variances, [torch.tensor([5.0, 7.0])]).item() == 0.5 * (1 + 9) / 2
    assert activations.value(peaks, variances).item() == 0
    with pytest.raises(ConfigError, match="needs a bound"):
        RangePenalty()
    with pytest.raises(ConfigError, match="scores"):
        RangePenalty(scores=-1.0)


def test_range_gradients_reach_queries_and_norm_inputs() -> None:
    parameters = {name: torch.nn.Parameter(value) for name, value in weights(CONFIG).items()}
    watching = WatchingBackend(keep_weights=False, keep_ranges=True)
    Decoder(watching, CONFIG, parameters).forward(TOKENS, 8)
    scores = RangePenalty(scores=0.0).value(watching.score_peaks, watching.variances)
    variance = RangePenalty(variance=0.0).value(watching.score_peaks, watching.variances)
    ranges = (watching.score_peaks, watching.variances, watching.pre_activations)
    activations = RangePenalty(activations=0.0).value(*ranges)
    for loss, name in (
        (scores, "layer1.attn.qkv.weight"),
        (variance, "layer1.ffn.out.weight"),
        (activations, "layer1.ffn.in.weight"),
    ):
        gradient = torch.autograd.grad(loss, parameters[name], retain_graph=True)[0]
        assert bool(gradient.any())


def test_power_attention_is_trained_on_float32_weights() -> None:
    """In bfloat16 products, its rows come from float32: sums of powers do not lose what bfloat16 would."""
    config = dataclasses.replace(CONFIG, attention="power", attention_offset=True)
    first = weights(config)
    tokens = torch.arange(27).view(3, 9)
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    objective = Objective(config=config, precision="bfloat16", windows=3)
    rounded = objective(first, None, inputs, targets).told["loss"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = Decoder(WatchingBackend(), config, first).forward(inputs, 8)
    expected = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
    assert torch.equal(rounded, expected)
    exact = Objective(config=config, precision="float32", windows=3)(first, None, inputs, targets)
    # Products of bfloat16 numbers: relative errors of 2^-8 in each of a few layers' outputs.
    assert float(rounded) == pytest.approx(float(exact.told["loss"]), rel=2**-6)
