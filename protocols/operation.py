"""What a replaceable operation looks like: a class that says its security, its domain and its error."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum
from typing import ClassVar

from protocols.arithmetic import Arithmetic
from protocols.share import Share


class Security(Enum):
    """Against whom a protocol holds."""

    SEMI_HONEST_DEALER = "semi-honest parties, a dealer that colludes with neither"


class UnaryProtocol(ABC):
    """An elementwise nonlinearity on shares.

    A subclass is final, documents numbered steps and its source, and states:

        domain: inputs for which the error holds.
        max_abs_error: largest |protocol - true function| over the domain, the approximation only; rounding
            adds at most a few units of 2^-frac_bits.
    """

    security: ClassVar[Security] = Security.SEMI_HONEST_DEALER
    domain: ClassVar[tuple[float, float]]
    max_abs_error: ClassVar[float]

    @abstractmethod
    def __call__(self, engine: Arithmetic, x: Share) -> Share:
        """The function of every element of x, of x's shape."""


class CausalProtocol(ABC):
    """Attention weights of scores [B, H, T, S] on shares.

    Query i stands at position start + i, S = start + T, and sees keys 0..start + i; hidden keys get exactly
    zero. A subclass is final and documents numbered steps, its source, and which scores it can take.
    """

    security: ClassVar[Security] = Security.SEMI_HONEST_DEALER

    @abstractmethod
    def __call__(self, engine: Arithmetic, scores: Share, start: int) -> Share:
        """Weights of the same shape; every row sums to 1 up to the protocol's error."""
