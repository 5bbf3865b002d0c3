"""Arithmetic modulo primes below 2^27, in words of 64 bits, so that compilers vectorise it.

Products are of numbers below 2^32, which processors multiply in one instruction a vector; the masks say so to
the compiler. A constant factor w comes with floor(2^32 w / p) in its upper half (Shoup's quotient).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from protocols.kernels.jit import kernel

LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
ONE = np.uint64(1)
PRIME_BITS = 27
"""Primes are in (2^26, 2^27): sums of 32 remainders fit 32 bits."""

Word = Any


def with_quotient(factor: int, prime: int) -> int:
    """factor in [0, p) with floor(2^32 factor / p) above it, as one word."""
    return factor | ((factor << 32) // prime) << 32


@kernel
def times(x: Word, factor: Word, prime: Word) -> Word:
    """x w modulo p, in [0, 2p), for any x below 2^32 and a factor from `with_quotient`."""
    low = x & LOW
    quotient = (low * (factor >> HALF)) >> HALF
    return low * (factor & LOW) - quotient * (prime & LOW)


@kernel
def below(x: Word, bound: Word) -> Word:
    """x less bound where x reaches it."""
    return x - bound if x >= bound else x


@kernel
def folded(x: Word, fold: Word) -> Word:
    """A number below 2^60 congruent to any word x; fold is 2^32 modulo p."""
    return (x >> HALF) * (fold & LOW) + (x & LOW)


@kernel
def reduced(x: Word, prime: Word, fold: Word, reciprocal: Word) -> Word:
    """x modulo p, in [0, p), for any word x; reciprocal is floor(2^58 / p), below 2^32."""
    small = folded(folded(x, fold), fold)  # below 2^56
    quotient = (((small >> np.uint64(26)) & LOW) * (reciprocal & LOW)) >> HALF
    rest = small - (quotient & LOW) * (prime & LOW)
    return below(below(rest, (prime + prime)), prime)
