"""N numbers in the slots of a polynomial modulo t, and such polynomials modulo q."""

from __future__ import annotations

import math

import numpy as np

from protocols.kernels.jit import kernel
from protocols.two_party.rlwe.kernels.residues import drop_primes
from protocols.two_party.rlwe.kernels.transforms import Residues, Words, to_coefficients
from protocols.two_party.rlwe.kernels.words import with_quotient
from protocols.two_party.rlwe.keys import transform_for
from protocols.two_party.rlwe.slot_parameters import SlotParameters
from protocols.two_party.rlwe.tiles import Integers


def slot_residues(parameters: SlotParameters, numbers: Integers) -> Residues:
    """Signed numbers [..., N] modulo each prime of t: [..., T, N]."""
    return (numbers[..., None, :] % np.array(parameters.slot_primes)[:, None]).astype(np.uint32)


def slot_polynomials(parameters: SlotParameters, slots: Residues) -> Residues:
    """Polynomials modulo t with these slots [..., T, N]: coefficients between -t / 2 and t / 2, modulo q."""
    coefficients = to_coefficients(transform_for(parameters.degree, parameters.slot_primes), slots)
    return lifted(parameters, coefficients)


def encoded_slots(parameters: SlotParameters, slots: Residues) -> Residues:
    """round(q m / t) of the polynomial m with these slots [..., T, N], modulo each prime of q: [..., L, N].

    q m = t round(q m / t) + rest, so that modulo a prime of q the quotient is -rest / t.
    """
    p = parameters
    factors = np.array([p.modulus % t for t in p.slot_primes], np.uint64)[:, None]
    coefficients = to_coefficients(transform_for(p.degree, p.slot_primes), slots)
    moduli = np.array(p.slot_primes, np.uint64)[:, None]
    rest = lifted(p, (coefficients * factors % moduli).astype(np.uint32))
    inverses = np.array([q - pow(p.slot_modulus, -1, q) for q in p.primes], np.uint64)[:, None]
    return (rest * inverses % np.array(p.primes, np.uint64)[:, None]).astype(np.uint32)


def lifted(parameters: SlotParameters, values: Residues) -> Residues:
    """Numbers given modulo the primes of t, taken between -t / 2 and t / 2, modulo the primes of q.

    By floats: a number within 2^-50 t of t / 2 may come out on the other side, which is no error.
    """
    p = parameters
    parts = [p.slot_modulus // t for t in p.slot_primes]
    inverses = np.array(
        [pow(part % t, -1, t) for part, t in zip(parts, p.slot_primes, strict=True)], np.uint64
    )
    table = np.array([[part % q for part in parts] for q in p.primes], np.uint64)
    whole = np.array([p.slot_modulus % q for q in p.primes], np.uint64)
    flat = np.ascontiguousarray(values).reshape(-1, *values.shape[-2:])
    out = np.empty((flat.shape[0], len(p.primes), flat.shape[2]), np.uint32)
    primes, slots = np.array(p.primes, np.uint64), np.array(p.slot_primes, np.uint64)
    _lift(flat, slots, inverses, table, whole, primes, out)
    return out.reshape(*values.shape[:-2], *out.shape[1:])


@kernel
def _lift(
    values: Residues,
    slots: Words,
    inverses: Words,
    table: Words,
    whole: Words,
    primes: Words,
    out: Residues,
) -> None:
    """A number is the sum of digits d_i t / t_i, less as often t as the sum of d_i / t_i says."""
    count, degree = values.shape[1], values.shape[2]
    digits, times = np.empty((count, degree), np.uint64), np.empty(degree, np.uint64)
    shares = np.empty(degree, np.float64)
    for row in range(values.shape[0]):
        shares[:] = 0.5
        for i in range(count):
            for x in range(degree):
                digit = np.uint64(values[row, i, x]) * inverses[i] % slots[i]
                digits[i, x] = digit
                shares[x] += float(digit) / float(slots[i])
        for x in range(degree):
            times[x] = np.uint64(shares[x])
        for j in range(primes.size):
            prime = primes[j]
            for x in range(degree):
                total = times[x] * (prime - whole[j])
                for i in range(count):
                    total += digits[i, x] * table[j, i]
                out[row, j, x] = np.uint32(total % prime)


def dropped(primes: tuple[int, ...], values: Residues, kept: int) -> Residues:
    """[..., L, N] modulo q, scaled down to the product of the first so many primes, off by a half at most."""
    flat = np.ascontiguousarray(values).reshape(-1, *values.shape[-2:]).copy()
    inverses = [[with_quotient(pow(p, -1, q), q) if p != q else 0 for q in primes] for p in primes]
    ones = np.array([with_quotient(1, p) for p in primes], np.uint64)
    drop_primes(flat, np.array(primes, np.uint64), ones, np.array(inverses, np.uint64), kept)
    return flat[:, :kept].reshape(*values.shape[:-2], kept, values.shape[-1])


def rounded(parameters: SlotParameters, values: Residues) -> Residues:
    """round(t x / q') modulo t, of x [B, L', N] modulo the first L' primes, as its residues: see `_round`.

    Returns:
        [B, T, N], coefficients of the polynomial modulo t, modulo each of its primes.
    """
    p, count = parameters, values.shape[1]
    primes = p.primes[:count]
    whole = math.prod(primes)
    inverses = np.array([pow(whole // q % q, -1, q) for q in primes], np.uint64)
    quotients = np.array([[p.slot_modulus // q % t for q in primes] for t in p.slot_primes], np.uint64)
    rests = np.array([p.slot_modulus % q for q in primes], np.uint64)
    out = np.empty((values.shape[0], len(p.slot_primes), values.shape[2]), np.uint32)
    _round(
        values,
        np.array(primes, np.uint64),
        inverses,
        quotients,
        rests,
        np.array(p.slot_primes, np.uint64),
        out,
    )
    return out


@kernel
def _round(
    values: Residues,
    primes: Words,
    inverses: Words,
    quotients: Words,
    rests: Words,
    slots: Words,
    out: Residues,
) -> None:
    """t x / q' is, but for multiples of t, the sum of t d_j / p_j: whole quotients, and fractions."""
    count, degree = values.shape[1], values.shape[2]
    digits = np.empty(count, np.uint64)
    for row in range(values.shape[0]):
        for x in range(degree):
            share = 0.5
            carried = np.uint64(0)
            for j in range(count):
                digit = np.uint64(values[row, j, x]) * inverses[j] % primes[j]
                product = digit * rests[j]
                carried += product // primes[j]
                share += float(product % primes[j]) / float(primes[j])
                digits[j] = digit
            carried += np.uint64(share)
            for i in range(slots.size):
                total = carried % slots[i]
                for j in range(count):
                    total += digits[j] * quotients[i, j]
                out[row, i, x] = np.uint32(total % slots[i])
