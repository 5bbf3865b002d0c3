"""Kinds of norms: of whole rows, functions of every number by itself, and a fixed line; shapes of weights.

DyT is gain tanh(a x) + bias (arXiv 2503.10622), Derf is gain erf(a x + s) + bias (arXiv 2512.10938); a and s
are two learned numbers a norm. A `linear` norm is gain x + bias, as Powerformer leaves of a layer norm after
distillation (ACL 2025): it goes into the matrices around it (`static`), and costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from mpcinfer.models.kinds import ActivationKind, NormKind

ROW_NORMS: tuple[NormKind, ...] = ("layernorm", "rmsnorm")
"""Norms that need a row's mean square."""
POINTWISE: Mapping[NormKind, ActivationKind] = {"dyt": "tanh", "derf": "erf"}
"""The function of every number by itself that a norm is."""


def biased(kind: NormKind) -> bool:
    """Whether norms of a kind add a bias."""
    return kind != "rmsnorm"


def norm_shapes(kind: NormKind, name: str, width: int) -> dict[str, tuple[int, ...]]:
    """Gain and bias of a norm, as they are named and shaped."""
    shapes: dict[str, tuple[int, ...]] = {f"{name}.weight": (width,)}
    return shapes | {f"{name}.bias": (width,)} if biased(kind) else shapes


def input_shapes(kind: NormKind, name: str) -> dict[str, tuple[int, ...]]:
    """What a pointwise norm does to its input first: a factor, and Derf's shift."""
    if kind not in POINTWISE:
        return {}
    shapes: dict[str, tuple[int, ...]] = {f"{name}.input.weight": (1,)}
    return shapes | {f"{name}.input.bias": (1,)} if kind == "derf" else shapes


def linear_shapes(name: str, rows: int, columns: int, bias: bool) -> dict[str, tuple[int, ...]]:
    """A linear layer's matrix and its bias, as they are named and shaped."""
    shapes: dict[str, tuple[int, ...]] = {f"{name}.weight": (rows, columns)}
    return shapes | {f"{name}.bias": (columns,)} if bias else shapes
