"""Parameters of RLWE products: security, noise, circuit privacy and widths, each by a stated formula.

Notation: N degree, q modulus, t = 2^k plaintext modulus, n answers of a run, e errors of variance 21/2.

* Security: log2 q is at most what the table of the homomorphic-encryption standard allows at 128 bits for
  ternary secrets (Albrecht et al., "Homomorphic Encryption Standard", 2018, table 1, classical).
* Circuit privacy: the noise of a product, e . w, would tell of w. The evaluator adds a fresh encryption of
  zero and, to each coefficient that it sends, the sum of three uniform numbers of b bits. The Fisher
  information of such a sum is 4.562 / 4^b, so that what a run shows is within sqrt(4.562 n) d / 2^(b + 1)
  of what can be simulated from the result alone, d being the root mean square of the noise; b makes that
  2^-40 for the whole run. (The squared Hellinger distance under a shift by d is at most d^2 I / 8, those of
  n independent answers add up, and the total variation is at most the root of twice the sum.)
* Failure: 1.5 2^b (1 / q) and the rounding of the answer are bounded; all else is subgaussian, so that a
  deviation of sqrt(2 ln 2 (41 + log2 n)) standard deviations in any of n answers has probability below 2^-40.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from parties.errors import ConfigError

ERROR_BITS = 21
"""Errors are centred binomial: the difference of two sums of 21 bits, standard deviation 3.24."""
ERROR_VARIANCE = ERROR_BITS / 2
STATISTICAL_BITS = 40
MOST_WIDTH = 64
"""Bits of a coefficient in one array on the wire."""
LOW_BITS = 32
"""A wider coefficient is two arrays: so many bits of it, and those above."""
MOST_RING_BITS = 64
RUN_ANSWERS = 1 << 24
"""Answers of a run for which the bounds are made: GPT-2's linear layers at 128 tokens give 10.6 M."""
MOST_MODULUS_BITS = {4096: 109, 8192: 218, 16384: 438}
"""Homomorphic Encryption Standard, 128 bits, ternary secrets."""
ROWS, LEAST_ROWS = 128, 32
"""Rows of a matrix that one ciphertext holds, at most and at least."""
NORM_SLACK = 64
"""The norm of one column may be so many times the root mean square of all."""
_FISHER = 4.562
_LARGEST_PRIME = 1 << 27
_DIGIT_PRIMES = 3
"""Of a digit, at most."""


def check_security(degree: int, modulus: int) -> None:
    """Refuses what has less than 128 bits of security.

    Raises:
        ConfigError: a degree outside the table, or too large a modulus.
    """
    most = MOST_MODULUS_BITS.get(degree)
    if most is None:
        raise ConfigError(f"RLWE degree {degree}: expected one of {sorted(MOST_MODULUS_BITS)}")
    if modulus.bit_length() > most:
        raise ConfigError(f"RLWE modulus has {modulus.bit_length()} bits: degree {degree} allows {most}")


@lru_cache(maxsize=1)
def all_primes() -> tuple[int, ...]:
    """The largest primes below 2^27 that are 1 modulo 2^15, for every degree of the table."""
    step = 1 << 15
    candidates = range((_LARGEST_PRIME - 1) // step * step + 1, 1 << 26, -step)
    found = (p for p in candidates if all(p % d for d in range(3, math.isqrt(p) + 1, 2)))
    return tuple(p for p, _ in zip(found, range(16), strict=False))


@dataclass(frozen=True)
class RingParameters:
    """The ring of ciphertexts, and results modulo 2^k.

    Attributes:
        degree: N.
        primes: their product is q.
        ring_bits: k.

    Raises:
        ConfigError: less than 128 bits of security.
    """

    degree: int
    primes: tuple[int, ...]
    ring_bits: int

    def __post_init__(self) -> None:
        check_security(self.degree, self.modulus)

    @property
    def modulus(self) -> int:
        """q."""
        return math.prod(self.primes)

    @property
    def most_secret_weight(self) -> int:
        """Non-zero coefficients that a secret may have: six standard deviations above the mean."""
        return math.floor(2 * self.degree / 3 + 6 * math.sqrt(2 * self.degree / 9))

    @property
    def packing_levels(self) -> int:
        """Automorphisms that keys are made for: log2 of the most ciphertexts that are packed into one."""
        return 0

    @property
    def digits(self) -> int:
        """D, keys of an automorphism: a coefficient is cut into as many numbers, one for each."""
        return len(self.primes)


@dataclass(frozen=True)
class RlweParameters(RingParameters):
    """What both parties agree on before keys for products with matrices are made.

    Attributes:
        flood_bits: b; each of the three numbers of a flood has as many.
        first_bits, second_bits: of a coefficient of an answer's halves, `MOST_WIDTH` each or, in rings that
            need more, up to 14 more than the ring.
        weight_norm: root mean square of the Euclidean norms of a factor's columns, at most.
        digit_primes: of the primes that a digit is a number modulo, at most: fewer digits make less work and
            more noise.
    """

    flood_bits: int
    first_bits: int
    second_bits: int
    weight_norm: float
    digit_primes: int = 1

    @property
    def digits(self) -> int:
        return -(-len(self.primes) // self.digit_primes)

    @property
    def packing_levels(self) -> int:
        return (self.degree // LEAST_ROWS).bit_length() - 1


def product_deviation(weight_norm: float, degree: int) -> float:
    """Standard deviation of a product's noise: error and rounding times a column of this Euclidean norm.

    It includes the noise of the fresh encryption of zero.
    """
    fresh = 2 * degree * (2 / 3) * ERROR_VARIANCE
    return math.sqrt((ERROR_VARIANCE + 1 / 12) * weight_norm**2 + fresh)


def flood_bits_for(deviation: float, answers: int) -> int:
    """The smallest b with sqrt(4.562 n) d / 2^(b + 1) <= 2^-40."""
    return math.ceil(math.log2(deviation * math.sqrt(_FISHER * answers)) - 1 + STATISTICAL_BITS)


def switching_deviation(degree: int, digits: int, digit_primes: int) -> float:
    """Standard deviation, at most, of the noise of packing N / `LEAST_ROWS` answers or fewer into one.

    A coefficient is cut into so many digits, each modulo a product of so many primes.
    """
    packed = degree // LEAST_ROWS
    return math.sqrt(ERROR_VARIANCE * digits * degree * packed**2 / 3) * float(_LARGEST_PRIME) ** digit_primes


def deviations(answers: int) -> float:
    """Standard deviations beyond which none of n subgaussian numbers is, but for 2^-40."""
    return math.sqrt(2 * math.log(2) * (STATISTICAL_BITS + 1 + math.log2(answers)))


def noise_left(parameters: RlweParameters, answers: int = RUN_ANSWERS) -> float:
    """The share of the room for noise that is left, of the largest noise but for 2^-40: at least 0 is right.

    Args:
        parameters: q, t, b and the widths of the answer; columns of `NORM_SLACK` times their norm at most.
        answers: n.
    """
    p, q = parameters, parameters.modulus
    tail = deviations(answers)
    spread = math.hypot(
        product_deviation(NORM_SLACK * p.weight_norm, p.degree),
        switching_deviation(p.degree, p.digits, p.digit_primes),
    )
    before = (1.5 * 2**p.flood_bits + tail * spread + 2) / q
    rounding = (tail * math.sqrt(p.most_secret_weight / 12) + 2) / 2**p.first_bits
    return 1 - (before + rounding + 0.5 / 2**p.second_bits) * 2 ** (p.ring_bits + 1)


@lru_cache(maxsize=64)
def matrix_parameters(ring_bits: int, weight_norm: float, answers: int = RUN_ANSWERS) -> RlweParameters:
    """The cheapest parameters for products with matrices modulo 2^ring_bits.

    Args:
        ring_bits: k, 1 to `MOST_RING_BITS`. From some 55 on, answers are wider than one word.
        weight_norm: a public bound on the root mean square of the Euclidean norms of the matrices' columns.
            No column may have more than `NORM_SLACK` times as much.
        answers: results of a run, all products together, over which the statistical bounds hold.

    Raises:
        ConfigError: no parameters of the table are large enough.
    """
    every = [(ring_bits + a, ring_bits + b) for a in range(5, 15) for b in range(1, 15)]
    in_words = sorted((pair for pair in every if max(pair) <= MOST_WIDTH), key=sum)
    wider = sorted((pair for pair in every if pair[0] > MOST_WIDTH and pair[0] >= pair[1]), key=sum)
    for widths in (in_words, wider) if ring_bits <= MOST_RING_BITS else ():
        for degree, count in [(4096, 3), (4096, 4)] + [(8192, count) for count in range(4, 9)]:
            flood = flood_bits_for(product_deviation(weight_norm, degree), answers)
            primes = all_primes()[:count]
            for first, second in widths:
                for width in range(_DIGIT_PRIMES, 0, -1):
                    found = RlweParameters(
                        degree, primes, ring_bits, flood, first, second, weight_norm, width
                    )
                    if noise_left(found, answers) >= 0:
                        return found
    raise ConfigError(
        f"no RLWE parameters for ring_bits={ring_bits}, weight_norm={weight_norm:g}: lower either of them"
    )


def largest_norm(weight_bits: int, inner: int) -> float:
    """The Euclidean norm of a column of `inner` numbers below 2^weight_bits, at most."""
    return math.sqrt(inner) * 2**weight_bits


def private_norm(ring_bits: int, inner: int) -> float:
    """The same for private numbers modulo 2^ring_bits, which are taken between -2^(k-1) and 2^(k-1)."""
    return largest_norm(ring_bits - 1, inner)
