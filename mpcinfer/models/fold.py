"""Folding: the same function with less to compute on shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from mpcinfer.models.affine import fold_norm, reader
from mpcinfer.models.config import ModelConfig, weight_shapes
from mpcinfer.models.folded import folded_config, query_exponent, static_config
from mpcinfer.models.static import static


def fold(
    config: ModelConfig, weights: Mapping[str, torch.Tensor]
) -> tuple[ModelConfig, dict[str, torch.Tensor]]:
    """Everything that folds for every model: exact in real arithmetic, computed here in float64.

    1. What `static` takes away.
    2. A block norm's gain and bias go into the linear layer that reads it: norm(x) = n g + b and
       y = norm(x) W + c give y = n (diag(g) W) + (b W + c). The final norm keeps its gain: the tied head
       shares its table with the embedding, which must not change.
    3. An FFN without an activation is one matrix, W_in W_out.
       Of norms that come last the residual reads the rows, too: their gain and bias stay there, a diagonal
       layer of the server's that takes no message (`Backend.diagonal`).
    4. A final norm after blocks without any gets a matrix before it, for `fold_centring` to centre.

    Args:
        weights: float tensors as `weight_shapes(config)` names them.

    Returns:
        `folded_config` and its weights, in the weights' own dtype.
    """
    folded = folded_config(config)
    if folded == config:
        return config, dict(weights)
    kinds = {name: value.dtype for name, value in weights.items()}
    if static_config(config) != config:
        weights = {name: value.double() for name, value in weights.items()}
    with torch.no_grad():
        shape, result = static(config, weights)
        if shape.norm_order == "post" and shape.norm_affine:
            result = fold_post_norms(shape, result)
        for layer in range(shape.layers):
            result.update(_layer(shape, folded, layer, result, kinds))
        if folded.head_input and "head.input.weight" not in result:
            result["head.input.weight"] = torch.eye(folded.width, dtype=torch.float64)
        usual = kinds["embed.tokens"]
        # What is missing is the other half of a bias flag that folding switched on.
        final = {
            name: result[name].detach().to(kinds.get(name, usual))
            if name in result
            else torch.zeros(size, dtype=usual)
            for name, size in weight_shapes(folded).items()
        }
    return folded, final


def _layer(
    shape: ModelConfig,
    folded: ModelConfig,
    layer: int,
    weights: dict[str, torch.Tensor],
    kinds: Mapping[str, torch.dtype],
) -> dict[str, torch.Tensor]:
    """Steps 2 and 3 of one layer, whose weights are taken out: no more than these are ever in float64."""
    fuses = shape.ffn == "mlp" and folded.ffn == "fused" and shape.has_ffn(layer)
    folds: list[tuple[str, str]] = []
    if shape.block_norms and shape.norm_affine and shape.norm_order == "pre":
        folds.append(("norm1", reader(shape, layer, "attn.qkv")))
        if shape.has_ffn(layer):
            folds.append(("norm2", reader(shape, layer, "ffn.in")))
    parts = {f"layer{layer}.{norm}" for norm, _ in folds} | {linear for _, linear in folds}
    parts |= {f"layer{layer}.ffn.in", f"layer{layer}.ffn.out"} if fuses else set()
    names = [name for name in weights if name.rpartition(".")[0] in parts]
    usual = kinds[names[0]] if names else torch.float64
    own = {name: weights.pop(name).double() for name in names}
    for norm, linear in folds:
        fold_norm(own, f"layer{layer}.{norm}", linear)
    if fuses:
        _fuse(own, f"layer{layer}.ffn")
    return {name: value.to(kinds.get(name, usual)) for name, value in own.items()}


def as_run(
    config: ModelConfig, weights: Mapping[str, torch.Tensor] | None, *, folds: bool
) -> tuple[ModelConfig, Mapping[str, torch.Tensor] | None]:
    """A model as a plan runs it: folded, or as it is but for what no backend knows (`static`).

    Args:
        weights: None at a party without them.
        folds: the plan's.
    """
    if weights is None:
        return (folded_config(config) if folds else static_config(config)), None
    with torch.no_grad():
        return fold(config, weights) if folds else static(config, weights)


def _fuse(weights: dict[str, torch.Tensor], prefix: str) -> None:
    """x W_in W_out as one matrix, biases too."""
    inner, outer = weights.pop(f"{prefix}.in.weight"), weights[f"{prefix}.out.weight"]
    weights[f"{prefix}.out.weight"] = inner @ outer
    bias = weights.pop(f"{prefix}.in.bias", None)
    if bias is not None:
        carried, known = bias @ outer, weights.get(f"{prefix}.out.bias")
        weights[f"{prefix}.out.bias"] = carried if known is None else carried + known


def fold_centring(config: ModelConfig, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Centres every matrix and bias that writes the residual, so that layer norms need no mean.

    With C = I - 11^T / D: a layer norm reads x C, and C is linear, so that it can be applied to all that x is
    a sum of: the blocks' output matrices and biases here, and the embedding by whoever looks it up (a tied
    head needs the table as it is). Exact in real arithmetic; computed here in float64. RMS norms stay. Where
    the blocks have no norms, what reads the residual wants its mean: the matrix before the final norm is
    centred alone, and the residual where there is none.

    Returns:
        The weights, those matrices and biases replaced.
    """
    return _each(config, weights, centre)


def centre(config: ModelConfig, name: str, value: torch.Tensor) -> bool:
    """`fold_centring` of one weight in float64, in place; whether it changes."""
    writers = centred_writers(config)
    concerned = name in writers or name.rpartition(".")[0] in writers
    concerned |= config.norm == "layernorm" and name.endswith(("residual1.bias", "residual2.bias"))
    if concerned:
        value -= value.mean(-1, keepdim=True)
    return concerned


def scale_queries(config: ModelConfig, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Multiplies W_Q and its bias by what 1 / sqrt(K) has beyond a power of two: 1, or between 1/2 and 1.
    Of a Gaussian kernel W_K likewise, and both by what 1 / K^(1/4) has.

    Turning queries by their positions, and temperatures, do not see the difference.

    Returns:
        The weights, those matrices and biases replaced.
    """
    return _each(config, weights, scale_query)


def scale_query(config: ModelConfig, name: str, value: torch.Tensor) -> bool:
    """`scale_queries` of one weight in float64, in place; whether it changes. Where queries have a norm its
    gain does."""
    rest = config.query_scale / 2.0 ** query_exponent(config)
    if config.qk_norm:
        if name.endswith(".attn.q_norm.weight"):
            value *= rest
        return rest != 1.0 and name.endswith(".attn.q_norm.weight")
    concerned = rest != 1.0 and name.endswith((".attn.qkv.weight", ".attn.qkv.bias"))
    if concerned:
        heads = config.heads + (config.kv_heads if config.attention == "gaussian" else 0)
        value[..., : heads * config.head_width] *= rest
    return concerned


def _each(
    config: ModelConfig,
    weights: Mapping[str, torch.Tensor],
    change: Callable[[ModelConfig, str, torch.Tensor], bool],
) -> dict[str, torch.Tensor]:
    """Weights in their own dtype, computed in float64; those that do not change are the same tensors."""
    result: dict[str, torch.Tensor] = {}
    for name, value in weights.items():
        wide = value.to(torch.float64, copy=True)
        result[name] = wide.to(value.dtype) if change(config, name, wide) else value
    return result


def fold_post_norms(config: ModelConfig, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Gains and biases of norms that come last: into the linear layer that reads each, and to its residual.

    Each norm is read twice; `residual1`, `residual2` and `head.residual` keep what the residual needs.
    """
    result, last = dict(weights), config.layers - 1
    for layer in range(config.layers):
        prefix = f"layer{layer}"
        for norm, linear, residual in (
            (config.norm_before(layer, "attn"), "attn.qkv", "residual1"),
            (config.norm_before(layer, "ffn"), "ffn.in", "residual2"),
        ):
            _move_post_norm(result, norm, f"{prefix}.{linear}", f"{prefix}.{residual}")
    if config.pooler != "none":
        _move_post_norm(result, f"layer{last}.norm2", "head.pooler", "")
    else:
        _move_post_norm(result, f"layer{last}.norm2", "", "head.residual")
    return result


def _move_post_norm(weights: dict[str, torch.Tensor], norm: str, linear: str, residual: str) -> None:
    """One norm's, in float64; an empty name for a reader that it has not."""
    own = {name: weights.pop(name) for name in (f"{norm}.weight", f"{norm}.bias") if name in weights}
    if residual:
        weights |= {name.replace(norm, residual, 1): value for name, value in own.items()}
    if linear:
        read = [name for name in (f"{linear}.weight", f"{linear}.bias") if name in weights]
        kind = weights[read[0]].dtype
        wide = {name: value.double() for name, value in own.items()}
        wide |= {name: weights.pop(name).double() for name in read}
        fold_norm(wide, norm, linear)
        weights |= {name: value.to(kind) for name, value in wide.items()}


def centred_writers(config: ModelConfig) -> list[str]:
    """Linear layers and tables whose outputs nobody but layer norms reads."""
    if config.norm != "layernorm":
        return []
    if config.head_input:
        return ["head.input"] if config.final_norm else []
    if not config.block_norms:
        return []
    writers = [f"layer{layer}.{name}" for layer in range(config.layers) for name in ("attn.out", "ffn.out")]
    return writers + (["embed.tokens", "embed.positions"] if config.norm_order == "post" else [])
