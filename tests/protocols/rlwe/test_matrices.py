"""Products with matrices: exact, in shapes that fill no ciphertext, at the bytes that are counted."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from parties.errors import RangeError
from protocols.rlwe.costs import answer_bytes, key_bytes, query_bytes
from protocols.rlwe.encoding import signed
from protocols.rlwe.keys import receive_keys, send_keys
from protocols.rlwe.matrix_evaluator import evaluator_product
from protocols.rlwe.matrix_holder import holder_product
from protocols.rlwe.parameters import (
    RlweParameters,
    largest_norm,
    matrix_parameters,
    noise_left,
    private_norm,
)
from protocols.rlwe.tiles import MatrixShape
from tests.protocols.rlwe.sessions import both, offline_bytes

CASES = [
    (37, 8, 1, 128, 70, 40),
    (20, 15, 2, 5, 33, 3),
    (48, 8, 1, 129, 32, 33),
    (57, 17, 1, 33, 70, 40),
    (64, 17, 2, 5, 300, 3),
    (32, 1, 1, 1, 1, 1),
    (37, None, 1, 20, 30, 9),
]
"""Ring, bits of weights (or private numbers), batch, rows, inner, columns."""


def factors(case: Any, extreme: bool) -> tuple[Any, Any, RlweParameters]:
    bits, weight_bits, batch, rows, inner, columns = case
    width = bits - 1 if weight_bits is None else weight_bits
    norm = private_norm(bits, inner) if weight_bits is None else largest_norm(weight_bits, inner)
    draw = np.random.default_rng(3)
    left = draw.integers(0, 1 << bits, (batch, rows, inner), np.uint64)
    right = draw.integers(-(1 << width), 1 << width, (batch, inner, columns))
    if extreme:
        left[:] = (1 << bits) - 1
        left[..., ::3] = 1 << (bits - 1)
        right[:] = -(1 << width) + (weight_bits is not None)
        right[..., ::2] *= -1
        right[right == 1 << width] -= 1
    return left, right, matrix_parameters(bits, norm)


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_shares_add_up_to_the_product(case: Any, extreme: bool) -> None:
    left, right, p = factors(case, extreme)
    if case[1] is None:
        words = right.astype(np.uint64) & np.uint64((1 << case[0]) - 1)
        assert np.array_equal(signed(words, case[0]), right)
    bits, _, batch, rows, inner, columns = case
    client, server, meter = both(
        lambda link, stream: holder_product(link, send_keys(link, p, stream), left, columns, stream),
        lambda link, stream: evaluator_product(link, receive_keys(link, p), right, rows, stream),
    )
    low = np.uint64((1 << bits) - 1)
    assert np.array_equal((client + server) & low, (left @ right.astype(np.uint64)) & low)
    assert client.max() <= low
    assert server.max() <= low
    shape = MatrixShape(batch, rows, inner, columns)
    counted = key_bytes(p) + query_bytes(p, shape), answer_bytes(p, shape)
    assert offline_bytes(meter) == counted


@pytest.mark.parametrize("width", [1, 2, 3])
def test_digits_of_several_primes_pack_as_well(width: int) -> None:
    """Six primes: keys shrink as digits widen, and shares add up as before."""
    left, right, found = factors((41, None, 1, 20, 64, 9), extreme=False)
    p = dataclasses.replace(found, digit_primes=width)
    assert (len(p.primes), p.digits) == (6, 6 // width)
    client, server, meter = both(
        lambda link, stream: holder_product(link, send_keys(link, p, stream), left, 9, stream),
        lambda link, stream: evaluator_product(link, receive_keys(link, p), right, 20, stream),
    )
    low = np.uint64((1 << 41) - 1)
    assert np.array_equal((client + server) & low, (left @ right.astype(np.uint64)) & low)
    ciphertext = 27 * 6 * 8192 // 8
    queries = query_bytes(p, MatrixShape(1, 20, 64, 9))
    assert offline_bytes(meter)[0] == queries + 16 + (1 + 8 * 6 // width) * ciphertext


def test_the_widest_digits_whose_noise_fits_are_chosen() -> None:
    for bits, inner, width in [(47, 3072, 2), (40, 768, 2), (41, 64, 3)]:
        norm = private_norm(bits, inner) if inner == 64 else largest_norm(17, inner)
        p = matrix_parameters(bits, norm)
        assert p.digit_primes == width
        assert noise_left(p) >= 0
    assert noise_left(dataclasses.replace(matrix_parameters(47, largest_norm(17, 3072)), digit_primes=3)) < 0


def test_columns_beyond_the_norm_are_refused() -> None:
    p = matrix_parameters(32, 100.0)
    with pytest.raises(RangeError, match="norm"):
        both(
            lambda link, stream: send_keys(link, p, stream),
            lambda link, stream: evaluator_product(
                link, receive_keys(link, p), np.full((1, 4, 1), 51), 1, stream
            ),
        )
