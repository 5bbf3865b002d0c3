"""Statistics of joint bits: they find what was planted, and nothing among independent bits."""

from __future__ import annotations

import math

import pytest
import torch

from tests.joint import SPARE_RUNS, Bits, limit, linear_relation, worst_pair, worst_triple

RUNS = 72


def independent(count: int, runs: int = RUNS, seed: int = 1) -> torch.Tensor:
    return torch.randint(0, 2, (runs, count), generator=torch.Generator().manual_seed(seed))


def bits_of(values: torch.Tensor) -> Bits:
    return Bits.of(values, [str(i) for i in range(values.shape[1])])


def test_independent_bits_are_not_related() -> None:
    assert not worst_pair(bits_of(independent(5000))).is_found
    assert not worst_triple(bits_of(independent(200))).is_found
    assert linear_relation(bits_of(independent(RUNS - 1 - SPARE_RUNS))) == ()


@pytest.mark.parametrize(("first", "second"), [(3, 7), (3, 2500), (2500, 4999)])
@pytest.mark.parametrize("flipped", [0, 1])
def test_an_equal_pair_is_found_in_whatever_blocks_it_is(first: int, second: int, flipped: int) -> None:
    values = independent(5000)
    values[:, second] = values[:, first] ^ flipped
    found = worst_pair(bits_of(values))
    assert found.is_found
    assert found.names == (str(first), str(second))
    assert found.z == pytest.approx(math.sqrt(RUNS))


def test_a_pair_that_is_not_always_equal_is_found() -> None:
    values = independent(5000, runs=400)
    values[:, 9] = values[:, 4]
    values[:100, 9] ^= 1
    found = worst_pair(bits_of(values))
    assert found.is_found
    assert found.names == ("4", "9")


@pytest.mark.parametrize("value", [0, 1])
def test_a_bit_that_never_changes_is_found(value: int) -> None:
    values = independent(3000)
    values[:, 2100] = value
    found = worst_pair(bits_of(values))
    assert found.is_found
    assert found.names == ("a constant", "2100")


def test_a_triple_is_found_that_no_pair_shows() -> None:
    values = independent(200)
    values[:, 150] = values[:, 20] ^ values[:, 70] ^ 1
    assert not worst_pair(bits_of(values)).is_found
    found = worst_triple(bits_of(values))
    assert found.is_found
    assert sorted(found.names) == ["150", "20", "70"]


def test_a_sum_of_many_is_found_that_no_triple_shows() -> None:
    values = independent(40)
    values[:, 39] = values[:, :5].sum(1) % 2
    assert not worst_triple(bits_of(values)).is_found
    assert linear_relation(bits_of(values)) == ("0", "1", "2", "3", "4", "39")


def test_limits_hold_for_independent_bits_and_are_no_larger_than_they_must() -> None:
    """Of one sum the limit is the binomial distribution's own quantile."""
    runs, wrong = 40, 4
    tail = 2.0 * sum(math.comb(runs, i) for i in range(wrong + 1)) / 2.0**runs
    assert limit(1, runs) == pytest.approx((runs - 2 * wrong) / math.sqrt(runs))
    assert tail <= 1e-6 < tail + 2.0 * math.comb(runs, wrong + 1) / 2.0**runs
    assert limit(10**5, runs) > limit(1, runs)


def test_too_few_runs_are_refused() -> None:
    with pytest.raises(AssertionError, match="cannot tell"):
        limit(10**8, 32)
