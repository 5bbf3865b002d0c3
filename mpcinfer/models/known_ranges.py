"""Ranges that need no prompts: what weights alone say of how large values get, whatever the prompt is.

    embedding           exact: the largest entry of a token's row, and of a token's row plus a position's
    the first norm      exact: least and greatest variance or mean square over all tokens and positions
    norms               a normalised row of D numbers is at most sqrt(D) long, so is each of its numbers
    linear layers       after norms, and values and logits: |n W_j + c_j| <= sqrt(D) |W_j| + |c_j|, gain and
                        bias multiplied in (Cauchy and Schwarz); for gated units the product of both bounds
    attention           softmax and powers: weights are positive and sum to at most 1, so that no output is
                        larger than the largest value

The residual follows in part: where a token's row is larger than those of the prompts, what blocks add to it
is taken for no larger than the rows that were seen. What blocks write, scores, ReLU attention, least mean
squares after the first norm, and everything but the embedding of models without norms in their blocks, are
what prompts showed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.site import INNER_NORMS
from mpcinfer.models.static import static
from parties.errors import RangeError

_CHUNK = 4096
"""Tokens whose rows are added to all positions at once."""
_ROUNDING = 1 - 2.0**-7
"""Weights may have been rounded to 16 bits after their ranges were made; `BOUND_MARGIN` is wider."""


def widened(
    config: ModelConfig, weights: Mapping[str, torch.Tensor], seen: Mapping[str, float]
) -> dict[str, float]:
    """Ranges from prompts together with those that are known.

    Args:
        weights: as they are trained.
        seen: under the keys of `mpcinfer.models.ranges`.

    Returns:
        The same keys, none narrower than before, and `bound` of every label that has one.
    """
    with torch.no_grad():
        config, weights = static(config, weights)
        result = {**seen, **_embedding(config, weights)}
        for layer in range(config.layers if config.block_norms else 0):
            result |= _layer(config, weights, layer, seen)
        if (
            config.final_norm and config.head == "vocabulary"
        ):  # other heads read few rows: what prompts showed
            table = weights["embed.tokens"].T if config.tied_head else weights["head.weight"]
            columns = _columns(config, weights, "head.norm", table, weights.get("head.bias"))
            result["head.logits/bound"] = float(columns.max())
        if config.row_norms:
            _widen_norms(config, weights, result)
    return dict(sorted(result.items()))


def require_known(
    name: str, config: ModelConfig, weights: Mapping[str, torch.Tensor], ranges: Mapping[str, float]
) -> None:
    """Whether stored ranges hold every token's row, at every position.

    Args:
        name: of the model, for the error.
        ranges: the parties'; empty ones hold anything.

    Raises:
        RangeError: a token has a larger number than they say, by itself or at some position, so that a prompt
            with it would go wrong.
    """
    table = weights["embed.tokens"]
    for key, largest in _rows(config, table, weights.get("embed.positions")).items():
        stored = ranges.get(key, float("inf"))
        if largest * _ROUNDING > stored:
            what = f"token {int(table.abs().amax(-1).argmax())} has"
            if key != "embedding/embed":
                what = "a token's row plus a position's has"
            raise RangeError(
                f"{name}: its ranges say that {key} is at most {stored:.5g}, but {what} {largest:.5g}: "
                "a prompt with such a token would go wrong in silence. Make its ranges again, for "
                f"both parties: `mpcinfer calibrate {name} --prompts FILE --out FOLDER/ranges.json`"
            )


def _embedding(config: ModelConfig, weights: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """The embedding's ranges, all exact."""
    positions = weights["embed.positions"] if config.positions == "learned" else None
    result = _rows(config, weights["embed.tokens"], positions)
    return result | {"embedding/bound": max(result.values())}


def _rows(config: ModelConfig, table: torch.Tensor, positions: torch.Tensor | None) -> dict[str, float]:
    """Largest numbers of a token's row [V + types - 1, D], and of one plus a position's [P, D]: any token may
    be of any type and at any position, so that columns' extremes add up."""
    tokens, types = _split(config, table)
    high = tokens.amax(0).double() + types.amax(0).double()
    low = tokens.amin(0).double() + types.amin(0).double()
    result = {"embedding/embed": float(torch.maximum(high, -low).max())}
    if positions is not None:
        most, least = high + positions.amax(0).double(), low + positions.amin(0).double()
        result["embedding/add_positions"] = float(torch.maximum(most, -least).max())
    return result


def _split(config: ModelConfig, table: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of tokens, and what each type adds to them, the first of which adds nothing."""
    types = table[config.vocabulary :]
    return table[: config.vocabulary], torch.cat([torch.zeros_like(table[:1]), types])


def _layer(
    config: ModelConfig, weights: Mapping[str, torch.Tensor], layer: int, seen: Mapping[str, float]
) -> dict[str, float]:
    """Bounds of what reads a layer's norms, and of attention's output."""
    prefix = f"layer{layer}"

    def columns(part: Literal["attn", "ffn"], linear: str) -> torch.Tensor:
        matrix, bias = (weights.get(f"{prefix}.{linear}.{part}") for part in ("weight", "bias"))
        assert matrix is not None
        return _columns(config, weights, config.norm_before(layer, part), matrix, bias)

    qkv = columns("attn", "attn.qkv")
    result = {f"{prefix}.attn.qkv/bound": float(qkv.max())}
    if config.attention in ("softmax", "power") and seen.get(f"{prefix}.attn.power/epsilon_min", 0.0) >= 0:
        values = qkv[-config.kv_heads * config.head_width :]
        result[f"{prefix}.attn.mix/bound"] = float(values.max())
    if config.has_ffn(layer) and config.ffn != "fused":
        inner = columns("ffn", "ffn.in")
        result[f"{prefix}.ffn.in/bound"] = float(inner.max())
        if config.ffn == "glu":
            gate, up = inner.chunk(2)
            result[f"{prefix}.ffn.product/bound"] = float((gate * up).max())
    return result


def _columns(
    config: ModelConfig,
    weights: Mapping[str, torch.Tensor],
    norm: str,
    matrix: torch.Tensor,
    bias: torch.Tensor | None,
) -> torch.Tensor:
    """Bounds [columns] of a linear layer, matrix [D, columns], that reads a norm."""
    gain, shift = weights.get(f"{norm}.weight"), weights.get(f"{norm}.bias")
    matrix = matrix.double()
    scaled = matrix if gain is None else gain.double()[:, None] * matrix
    if config.norm == "layernorm":  # normalised rows have mean zero
        scaled = scaled - scaled.mean(0)
    offset = matrix.new_zeros(matrix.shape[1]) if shift is None else shift.double() @ matrix
    offset = offset if bias is None else offset + bias.double()
    return math.sqrt(config.width) * scaled.square().sum(0).sqrt() + offset.abs()


def _widen_norms(config: ModelConfig, weights: Mapping[str, torch.Tensor], ranges: dict[str, float]) -> None:
    """Rows of the first norm are known; those of the others are a token's plus what blocks wrote, or, where
    norms come last, what prompts showed."""
    kind = "variance" if config.norm == "layernorm" else "mean_square"
    least, greatest = _first_rows(config, weights)
    first, post = config.norm_before(0, "attn"), config.norm_order == "post"
    seen = ranges[f"{first}/{kind}_max"]
    for key in [key for key in ranges if key.endswith(f"/{kind}_max")]:
        label = key.removesuffix(f"/{kind}_max")
        if label.endswith(INNER_NORMS):
            continue
        ranges[f"{label}/normalised"] = math.sqrt(config.width)
        if key != f"{first}/{kind}_max" and greatest > seen and not post:
            ranges[key] = max(ranges[key], (math.sqrt(greatest) + math.sqrt(ranges[key])) ** 2)
    ranges[f"{first}/{kind}_min"] = min(ranges[f"{first}/{kind}_min"], least)
    ranges[f"{first}/{kind}_max"] = max(seen, greatest)


def _first_rows(config: ModelConfig, weights: Mapping[str, torch.Tensor]) -> tuple[float, float]:
    """Least and greatest mean square of a token's row plus type and position, centred for layer norms."""
    table, rows = _split(config, weights["embed.tokens"].double())
    if config.positions == "learned":
        rows = (rows[:, None] + weights["embed.positions"].double()).flatten(0, 1)
    if config.norm == "layernorm":
        table, rows = table - table.mean(-1, keepdim=True), rows - rows.mean(-1, keepdim=True)
    squares, least, greatest = rows.square().sum(-1), float("inf"), 0.0
    for start in range(0, len(table), _CHUNK):
        part = table[start : start + _CHUNK]
        sums = part.square().sum(-1)[:, None] + 2 * part @ rows.T + squares
        low, high = torch.aminmax(sums)
        least, greatest = min(least, float(low)), max(greatest, float(high))
    return max(least, 0.0) / config.width, greatest / config.width
