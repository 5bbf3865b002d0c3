"""From one system of remainders to another, exactly but for what floats cannot tell apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.kernels.jit import kernel
from protocols.rlwe.kernels.transforms import Residues, Words
from protocols.rlwe.kernels.words import HALF, LOW, below, reduced, times

Floats = NDArray[np.float64]


@kernel
def lift(
    values: Residues,
    slots: Words,
    shares: Floats,
    inverses: Words,
    weights: Words,
    wraps: Words,
    primes: Words,
    folds: Words,
    reciprocals: Words,
    out: Residues,
) -> None:
    """Numbers [T, N] modulo t, taken between -t / 2 and t / 2, modulo the primes of q: [L, N].

    A number is the sum of digits d_i t / t_i, less as often t as the sum of d_i / t_i says. By floats: one
    within 2^-50 t of t / 2 may come out on the other side, which is no error.

    Args:
        slots, shares: t_i, and one over them.
        inverses, weights, wraps: of a `LiftTable`, for up to 31 primes of t.
    """
    count, degree = values.shape
    digits, counted = np.empty((count, degree), np.uint64), np.full(degree, 0.5)
    often = np.empty(degree, np.uint64)
    for i in range(count):
        digit, source, slot, inverse, share = digits[i], values[i], slots[i], inverses[i], shares[i]
        for x in range(degree):
            digit[x] = below(times(np.uint64(source[x]), inverse, slot), slot)
        for x in range(degree):
            counted[x] += float(digit[x]) * share
    for x in range(degree):
        often[x] = np.uint64(counted[x])
    total = np.empty(degree, np.uint64)
    for j in range(primes.size):
        for x in range(degree):
            total[x] = (often[x] & LOW) * (wraps[j] & LOW)
        for i in range(count):
            digit, weight = digits[i], weights[j, i]
            for x in range(degree):
                total[x] += (digit[x] & LOW) * (weight & LOW)
        for x in range(degree):
            out[j, x] = np.uint32(reduced(total[x], primes[j], folds[j], reciprocals[j]))


@kernel
def round_to_slots(
    values: Residues,
    primes: Words,
    shares: Floats,
    inverses: Words,
    rests: Words,
    quotients: Words,
    ones: Words,
    slots: Words,
    out: Residues,
) -> None:
    """t x / q' is, but for multiples of t, the sum of t d_j / p_j: whole quotients, and fractions.

    Args:
        values: [B, L', N], x modulo each p_j, below 2^32.
        primes, shares: p_j, and one over them.
        inverses, rests, quotients, ones: of a `RoundTable`.
        out: [B, T, N].
    """
    count, degree = values.shape[1], values.shape[2]
    digits, carried = np.empty((count, degree), np.uint64), np.empty(degree, np.uint64)
    counted, total = np.empty(degree, np.float64), np.empty(degree, np.uint64)
    for row in range(values.shape[0]):
        counted[:] = 0.5
        carried[:] = np.uint64(0)
        for j in range(count):
            digit, source, prime, rest = digits[j], values[row, j], primes[j], rests[j]
            for x in range(degree):
                digit[x] = below(times(np.uint64(source[x]), inverses[j], prime), prime)
            for x in range(degree):
                carried[x] += ((digit[x] & LOW) * (rest >> HALF)) >> HALF  # or one less than the quotient
            for x in range(degree):
                counted[x] += float(times(digit[x], rest, prime)) * shares[j]  # then this is one more
        for x in range(degree):
            carried[x] += np.uint64(counted[x])
        for i in range(slots.size):
            slot, one = slots[i], ones[i]
            for x in range(degree):
                total[x] = times(carried[x], one, slot)
            for j in range(count):
                digit, quotient = digits[j], quotients[i, j]
                for x in range(degree):
                    total[x] += times(digit[x], quotient, slot)
            target = out[row, i]
            for x in range(degree):
                target[x] = np.uint32(below(times(total[x], one, slot), slot))


@kernel
def sum_digits(
    values: Residues,
    offsets: Words,
    inverses: Words,
    slots: Words,
    shares: Floats,
    parts: Words,
    whole: np.uint64,
    total: Words,
) -> None:
    """Adds numbers [B, T, N] modulo t, with an offset from 0 to t, to total [B, N] modulo 2^64.

    Args:
        offsets: modulo each t_i.
        inverses: what makes a remainder the digit of t / t_i, with quotients.
        slots, shares: t_i, and one over them.
        parts, whole: t / t_i and t modulo 2^64.
    """
    degree = total.shape[1]
    counted = np.empty(degree, np.float64)
    for row in range(values.shape[0]):
        counted[:] = 0.0
        sums = total[row]
        for i in range(slots.size):
            source, slot, part = values[row, i], slots[i], parts[i]
            for x in range(degree):
                digit = below(times(np.uint64(source[x]) + offsets[i], inverses[i], slot), slot)
                sums[x] += digit * part
                counted[x] += float(digit) * shares[i]
        for x in range(degree):
            sums[x] -= np.uint64(counted[x]) * whole
