"""Products of two private vectors, number by number: shares modulo 2^k of x_i y_i.

One party encrypts its numbers in slots, the other multiplies by its own. Nothing wraps: a product, between
-2^(2k - 2) and 2^(2k - 2), and its mask fit the plaintext modulus, and both shares are taken modulo 2^k.

A number takes 27 L bits to the evaluator and 54 L' back (`slot_parameters`); products by oblivious transfer
(Gilboa) take k (k + 1) / 2 bits and k correlated transfers. In bits a number:

    k      20   24   28   32   35   36   37   40   44    48
    RLWE  486  540  567  594  594  594  648  675  675   702
    OT    210  300  406  528  630  666  703  820  990  1176

So RLWE has fewer bytes from k = 34 on. At k = 37 a product takes some 0.9 microseconds of a core at the
evaluator and 0.5 at the holder (`bench.rlwe_products`); k correlated transfers take 1.9 at each party where a
core makes 20 million a second, and 7.4 where it makes 5: RLWE is the faster from about k = 24 on, or k = 6.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from parties.link import Link
from parties.randomness import KEY_BYTES, AesCtrStream, Randomness
from parties.wire import Spec, spec_of
from protocols.labels import labelled
from protocols.rlwe.encoding import signed
from protocols.rlwe.kernels.residues import add_reduced, multiply_points, sums_of_products
from protocols.rlwe.kernels.transforms import Residues, Words, to_coefficients, to_points
from protocols.rlwe.kernels.words import PRIME_BITS
from protocols.rlwe.keys import (
    EvaluationKeys,
    SecretKey,
    check_residues,
    key_transform,
    minus_product,
    receive_residues,
    send_residues,
    transform_for,
)
from protocols.rlwe.reasons import QUERY, SLOTS
from protocols.rlwe.sampling import (
    LIMB,
    errors,
    flood,
    flood_limbs,
    of_limbs,
    ternary,
    to_residues,
    uniform_residues,
)
from protocols.rlwe.slot_parameters import SlotParameters
from protocols.rlwe.slots import (
    dropped,
    encoded_slots,
    rounded,
    slot_polynomials,
    slot_residues,
    whole_numbers,
)
from protocols.rlwe.tiles import Integers

CHUNK = 4
"""Ciphertexts of a message."""


def chunks(parameters: SlotParameters, count: int) -> list[int]:
    """Ciphertexts of each message, for so many numbers."""
    ciphertexts = -(-count // parameters.degree)
    return [min(CHUNK, ciphertexts - start) for start in range(0, ciphertexts, CHUNK)]


def answer_spec(parameters: SlotParameters, count: int) -> Spec:
    """Both halves of the answers to one message, modulo the primes that are left."""
    return spec_of(PRIME_BITS, (count, 2, parameters.answer_primes, parameters.degree))


def holder_products(link: Link, key: SecretKey[SlotParameters], x: Words, stream: Randomness) -> Words:
    """The holder's share of x_i y_i modulo 2^k; the other party calls `evaluator_products`.

    Messages of `CHUNK` ciphertexts; the next is sent before the answer to one is awaited. Reveals nothing:
    the evaluator sees encryptions alone.

    Args:
        key: from `keys.send_keys`.
        x: [count] modulo 2^k.
        stream: of this party alone.

    Raises:
        MalformedFrame: a coefficient that is not below its prime.
        PeerError: see `Link.recv`.
    """
    p = key.parameters
    parts = _padded(x, p)
    sizes = chunks(p, x.size)
    out: list[Words] = []
    waiting: list[int] = []
    for size, numbers in zip(sizes, _cut(parts, sizes), strict=True):
        _send_numbers(link, key, numbers, stream)
        waiting.append(size)
        if len(waiting) > 1:
            out.append(receive_share(link, key, waiting.pop(0)))
    out += [receive_share(link, key, size) for size in waiting]
    return np.concatenate([np.zeros(0, np.uint64), *out])[: x.size]


def evaluator_products(
    link: Link, keys: EvaluationKeys[SlotParameters], y: Words, stream: Randomness
) -> Words:
    """The evaluator's share, uniform but for 2^-40, of x_i y_i modulo 2^k; the other calls `holder_products`.

    Reveals nothing of y but its length, within the bounds of `slot_parameters`.

    Args:
        keys: from `keys.receive_keys`.
        y: [count] modulo 2^k.
        stream: of this party alone.

    Raises:
        MalformedFrame: a coefficient that is not below its prime.
        PeerError: see `Link.recv`.
    """
    p = keys.parameters
    sizes = chunks(p, y.size)
    out: list[Words] = [np.zeros(0, np.uint64)]
    for size, numbers in zip(sizes, _cut(_padded(y, p), sizes), strict=True):
        seed, second = receive_residues(link, p, size, QUERY)
        first = uniform_residues(AesCtrStream(seed), size, p.degree, p.primes)
        answer = np.empty((size, 2, p.answer_primes, p.degree), np.uint32)
        for index in range(size):
            answer[index], share = multiplied(keys, first[index], second[index], numbers[index], stream)
            out.append(share)
        link.send([answer], PRIME_BITS, labelled(link, SLOTS))
    return np.concatenate(out)[: y.size]


def multiplied(
    keys: EvaluationKeys[SlotParameters],
    first: Residues,
    second: Residues,
    numbers: Integers,
    stream: Randomness,
) -> tuple[Residues, Words]:
    """One ciphertext [L, N] each half, at points, times N numbers: answer [2, L', N] and share [N]."""
    p, t = keys.parameters, key_transform(keys.parameters)
    factor = to_points(t, slot_polynomials(p, slot_residues(p, numbers)))
    random = to_points(t, to_residues(ternary(stream, p.degree), p.primes))
    limbs = flood_limbs(stream, (p.degree,), p.mask_bits)
    added = [to_residues(errors(stream, p.degree), p.primes) for _ in range(2)]
    added[1] += flood(stream, (p.degree,), p.flood_bits, p.primes)
    added[1] += encoded_slots(p, of_limbs(limbs, p.slot_primes))
    halves = np.empty((2, len(p.primes), p.degree), np.uint32)
    points = np.empty((len(p.primes), p.degree), np.uint32)
    for half, zero, more, out in zip((first, second), keys.zero, added, halves, strict=True):
        sums_of_products(half, factor, random, zero, t.primes, t.folds, t.reciprocals, points)
        add_reduced(to_coefficients(t, points), more, t.primes, out)
    return dropped(p.primes, halves, p.answer_primes), _minus_limbs(limbs, p.ring_bits)


def _minus_limbs(limbs: Integers, bits: int) -> Words:
    """The number of digits of 40 bits, negated, modulo 2^bits, at most 2^64."""
    words = limbs.view(np.uint64)
    total = words[0] + (words[1] << np.uint64(LIMB) if len(words) > 1 else np.uint64(0))
    return (np.uint64(0) - total) & np.uint64((1 << bits) - 1)


def _send_numbers(link: Link, key: SecretKey[SlotParameters], numbers: Integers, stream: Randomness) -> None:
    """Encryptions of numbers [count, N]: a seed and second halves, at points."""
    p, transform = key.parameters, key_transform(key.parameters)
    seed = stream.draw_bytes(KEY_BYTES)
    first = uniform_residues(AesCtrStream(seed), len(numbers), p.degree, p.primes)
    second = np.empty_like(first)
    for index, values in enumerate(first):
        message = encoded_slots(p, slot_residues(p, numbers[index]))
        message += to_residues(errors(stream, p.degree), p.primes)
        second[index] = minus_product(transform, values, key.points, to_points(transform, message))
    send_residues(link, seed, second, QUERY)


def receive_share(link: Link, key: SecretKey[SlotParameters], count: int) -> Words:
    """This party's share of the numbers of one message."""
    p = key.parameters
    answer = link.recv([answer_spec(p, count)], labelled(link, SLOTS))[0]
    primes = p.primes[: p.answer_primes]
    check_residues(answer, primes)
    return opened(key, answer.astype(np.uint32, copy=False))


def opened(key: SecretKey[SlotParameters], answer: Residues) -> Words:
    """What the slots of answers [count, 2, L', N] hold, modulo 2^k."""
    p = key.parameters
    transform, secret = key_transform(p, p.answer_primes), key.points[: p.answer_primes]
    points = to_points(transform, answer[:, 0])
    multiply_points(points, secret, transform.primes, transform.folds, transform.reciprocals)
    phase = to_coefficients(transform, points)
    phase += answer[:, 1]
    slots = to_points(transform_for(p.degree, p.slot_primes), rounded(p, phase))
    return whole_numbers(p, slots).reshape(-1)


def _padded(numbers: Words, parameters: SlotParameters) -> Integers:
    """Signed numbers [ciphertexts, N], zeros at the end."""
    p = parameters
    padded = np.zeros(-(-numbers.size // p.degree) * p.degree, np.uint64)
    padded[: numbers.size] = numbers
    return signed(padded, p.ring_bits).reshape(-1, p.degree)


def _cut(parts: Integers, sizes: list[int]) -> Iterator[Integers]:
    start = 0
    for size in sizes:
        yield parts[start : start + size]
        start += size
