"""Encoding, exact products and truncation against Python's own integers and fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from parties.errors import ConfigError, RangeError
from protocols import fixed_point
from protocols.fixed_point import LIMIT

INT64_EDGES = [0, 1, -1, LIMIT, -LIMIT, LIMIT - 1, 1 - LIMIT, 2**63 - 1, -(2**63), 2**53 + 1]


@given(st.one_of(st.sampled_from(INT64_EDGES), st.integers(-(2**63), 2**63 - 1)), st.integers(0, 30))
@settings(deadline=None)
@example(-1, 16)
@example(LIMIT, 1)
@example(-LIMIT, 1)
def test_truncate_is_the_floor_of_every_int64(value: int, bits: int) -> None:
    assert fixed_point.truncate(torch.tensor([value]), bits).item() == value // 2**bits


@given(
    st.lists(st.floats(-(2.0**31), 2.0**31, allow_subnormal=False), min_size=1, max_size=8),
    st.integers(0, 30),
)
@settings(deadline=None)
def test_encode_rounds_to_nearest_even(values: list[float], frac_bits: int) -> None:
    encoded = fixed_point.encode(torch.tensor(values, dtype=torch.float64), frac_bits, "x")
    assert encoded.tolist() == [round(Fraction(v) * 2**frac_bits) for v in values]
    decoded = fixed_point.decode(encoded, frac_bits)
    for value, integer, back in zip(values, encoded.tolist(), decoded.tolist(), strict=True):
        # Decoding rounds to 53 bits, by at most 2^-53 of the value; encoding by half a unit.
        slack = Fraction(0) if abs(integer) < 2**53 else Fraction(abs(back)) / 2**53
        assert abs(Fraction(back) - Fraction(value)) <= Fraction(1, 2 ** (frac_bits + 1)) + slack


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_encode_does_not_overflow_in_a_narrow_float(dtype: torch.dtype) -> None:
    encoded = fixed_point.encode(torch.tensor([49152.0, -0.5], dtype=dtype), 16, "x")
    assert encoded.tolist() == [49152 * 2**16, -(2**15)]


def test_encode_leaves_its_argument_alone() -> None:
    x = torch.tensor([1.3, -2.7], dtype=torch.float64)
    fixed_point.encode(x, 16, "x")
    assert x.tolist() == [1.3, -2.7]


@pytest.mark.parametrize("frac_bits", [0, 16, 30])
def test_encode_takes_what_is_below_the_limit_and_nothing_else(frac_bits: int) -> None:
    limit = 2.0 ** (62 - frac_bits)
    largest = math.nextafter(limit, 0.0)
    inside = fixed_point.encode(torch.tensor([largest, -largest], dtype=torch.float64), frac_bits, "x")
    assert inside.tolist() == [LIMIT - 512, 512 - LIMIT]  # a float64 below 2^62 has steps of 2^9
    for outside in (limit, -limit, math.inf, -math.inf, math.nan):
        with pytest.raises(RangeError, match=r"weight a\.b: largest magnitude"):
            fixed_point.encode(torch.tensor([0.0, outside], dtype=torch.float64), frac_bits, "weight a.b")


def test_empty_tensors_pass() -> None:
    empty = torch.zeros(0, 3)
    encoded = fixed_point.encode(empty, 16, "x")
    assert encoded.shape == (0, 3)
    assert fixed_point.largest_magnitude(encoded) == 0
    assert fixed_point.matmul(encoded, torch.ones(3, 2, dtype=torch.int64), 32, "x").shape == (0, 2)


def test_largest_magnitude_counts_the_most_negative_number() -> None:
    assert fixed_point.largest_magnitude(torch.tensor([5, -(2**63)])) == 2**63


@st.composite
def factors(draw: st.DrawFn) -> tuple[list[list[int]], list[list[int]]]:
    """Two small integer matrices whose products lie well inside, around and far beyond the limit."""
    rows, inner, columns = draw(st.integers(1, 3)), draw(st.integers(1, 9)), draw(st.integers(1, 3))
    bits_a, bits_b = draw(st.integers(1, 62)), draw(st.integers(1, 62))

    def matrix(height: int, width: int, bits: int) -> list[list[int]]:
        entry = st.integers(-(2**bits) + 1, 2**bits - 1)
        return [[draw(entry) for _ in range(width)] for _ in range(height)]

    return matrix(rows, inner, bits_a), matrix(inner, columns, bits_b)


@given(factors())
@settings(deadline=None, max_examples=300)
def test_matmul_is_exact_or_refused(pair: tuple[list[list[int]], list[list[int]]]) -> None:
    a, b = pair
    inner = len(b)
    columns = list(zip(*b, strict=True))
    true = [[sum(p * q for p, q in zip(row, column, strict=True)) for column in columns] for row in a]
    sizes = [[sum(abs(p * q) for p, q in zip(row, column, strict=True)) for column in columns] for row in a]
    largest = max(abs(entry) for row in true for entry in row)
    # The float64 check is off by at most (inner + 2) 2^-53 of the sum of magnitudes and allows for twice
    # that, so it refuses nothing three times that below the limit; four covers the check's own rounding.
    margin = max(entry for row in sizes for entry in row) * (inner + 2) * 4 // 2**53 + 1
    try:
        product = fixed_point.matmul(torch.tensor(a), torch.tensor(b), 32, "scores")
    except RangeError:
        assert largest >= LIMIT - margin
    else:
        assert product.tolist() == true
        assert largest < LIMIT


@given(st.integers(-(2**62) + 1, 2**62 - 1), st.integers(-(2**62) + 1, 2**62 - 1))
@settings(deadline=None)
@example(2**31, 2**31)
@example(2**32, 2**32)
@example(-(2**31), 2**31 - 1)
def test_mul_is_exact_or_refused(a: int, b: int) -> None:
    margin = abs(a * b) * 12 // 2**53 + 1
    try:
        product = fixed_point.mul(torch.tensor([a]), torch.tensor([b]), 32, "gate")
    except RangeError:
        assert abs(a * b) >= LIMIT - margin
    else:
        assert product.item() == a * b
        assert abs(a * b) < LIMIT


def test_an_accumulator_that_wraps_to_zero_is_caught() -> None:
    a = torch.full((1, 4), 2**31)
    b = torch.full((4, 1), 2**31)
    assert (a @ b).item() == 0  # 4 * 2^62 = 2^64
    with pytest.raises(
        RangeError, match=r"layer0\.out: linear: largest magnitude 4\.29497e\+09, .* \(2\^30: "
    ):
        fixed_point.matmul(a, b, 32, "layer0.out: linear")


def test_partial_sums_may_wrap_when_the_total_does_not() -> None:
    a = torch.tensor([[2**40, 2**40, 2**40, 7]])
    b = torch.tensor([[2**30], [-(2**31)], [2**30], [3]])
    assert fixed_point.matmul(a, b, 32, "x").item() == 21


def test_add_is_checked() -> None:
    half = torch.tensor([LIMIT // 2])
    assert fixed_point.add(half, half - 1, 16, "x").item() == LIMIT - 1
    assert fixed_point.add(-half, 1 - half, 16, "x").item() == 1 - LIMIT
    for sign in (1, -1):
        with pytest.raises(RangeError, match=r"layer3: add: largest magnitude 7\.03687e\+13"):
            fixed_point.add(sign * half, sign * half, 16, "layer3: add")


@pytest.mark.parametrize("frac_bits", [-1, 31, 64])
def test_fraction_bits_out_of_range_are_refused(frac_bits: int) -> None:
    with pytest.raises(ConfigError, match=f"got {frac_bits}"):
        fixed_point.check_frac_bits(frac_bits)
