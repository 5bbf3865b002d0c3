"""Activations by what they lack to ReLU, and functions from -1 to 1."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from parties.errors import ConfigError
from protocols.fss.tables.tables import Function


@dataclass(frozen=True, slots=True)
class Curve:
    """An activation f by what it lacks to ReLU: c(x) = ReLU(x) - f(x), which is the same for x and -x.

    For all of them |f'(x) - 1{x >= 0}| <= 1/2.

    Attributes:
        correction: c as a function of |x|.
        bend: bound on |f''|.
    """

    correction: Function
    bend: float


@dataclass(frozen=True, slots=True)
class Squash:
    """An odd function from -1 to 1, steepest at 0.

    Attributes:
        function: of arrays.
        slope: bound on |f'|.
        bend: bound on |f''|.
    """

    function: Function
    slope: float
    bend: float


def squash(kind: str) -> Squash:
    """tanh or erf. Raises ConfigError for other names."""
    if kind not in _SQUASHES:
        raise ConfigError(f"no such function: {kind!r}, one of {', '.join(sorted(_SQUASHES))}")
    return _SQUASHES[kind]


def curve(kind: str) -> Curve:
    """The activation of a name.

    Raises:
        ConfigError: there is none, or it is ReLU, which lacks nothing.
    """
    if kind not in _CURVES:
        raise ConfigError(f"no such activation: {kind!r}, one of {', '.join(sorted(_CURVES))}")
    return _CURVES[kind]


def _gelu(x: NDArray[np.float64]) -> NDArray[np.float64]:
    tail: torch.Tensor = torch.erfc(torch.from_numpy(x / np.sqrt(2.0)))
    return x * 0.5 * tail.numpy()


def _gelu_tanh(x: NDArray[np.float64]) -> NDArray[np.float64]:
    # x (1 - tanh(y)) / 2 = x / (1 + exp(2 y))
    return _damped(x, 2.0 * np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3))


def _silu(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return _damped(x, x)


def _damped(x: NDArray[np.float64], exponent: NDArray[np.float64]) -> NDArray[np.float64]:
    """x / (1 + exp(exponent)), for exponents from 0."""
    small = np.exp(-exponent)
    return x * small / (1.0 + small)


def _erf(x: NDArray[np.float64]) -> NDArray[np.float64]:
    values: torch.Tensor = torch.erf(torch.from_numpy(x))
    return values.numpy()


_SQUASHES: dict[str, Squash] = {
    "tanh": Squash(np.tanh, slope=1.0, bend=4.0 / 3.0**1.5),
    "erf": Squash(_erf, slope=2.0 / np.sqrt(np.pi), bend=np.sqrt(8.0 / (np.pi * np.e))),
}
_CURVES: dict[str, Curve] = {
    "gelu": Curve(_gelu, bend=0.8),
    "gelu_tanh": Curve(_gelu_tanh, bend=0.8),
    "silu": Curve(_silu, bend=0.51),
}
