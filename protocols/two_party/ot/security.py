"""Bits of security of learning parity with noise over GF(2) with regular noise, against published attacks.

An instance has n samples of a secret of k bits; the noise has one 1 in each of t blocks of n / t samples.
Since every block sums to 1, t further equations without noise take t bits off the secret: k' = k - t below.
All costs are logarithms to base 2 of bit operations. They err on the attacker's side: an iteration of
decoding costs k'^2, which is the reading of one matrix, and linear algebra with M columns M^2, whatever the
weight of a row. The matrix is taken for a uniform one; ours is sparse, as Ferret's is, with ten ones a row.

* Pooled Gauss: find k' samples without noise. Esser, Kuebler, May, "LPN Decoded" (CRYPTO 2017), as counted by
  Liu, Wang, Yang, Yu, "The Hardness of LPN over Any Integer Ring and Field for PCG Applications" (EUROCRYPT
  2024).
* Statistical decoding: low-weight parity checks, with the cost of the same paper; and its second version,
  which guesses s bits of the secret first, s the cost of pooled Gauss.
* Regular decoding by permutation, enumeration and representations: Esser and Santini, "Not Just Regular
  Decoding: Asymptotics and Improvements of Regular Syndrome Decoding Attacks" (CRYPTO 2024), appendix A.
* Algebraic: u samples of every block are guessed to be without noise, which leaves k' - t u unknowns; that a
  block has one 1 gives t C(n/t - u - 1, 2) quadratic equations. Briaud and Oygarden, "A New Algebraic
  Approach to the Regular Syndrome Decoding Problem and Implications for PCG Constructions" (EUROCRYPT 2023);
  the elimination may be shared among guesses, as in eprint 2025/1476, and the degree-two case is that of
  eprint 2025/1284. The equations are taken for semi-regular, the best that an attacker can hope for.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, comb, floor, inf, lgamma, log, log2

import numpy as np
from numpy.typing import NDArray

_DEGREES = range(2, 7)
_GUESSES = 160
"""Numbers of guesses a block that are tried, in each of two steps."""
_MOST_WRONG = 40
_MOST_EXTRA = 32


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance of LPN with regular noise.

    Attributes:
        samples: n, a multiple of `weight`.
        secret: k, bits of the secret.
        weight: t, blocks of the noise.
    """

    samples: int
    secret: int
    weight: int

    @property
    def block(self) -> int:
        """Samples of a block."""
        return self.samples // self.weight

    @property
    def unknown(self) -> int:
        """Bits of the secret that the blocks' sums leave."""
        return self.secret - self.weight


def security_bits(instance: Instance) -> float:
    """The cheapest of all attacks named above."""
    return min(estimates(instance).values())


def estimates(instance: Instance) -> dict[str, float]:
    """The cost of every attack, by name."""
    return {
        "gauss": gauss(instance),
        "statistical": statistical(instance),
        "permutation": permutation(instance),
        "enumeration": enumeration(instance),
        "representation": representation(instance),
        "algebraic": algebraic(instance),
    }


def gauss(instance: Instance) -> float:
    """Pooled Gauss on noise of which only the weight is known."""
    return 2 * log2(instance.unknown) - _clean(
        instance.samples - instance.weight, instance.unknown, instance.weight
    )


def statistical(instance: Instance) -> float:
    """Statistical decoding, both versions."""
    samples, secret, weight = instance.samples - instance.weight, instance.unknown, instance.weight

    def cost(unknown: int) -> float:
        return log2(unknown + 1) + 2 * weight * log2((samples - weight + 1) / (samples - unknown - weight))

    guessed = min(floor(gauss(instance)), secret - 1)
    return min(cost(secret), cost(secret - guessed))


def permutation(instance: Instance) -> float:
    """Regular decoding: the information set takes as many samples of every block, and none has noise."""
    return 2 * log2(instance.unknown) - instance.weight * log2(1 - instance.unknown / instance.samples)


def enumeration(instance: Instance) -> float:
    """Regular decoding that allows p blocks to have noise in the information set, found by birthdays."""
    weight, half = instance.weight, instance.weight // 2
    best = inf
    for wrong in range(0, min(_MOST_WRONG, weight // 2), 2):
        first = _choose(half, wrong // 2) + wrong / 2 * log2(instance.unknown / weight)
        for window in range(max(0, ceil(first / 2)), ceil(1.5 * first) + 1):
            taken = (instance.unknown + window) / weight
            chance = _chance(instance, wrong, taken)
            size = _choose(half, wrong // 2) + wrong / 2 * log2(taken)
            work = max(2 * log2(instance.unknown), 1 + size, 2 * size - window)
            best = min(best, work - chance)
    return best


def representation(instance: Instance) -> float:
    """As `enumeration`, with lists merged in two steps by representations."""
    weight, half = instance.weight, instance.weight / 2
    best = inf
    for wrong in range(0, min(_MOST_WRONG, weight // 2), 4):
        for extra in range(0, _MOST_EXTRA, 2):
            part = wrong / 2 + extra
            ways = 2 * (_choose(wrong / 2, wrong / 4) + _choose(half - wrong / 2, extra / 2))
            about = _choose(half, part / 2) + part / 2 * log2(instance.unknown / weight)
            for window in range(about.__ceil__(), ceil(3 * about) + 1, 2):
                taken = (instance.unknown + window) / weight
                if taken >= instance.block:
                    break
                size = _choose(half, part / 2) + part / 2 * log2(taken)
                middle = 2 * size - floor(ways)
                last = 2 * middle - (window - floor(ways))
                work = max(2 * log2(instance.unknown), 2 + size, 1 + middle, last)
                best = min(best, work - _chance(instance, wrong, taken))
    return best


def algebraic(instance: Instance) -> float:
    """Quadratic equations after guesses, eliminated once for `first` guesses a block and solved for more."""
    block, weight = instance.block, instance.weight
    most = min(block - 2.0, instance.unknown / weight)
    guesses = np.linspace(0.0, most, _GUESSES)
    unknown = np.maximum(instance.unknown - weight * guesses, 1.0)
    equations = weight * (block - guesses - 1) * (block - guesses - 2) / 2
    chance = weight * np.log2(1 - guesses / block)
    best = inf
    for degree in _DEGREES:
        left, columns = _columns(unknown, equations, degree)
        once = 2 * np.log2(columns) - chance
        solved = np.flatnonzero(left <= 1.0)
        if not len(solved):
            continue
        last = solved[0]
        best = min(best, float(once[last]))
        shared = np.logaddexp2(
            once[: last + 1], 2 * np.log2(np.maximum(left[: last + 1], 1.0)) - chance[last]
        )
        best = min(best, float(shared.min()))
    return best


def _columns(
    unknown: NDArray[np.float64], equations: NDArray[np.float64], degree: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Monomials up to a degree: those that the equations leave, and all.

    The series is (1 + z)^unknown / (1 + z^2)^equations; from the first coefficient on that is not positive,
    nothing is left.
    """
    left, columns = np.zeros_like(unknown), np.zeros_like(unknown)
    closed = np.zeros(len(unknown), bool)
    for at in range(1, degree + 1):
        coefficient = np.zeros_like(unknown)
        for pairs in range(at // 2 + 1):
            sign = -1.0 if pairs % 2 else 1.0
            coefficient += sign * _power(unknown, at - 2 * pairs) * _rising(equations, pairs)
        closed |= coefficient <= 0
        left = np.where(closed, 1.0, left + coefficient)
        columns += _power(unknown, at)
    return left, np.maximum(columns, 1.0)


def _power(count: NDArray[np.float64], chosen: int) -> NDArray[np.float64]:
    """count choose `chosen`, of real numbers."""
    result = np.ones_like(count)
    for i in range(chosen):
        result = result * np.maximum(count - i, 0.0) / (i + 1)
    return result


def _rising(count: NDArray[np.float64], chosen: int) -> NDArray[np.float64]:
    """count + chosen - 1 choose `chosen`."""
    result = np.ones_like(count)
    for i in range(chosen):
        result = result * (count + i) / (i + 1)
    return result


def _chance(instance: Instance, wrong: int, taken: float) -> float:
    """That `wrong` blocks, half of them in each half, have their noise among the samples taken of each."""
    weight, share = instance.weight, taken / instance.block
    if share >= 1:
        return -inf
    halves = _choose(weight // 2, wrong // 2) + _choose(weight - weight // 2, wrong // 2)
    return halves + wrong * log2(share) + (weight - wrong) * log2(1 - share)


def _clean(samples: int, secret: int, weight: int) -> float:
    """The probability that `secret` of the samples hold no noise."""
    return _choose(samples - secret, weight) - _choose(samples, weight)


def _choose(count: int | float, chosen: int | float) -> float:
    """log2 of count choose chosen, of real numbers; -inf where there is none."""
    if chosen < 0 or chosen > count:
        return -inf
    if count < 1 << 10 and count == int(count) and chosen == int(chosen):
        return log2(comb(int(count), int(chosen)))
    return (lgamma(count + 1) - lgamma(chosen + 1) - lgamma(count - chosen + 1)) / log(2)
