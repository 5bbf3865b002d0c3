"""Linear FFNs folded away: what is left of a model without block norms is attention.

Without norms in the blocks, an FFN without an activation is a change of basis of the residual. The layers
above are written in the old basis instead, and no FFN is computed. Source: derivation of this project.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import torch

from mpcinfer.models.config import ModelConfig, weight_shapes
from mpcinfer.models.fold import fold
from mpcinfer.models.folded import LARGEST_CONDITION, attention_only_config
from parties.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionOnly:
    """A folded model.

    Attributes:
        config, weights: what is run; weights in float64.
        conditions: of the bases in which the layers are written, and of what is left before the head: the
            largest singular value over the least, for each of the layers 0.. and the head. A relative error
            of a layer's output may grow by that much on its way to the head; of the base itself it is 1.
        kept: this many FFNs, the first, are still there.
    """

    config: ModelConfig
    weights: dict[str, torch.Tensor]
    conditions: tuple[float, ...]
    kept: int


def fold_attention_only(
    config: ModelConfig,
    weights: Mapping[str, torch.Tensor],
    *,
    largest_condition: float = LARGEST_CONDITION,
) -> AttentionOnly:
    """The same function with as few FFNs as conditions allow; exact in real arithmetic, done in float64.

    1. Everything else is folded (`fold`): block l is x <- x + attention(x), then x <- x M_l + b_l.
    2. With P_k = I for the first layer k that is folded and P_{l+1} = P_l M_l, x = y P_l: readers become
       W_qkv' = P_l W_qkv, writers W_out' = W_out P_l^{-1}, and y passes the FFN unchanged.
    3. b_l is added by the attention of its block: its output's bias gains b_l P_{l+1}^{-1}.
    4. What is left, P_L, stands before the final norm or a tied head as a matrix, or goes into the head.

    Conditions of products grow with their number of factors. Where those of all layers do not keep the limit,
    the first layers keep their FFNs, as few as possible: those run as single matrices.

    Args:
        weights: as `weight_shapes(config)` names them.
        largest_condition: of any P_l; `math.inf` folds whatever can be inverted.

    Raises:
        ConfigError: as `attention_only_config`, or a limit below 1, which no basis can keep.
    """
    if largest_condition < 1:
        raise ConfigError(f"no matrix has a condition below 1, the limit is {largest_condition}")
    shape, plain = fold(config, {name: value.detach().double() for name, value in weights.items()})
    attention_only_config(config)
    kept, bases = _bases(shape, plain, largest_condition)
    result, target = dict(plain), attention_only_config(config, kept)
    for layer in range(kept, shape.layers):
        _rebase(result, shape, layer, bases[layer - kept], bases[layer - kept + 1])
    last = bases[-1]
    if target.head_input:
        before = result.get("head.input.weight")
        result["head.input.weight"] = last if before is None else last @ before
    else:
        before = result.pop("head.input.weight", None)
        last = last if before is None else last @ before
        result["head.weight"] = last @ result["head.weight"]
    if target.out_bias and not shape.out_bias:
        for layer in range(shape.layers):  # a block whose FFN had none
            result.setdefault(f"layer{layer}.attn.out.bias", torch.zeros(shape.width, dtype=torch.float64))
    final = {name: result[name] for name in weight_shapes(target)}
    conditions = (*(1.0 for _ in range(kept)), *(condition_number(base) for base in bases))
    return AttentionOnly(config=target, weights=final, conditions=conditions, kept=kept)


def condition_number(matrix: torch.Tensor) -> float:
    """The largest singular value over the least; infinite for a singular matrix."""
    values = cast(torch.Tensor, torch.linalg.svdvals(matrix))  # pyright: ignore[reportUnknownMemberType]
    least = float(values[-1])
    return float(values[0]) / least if least > 0 else float("inf")


def _bases(
    config: ModelConfig, weights: Mapping[str, torch.Tensor], largest_condition: float
) -> tuple[int, list[torch.Tensor]]:
    """The first layer that can be folded, k, and P_k to P_L.

    P_l = M_k ... M_{l-1}: another k changes all of them.
    """
    identity = torch.eye(config.width, dtype=torch.float64)
    for kept in range(config.layers - config.pruned_ffns + 1):
        bases = [identity]
        for layer in range(kept, config.layers):
            step = weights[f"layer{layer}.ffn.out.weight"] if config.has_ffn(layer) else None
            bases.append(bases[-1] if step is None else bases[-1] + bases[-1] @ step)
            if step is not None and condition_number(bases[-1]) > largest_condition:
                break
        else:
            return kept, bases
    raise AssertionError("where nothing is folded no basis can be bad")


def _rebase(
    weights: dict[str, torch.Tensor],
    config: ModelConfig,
    layer: int,
    base: torch.Tensor,
    after: torch.Tensor,
) -> None:
    """Steps 2 and 3 for a layer whose residual is written in `base`, and in `after` behind its FFN."""
    attention, ffn = f"layer{layer}.attn", f"layer{layer}.ffn.out"
    weights[f"{attention}.qkv.weight"] = base @ weights[f"{attention}.qkv.weight"]
    for name in (f"{attention}.out.weight", f"{attention}.out.bias"):
        if name in weights:
            weights[name] = _over(weights[name], base)
    weights.pop(f"{ffn}.weight", None)
    bias = weights.pop(f"{ffn}.bias", None)
    if bias is not None:
        known = weights.get(f"{attention}.out.bias")
        carried = _over(bias, after)
        weights[f"{attention}.out.bias"] = carried if known is None else known + carried


def _over(rows: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
    """Rows times the inverse of a base."""
    solve = cast(Callable[..., torch.Tensor], torch.linalg.solve)  # pyright: ignore[reportUnknownMemberType]
    return solve(base, rows.reshape(-1, rows.shape[-1]), left=False).reshape(rows.shape)
