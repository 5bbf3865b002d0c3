"""CrypTen's own compositions, run by the library itself, inside the ranges where they are known to work.

Outside of them the library returns garbage in silence (errors from 1e3 to 8e9 were seen), and no party can
check a secret: the caller states public bounds, and bounds that are missing or too wide are refused.
"""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from parties.errors import ConfigError, RangeError
from protocols.additive.crypten.session import CrypTenSession
from protocols.share import Share

Bounds = tuple[float, float]

ANYWHERE = frozenset({"mul", "square", "matmul", "_ltz", "relu", "abs", "sign", "max", "mean"})
"""Right for every value that the ring and the local truncation can hold."""
DOMAINS: Mapping[str, Bounds] = {
    "exp": (-512.0, 10.0),
    "reciprocal": (0.002, 200.0),
    "inv_sqrt": (0.1, 150.0),
    "sqrt": (0.1, 150.0),
    "log": (1e-4, 250.0),
    "sigmoid": (-511.0, 511.0),
    "tanh": (-255.0, 255.0),
}
"""`reciprocal`: of the magnitude; errors up to 8% towards the ends."""
SOFTMAX_SPREAD = 512.0
"""Largest score minus smallest, masked ones included: below it CrypTen's exp of their difference explodes."""
SOFTMAX_KEYS = 200
"""Near-uniform rows of more keys have a denominator that CrypTen's reciprocal cannot take."""
REFUSED: Mapping[str, str] = {
    "pow": "odd powers from 5 are wrong: pow(5) computes the 6th power",
    "pos_pow": "it calls pow, which is wrong for odd powers from 5",
    "norm": "it calls pow, which is wrong for odd powers from 5",
    "erf": "it calls pow, which is wrong for odd powers from 5: errors reach 0.7 at 1.5",
    "dropout": "it draws from torch's generator, which is not cryptographic",
}


def native(
    session: CrypTenSession,
    name: str,
    *operands: Share,
    within: Bounds | None,
    settings: Mapping[str, object],
    options: Mapping[str, object],
) -> Share:
    """Runs a method of the library's MPCTensor on shares.

    Raises:
        ConfigError: a function that is wrong in CrypTen 0.4.1, or not known to be right.
        RangeError: bounds are missing, or wider than the function can take.
    """
    check(name, operands[0].shape, within, options)
    mpc = session.crypten.mpc.MPCTensor
    tensors: list[Any] = [mpc.from_shares(x.value.clone(), precision=x.frac_bits) for x in operands]
    with session.crypten.cfg.temp_override(dict(settings)):
        result = _first(getattr(tensors[0], name)(*tensors[1:], **options))
    return Share(result.share, int(result.encoder._precision_bits))


def _first(result: Any) -> Any:
    return result[0] if type(result) is tuple else result  # pyright: ignore[reportUnknownVariableType]


def check(name: str, shape: tuple[int, ...], within: Bounds | None, options: Mapping[str, object]) -> None:
    """Refuses what CrypTen computes wrongly; see `native`."""
    if name in ANYWHERE:
        return
    if name == "softmax":
        _check_softmax(shape, within, options)
        return
    if name not in DOMAINS:
        why = REFUSED.get(name, "it is not known to be right")
        raise ConfigError(f"CrypTen's {name} is refused: {why}")
    low, high = DOMAINS[name]
    given = _given(name, within)
    if not low <= given[0] <= given[1] <= high:
        raise RangeError(
            f"CrypTen's {name} holds on [{low:g}, {high:g}], not on [{given[0]:g}, {given[1]:g}]"
        )


def _check_softmax(shape: tuple[int, ...], within: Bounds | None, options: Mapping[str, object]) -> None:
    low, high = _given("softmax", within)
    if not 0 <= high - low < SOFTMAX_SPREAD:
        raise RangeError(
            f"CrypTen's softmax takes scores less than {SOFTMAX_SPREAD:g} apart, not {high - low:g}"
        )
    dim = options.get("dim")
    keys = shape[dim] if isinstance(dim, int) else math.inf
    if keys > SOFTMAX_KEYS:
        raise RangeError(f"CrypTen's softmax takes rows of at most {SOFTMAX_KEYS} keys, not {keys}")


def _given(name: str, within: Bounds | None) -> Bounds:
    if within is None:
        raise RangeError(f"CrypTen's {name} needs public bounds of its input: within=(low, high)")
    return within
