"""How often CrypTen's local truncation goes wrong, and when that is too often."""

from __future__ import annotations

from parties.errors import RangeError

RING = 2.0**64


def failure_probability(magnitude: float, frac_bits: int) -> float:
    """Probability that a local truncation of one number is wrong by 2^64 / 2^(bits dropped).

    Each party divides its own share. The shares of x sum to x, or to x + 2^64 for about |x| of the 2^64
    sharings, where the division loses the carry (CrypTen 0.4.1, arithmetic.py `div_`).

    Args:
        magnitude: |value| before truncation.
        frac_bits: its fraction bits before truncation: those of both factors of a product.
    """
    return min(1.0, magnitude * 2.0**frac_bits / RING)


def check_local_truncation(magnitude: float, elements: float, frac_bits: int, allowed: float) -> float:
    """The probability that any of `elements` truncations goes wrong, at most; for public bounds.

    Raises:
        RangeError: it is over `allowed`.
    """
    probability = min(1.0, elements * failure_probability(magnitude, frac_bits))
    if probability > allowed:
        raise RangeError(
            f"local truncation of {elements:.3g} numbers up to {magnitude:.3g} at {frac_bits} fraction bits "
            f"goes wrong with probability up to {probability:.2g}, allowed {allowed:.2g}: "
            "use truncation=exact, or smaller numbers"
        )
    return probability
