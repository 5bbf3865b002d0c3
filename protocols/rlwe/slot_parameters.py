"""Parameters of products of vectors: primes for N numbers in the slots of one ciphertext.

Notation as in `parameters`. Numbers lie between -2^(k-1) and 2^(k-1). The plaintext modulus t is a product
of primes that are 1 modulo 2 N, so that a polynomial modulo t is N slots. A product is masked by the sum of
three uniform numbers of v bits, and both together do not reach t; v is chosen as b is in `parameters`, with
the largest product, 2^(2k - 2), in place of the noise. So t has some 2 k + 53 bits, q some 2 log2 t + 62.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from parties.errors import ConfigError
from protocols.rlwe.parameters import (
    RUN_ANSWERS,
    RingParameters,
    all_primes,
    deviations,
    flood_bits_for,
    product_deviation,
)

SLOT_DEGREE = 16384


@dataclass(frozen=True)
class SlotParameters(RingParameters):
    """What both parties agree on before keys for products of vectors are made.

    Attributes:
        slot_primes: their product is t.
        mask_bits: v.
        flood_bits: b.
        answer_primes: how many of the primes an answer is scaled down to.
    """

    slot_primes: tuple[int, ...]
    mask_bits: int
    flood_bits: int
    answer_primes: int

    @property
    def slot_modulus(self) -> int:
        """t."""
        return math.prod(self.slot_primes)


def slot_norm(degree: int, slot_modulus: int) -> float:
    """Twice the mean norm of a polynomial with uniform coefficients between -t / 2 and t / 2."""
    return 2 * math.sqrt(degree / 12) * slot_modulus


def slot_noise_left(parameters: SlotParameters, answers: int = RUN_ANSWERS) -> float:
    """As `parameters.noise_left`."""
    p, tail = parameters, deviations(answers)
    spread = product_deviation(slot_norm(p.degree, p.slot_modulus), p.degree)
    before = (1.5 * 2**p.flood_bits + tail * spread + 2) / p.modulus
    scaled = math.prod(p.primes[: p.answer_primes])
    rounding = (tail * math.sqrt(p.most_secret_weight / 12) + 3) / scaled
    return 1 - (before + rounding) * 2 * p.slot_modulus


@lru_cache(maxsize=8)
def slot_parameters(ring_bits: int, answers: int = RUN_ANSWERS) -> SlotParameters:
    """The cheapest parameters for products of vectors modulo 2^ring_bits, 1 to 48.

    Raises:
        ConfigError: no parameters of the table are large enough.
    """
    mask = flood_bits_for(2.0 ** (2 * ring_bits - 2), answers)
    least = 3 * 2**mask + 2 ** (2 * ring_bits)
    slots = slot_primes(least)
    slot_modulus = math.prod(slots)
    deviation = product_deviation(slot_norm(SLOT_DEGREE, slot_modulus), SLOT_DEGREE)
    flood = flood_bits_for(deviation, answers)
    for count in range(3, len(all_primes()) + 1):
        primes = all_primes()[:count]
        if math.prod(primes) >= slot_modulus << flood + 2:
            for answer in range(1, count + 1):
                found = SlotParameters(SLOT_DEGREE, primes, ring_bits, slots, mask, flood, answer)
                if slot_noise_left(found, answers) >= 0:
                    return found
    raise ConfigError(f"no RLWE parameters for products of vectors with ring_bits={ring_bits}: lower it")


def slot_primes(least: int) -> tuple[int, ...]:
    """As few primes below 2^26 as have a product of at least this, each as small as that allows."""
    step = 2 * SLOT_DEGREE
    count = math.ceil(math.log2(least) / 26)
    root = math.ceil(2 ** (math.log2(least) / count))
    candidates = range(root // step * step + step + 1, 1 << 27, step)
    found = (p for p in candidates if all(p % d for d in range(3, math.isqrt(p) + 1, 2)))
    return tuple(p for p, _ in zip(found, range(count), strict=False) if p not in all_primes())
