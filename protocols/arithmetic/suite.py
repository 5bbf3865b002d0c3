"""The functions of a plan on additive shares, ready to be called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from protocols.arithmetic.inverse_sqrt import InverseSqrt
from protocols.arithmetic.operation import CausalPowerProtocol, CausalProtocol, UnaryProtocol

PowerOfRange = Callable[[int, float, float, float], CausalPowerProtocol]
InverseSqrtOfRange = Callable[[float, float], InverseSqrt]


@dataclass(frozen=True, slots=True)
class Suite:
    """The protocols of a plan, ready to be called.

    Attributes:
        softmax: `softmax(executor, scores, start, window, causal=causal)`.
        exponential: of numbers that are not positive: the one that softmax has.
        gelu, silu, relu: `gelu(executor, x)`; tanh and erf likewise, which have one protocol in every plan.
        inverse_sqrt: `inverse_sqrt(low, high)` for a public range, then `(executor, x)` or `normalise`.
        power: `power(power, low, high, largest)` for public ranges, then `(executor, scores, start,
            epsilon)`.
        polynomial: as `is_polynomial`.
    """

    softmax: CausalProtocol
    exponential: UnaryProtocol
    gelu: UnaryProtocol
    silu: UnaryProtocol
    relu: UnaryProtocol
    tanh: UnaryProtocol
    erf: UnaryProtocol
    inverse_sqrt: InverseSqrtOfRange
    power: PowerOfRange
    polynomial: bool = False
