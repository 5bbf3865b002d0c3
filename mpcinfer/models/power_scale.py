"""Power attention in a range that fixed point can hold: scores divided by a number a head.

s^p over (mean s^p + epsilon) does not change when a head's scores are divided by c and its epsilon by c^p.
The divisor does: with c from calibration it is near 1 for every head.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import final

import torch

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.config import AttentionForm, ModelConfig
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.static import static
from parties.errors import ConfigError


def scale_power(
    config: ModelConfig, weights: Mapping[str, torch.Tensor], scales: torch.Tensor
) -> tuple[ModelConfig, dict[str, torch.Tensor]]:
    """The same function with the scores of head h in layer l divided by scales[l, h].

    Queries and their bias are divided, and so is the head's offset, which takes in a public shift; epsilon
    becomes a weight a head. Free: the server does it in cleartext.

    Args:
        scales: [L, H], positive.

    Raises:
        ConfigError: no power attention, or scales of another shape or not positive.
    """
    if config.attention != "power":
        raise ConfigError(f"scales are for power attention, not for {config.attention}")
    if tuple(scales.shape) != (config.layers, config.heads) or not bool((scales > 0).all()):
        expected = f"[{config.layers}, {config.heads}]"
        raise ConfigError(f"expected positive scales of shape {expected}, got {list(scales.shape)}")
    offset = config.attention_offset or config.attention_shift != 0
    scaled = dataclasses.replace(config, attention_scaled=True, attention_shift=0.0, attention_offset=offset)
    result = dict(weights)
    rest = 2 * config.kv_heads * config.head_width
    for layer in range(config.layers):
        prefix = f"layer{layer}.attn"
        factor = 1 / scales[layer].to(result[f"{prefix}.qkv.weight"])
        columns = torch.cat([factor.repeat_interleave(config.head_width), factor.new_ones(rest)])
        for name in (f"{prefix}.qkv.weight", f"{prefix}.qkv.bias"):
            if name in result:
                result[name] = result[name] * columns
        if offset:
            known = result.get(f"{prefix}.offset", torch.zeros_like(factor))
            result[f"{prefix}.offset"] = (known + config.attention_shift) * factor
        epsilon = result.get(f"{prefix}.epsilon", torch.full_like(factor, config.attention_epsilon))
        result[f"{prefix}.epsilon"] = epsilon * factor**config.power
    return scaled, result


def power_scales(
    config: ModelConfig, weights: Mapping[str, torch.Tensor], prompts: Sequence[Sequence[int]]
) -> torch.Tensor:
    """Scales after which each head's divisors have a geometric mean of 1 over all rows of sample prompts.

    Args:
        prompts: token ids, each no longer than the context.

    Returns:
        [L, H] in float64.

    Raises:
        ConfigError: no power attention, or no prompts.
    """
    if config.attention != "power" or not any(prompts):
        raise ConfigError("scales come from prompts on a model with power attention")
    backend = _DivisorBackend()
    decoder = Decoder(backend, *static(config, weights))
    with torch.no_grad():
        for ids in prompts:
            decoder.forward(backend.tokens(ids, len(ids)), len(ids))
    logs = torch.stack(backend.log_divisors).reshape(-1, config.layers, config.heads).sum(0)
    return torch.exp(logs / sum(len(ids) for ids in prompts) / config.power)


@final
class _DivisorBackend(PlainBackend):
    """Keeps, pass by pass and layer by layer, the sum over rows of each head's log divisor."""

    def __init__(self) -> None:
        self.log_divisors: list[torch.Tensor] = []

    def attention_weights(
        self, scores: torch.Tensor, start: int, form: AttentionForm, epsilon: torch.Tensor | None = None
    ) -> torch.Tensor:
        queries, keys = scores.shape[-2:]
        visible = torch.ones(queries, keys, dtype=torch.bool).tril(start)
        powers = scores.double().masked_fill(~visible, 0.0) ** form.power
        lengths = torch.arange(start + 1, start + queries + 1)[:, None]
        per_key = form.epsilon if epsilon is None else epsilon.double()[:, None]
        divisors = (powers / lengths).sum(-1) + per_key
        self.log_divisors.append(divisors.log().sum((0, -1)))
        return super().attention_weights(scores, start, form, epsilon)
