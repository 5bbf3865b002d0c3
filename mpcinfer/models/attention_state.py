"""Keys and values that attention reads as sums over their features: a fitted prefix, or tokens before.

A score that is a function of features, sigma(q k) = phi(q) phi(k), or that is taken for one, needs no key by
itself: sum_j phi(k_j) v_j and sum_j phi(k_j) are all that a query asks of any number of keys.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from parties.errors import ConfigError

TensorT = TypeVar("TensorT")

FeatureMap = Literal["square", "elu", "pairs"]
"""phi of a query x that is divided by sqrt(K) already: ``square`` (c x + 1)^2 and ``elu`` ELU(c x) + 1, K
features, c of `feature_scale`, for softmax; ``pairs`` the products x_a x_b, a <= b, for powers of 2 without
an offset or a shift, whose score is exactly their sum, and of [x, 1] with one."""


@dataclass(frozen=True, slots=True)
class AttentionState(Generic[TensorT]):
    """What a layer's attention adds to every row's sums before it divides.

    With softmax, phi(q) `sums` counts as if it came from exp of scores; with power 2, from their squares.

    Attributes:
        features: which phi.
        sums: [1 or B, H, R, K + 1], sum_j phi(k_j) [v_j, 1]: what is added to weights times values, and last
            what is added to the row's sum.
        beside: [1 or B, H, 1, 1], added to the row's sum as it is, such as epsilon times the number of keys;
            None for nothing.
        keys: how many keys more, of those in the sums, every row counts among its own: it is as long, and has
            epsilon for each. Public; 0 where their number is hidden.
    """

    features: FeatureMap
    sums: TensorT
    beside: TensorT | None = None
    keys: int = 0


def feature_scale(head_width: int) -> float:
    """c: the power of two next to K^(1/4), so that c x is about the query over K^(1/4)."""
    return 2.0 ** round(math.log2(head_width) / 4)


def feature_count(features: FeatureMap, head_width: int, *, shifted: bool = False) -> int:
    """R. `shifted`: scores have an offset or a shift, for ``pairs``."""
    if features != "pairs":
        return head_width
    width = head_width + shifted
    return width * (width + 1) // 2


def check_features(features: FeatureMap, kind: str, power: int) -> None:
    """Raises ConfigError where features are not for this attention."""
    if (kind == "power" and power == 2) if features == "pairs" else kind == "softmax":
        return
    power_of = f"power {power}" if kind == "power" else kind
    raise ConfigError(
        f"features {features} are for {'power 2' if features == 'pairs' else 'softmax'} attention, "
        f"the model has {power_of}"
    )
