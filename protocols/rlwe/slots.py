"""N numbers in the slots of a polynomial modulo t, and such polynomials modulo q."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from protocols.rlwe.kernels.lifting import lift, round_to_slots, sum_digits
from protocols.rlwe.kernels.residues import drop_primes, word_residues
from protocols.rlwe.kernels.transforms import Residues, Words, to_coefficients
from protocols.rlwe.kernels.words import with_quotient
from protocols.rlwe.keys import key_transform, transform_for
from protocols.rlwe.slot_parameters import SlotParameters
from protocols.rlwe.tiles import Integers

_UP = 1 << 62
"""What makes signed numbers below it positive."""


@dataclass(frozen=True, eq=False)
class LiftTable:
    """How a number modulo t becomes one modulo q, see `kernels.lifting.lift`; words with quotients.

    Attributes:
        inverses: [T], what makes a remainder modulo t_i the digit of t / t_i.
        weights: [L, T], what a digit counts modulo each prime of q.
        wraps: [L], t negated, likewise.
    """

    inverses: Words
    weights: Words
    wraps: Words


@lru_cache(maxsize=32)
def _lift_table(parameters: SlotParameters, times_q: int, over_t: int) -> LiftTable:
    """Of a number x modulo t: times_q x as it lies between -t / 2 and t / 2, times over_t modulo q."""
    p = parameters
    parts = [p.slot_modulus // t for t in p.slot_primes]
    inverses = [
        with_quotient(pow(part % t, -1, t) * times_q % t, t)
        for part, t in zip(parts, p.slot_primes, strict=True)
    ]
    weights = [[part * over_t % q for part in parts] for q in p.primes]
    wraps = [-p.slot_modulus * over_t % q for q in p.primes]
    return LiftTable(np.array(inverses, np.uint64), np.array(weights, np.uint64), np.array(wraps, np.uint64))


def slot_residues(parameters: SlotParameters, numbers: Integers) -> Residues:
    """Signed numbers [N], from -2^61 to below 2^61, modulo each prime of t: [T, N]."""
    p = parameters
    out = np.empty((len(p.slot_primes), numbers.size), np.uint32)
    folds, ones, lows = _residue_table(p.slot_primes)
    words = (numbers + np.int64(_UP)).view(np.uint64)
    word_residues(words, folds, ones, lows, np.array(p.slot_primes, np.uint64), out)
    return out


@lru_cache(maxsize=8)
def _residue_table(primes: tuple[int, ...]) -> tuple[Words, Words, Words]:
    """2^32 and 1 with quotients, and what takes `_UP` off again."""
    folds, ones = (np.array([with_quotient(x % p, p) for p in primes], np.uint64) for x in (1 << 32, 1))
    return folds, ones, np.array([-_UP % p for p in primes], np.uint64)


def slot_polynomials(parameters: SlotParameters, slots: Residues) -> Residues:
    """Polynomials modulo t with these slots [T, N]: coefficients between -t / 2 and t / 2, modulo q."""
    coefficients = to_coefficients(transform_for(parameters.degree, parameters.slot_primes), slots)
    return _lifted(parameters, coefficients, _lift_table(parameters, 1, 1))


def encoded_slots(parameters: SlotParameters, slots: Residues) -> Residues:
    """round(q m / t) of the polynomial m with these slots [T, N], modulo each prime of q: [L, N].

    q m = t round(q m / t) + rest, so that modulo q the quotient is -rest / t.
    """
    p = parameters
    coefficients = to_coefficients(transform_for(p.degree, p.slot_primes), slots)
    return _lifted(p, coefficients, _lift_table(p, p.modulus, -pow(p.slot_modulus, -1, p.modulus)))


def _lifted(parameters: SlotParameters, values: Residues, table: LiftTable) -> Residues:
    """Numbers [T, N] modulo the primes of t, modulo those of q: [L, N]."""
    t, slots = key_transform(parameters), np.array(parameters.slot_primes, np.uint64)
    out = np.empty((len(parameters.primes), values.shape[1]), np.uint32)
    lift(
        values, slots, 1 / slots, table.inverses, table.weights, table.wraps,
        t.primes, t.folds, t.reciprocals, out,
    )  # fmt: skip
    return out


def dropped(primes: tuple[int, ...], values: Residues, kept: int) -> Residues:
    """[..., L, N] modulo q, scaled down to the product of the first so many primes, off by a half at most."""
    flat = np.ascontiguousarray(values).reshape(-1, *values.shape[-2:]).copy()
    inverses, ones = _drop_table(primes)
    drop_primes(flat, np.array(primes, np.uint64), ones, inverses, kept)
    return flat[:, :kept].reshape(*values.shape[:-2], kept, values.shape[-1])


@lru_cache(maxsize=8)
def _drop_table(primes: tuple[int, ...]) -> tuple[Words, Words]:
    inverses = [[with_quotient(pow(p, -1, q), q) if p != q else 0 for q in primes] for p in primes]
    return np.array(inverses, np.uint64), np.array([with_quotient(1, p) for p in primes], np.uint64)


@dataclass(frozen=True, eq=False)
class RoundTable:
    """How t x / q' is rounded, see `kernels.lifting.round_to_slots`; words with quotients.

    Attributes:
        inverses: [L'], what makes a remainder modulo p_j the digit of q' / p_j.
        rests: [L'], t modulo p_j.
        quotients: [T, L'], t / p_j rounded down, modulo each prime of t.
        ones: [T], 1.
    """

    inverses: Words
    rests: Words
    quotients: Words
    ones: Words


@lru_cache(maxsize=8)
def _round_table(parameters: SlotParameters, count: int) -> RoundTable:
    p, primes = parameters, parameters.primes[:count]
    whole = math.prod(primes)
    inverses = [with_quotient(pow(whole // q % q, -1, q), q) for q in primes]
    rests = [with_quotient(p.slot_modulus % q, q) for q in primes]
    quotients = [[with_quotient(p.slot_modulus // q % t, t) for q in primes] for t in p.slot_primes]
    ones = [with_quotient(1, t) for t in p.slot_primes]
    return RoundTable(*(np.array(table, np.uint64) for table in (inverses, rests, quotients, ones)))


def rounded(parameters: SlotParameters, values: Residues) -> Residues:
    """round(t x / q') modulo t, of x [B, L', N] below 2 p modulo the first L' primes, as its residues.

    Returns:
        [B, T, N], coefficients of the polynomial modulo t, modulo each of its primes.
    """
    p, count = parameters, values.shape[1]
    table = _round_table(p, count)
    primes, slots = np.array(p.primes[:count], np.uint64), np.array(p.slot_primes, np.uint64)
    out = np.empty((values.shape[0], len(p.slot_primes), values.shape[2]), np.uint32)
    round_to_slots(
        values, primes, 1 / primes, table.inverses, table.rests, table.quotients, table.ones, slots, out
    )
    return out


def whole_numbers(parameters: SlotParameters, slots: Residues) -> Words:
    """Numbers [B, N] modulo 2^k from residues [B, T, N]: between -2^(2k - 1) and t - 2^(2k - 1)."""
    p, below = parameters, 1 << 2 * parameters.ring_bits - 1
    parts = [p.slot_modulus // t for t in p.slot_primes]
    inverses = [with_quotient(pow(part % t, -1, t), t) for part, t in zip(parts, p.slot_primes, strict=True)]
    total = np.full((slots.shape[0], slots.shape[2]), -below % (1 << 64), np.uint64)
    primes = np.array(p.slot_primes, np.uint64)
    sum_digits(
        slots, _words([below % t for t in p.slot_primes]), np.array(inverses, np.uint64), primes, 1 / primes,
        _words([part % (1 << 64) for part in parts]), np.uint64(p.slot_modulus % (1 << 64)), total,
    )  # fmt: skip
    return total & np.uint64((1 << p.ring_bits) - 1)


def _words(numbers: list[int]) -> NDArray[np.uint64]:
    return np.array(numbers, np.uint64)
