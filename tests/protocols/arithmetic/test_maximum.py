"""Row maxima: exact, in as many levels and comparisons as stated."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parties.meter import Meter
from protocols.additive.counting_arithmetic import CountingArithmetic
from protocols.arithmetic.maximum import TreeMaximum
from tests.roundings import clear_executor, on_grid, share


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    lengths=st.lists(st.integers(1, 17), min_size=1, max_size=6),
    seed=st.integers(0, 1000),
    scale=st.sampled_from([2.0**-16, 1.0, 5e3]),
)
def test_every_row(lengths: list[int], seed: int, scale: float) -> None:
    executor = clear_executor()
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(-3, 4, (2, sum(lengths)), generator=generator).double() * on_grid(torch.tensor(scale))
    got = executor.open_to(0, TreeMaximum()(executor, share(executor, x), tuple(lengths)))
    expected = [row.amax(-1) for row in torch.split(x, lengths, dim=-1)]
    assert torch.equal(got, torch.stack(expected, -1))


@pytest.mark.parametrize("lengths", [(1, 1), (2,), (5, 1, 8), tuple(range(1, 65))])
def test_comparisons_and_levels(lengths: tuple[int, ...]) -> None:
    meter = Meter(timed=False)
    executor = CountingArithmetic(meter, comparison="words")
    result = TreeMaximum()(executor, executor.share_from(0, None, (3, sum(lengths))), lengths)
    assert result.shape == (3, len(lengths))
    comparisons = 3 * sum(length - 1 for length in lengths)
    one = CountingArithmetic(Meter(timed=False), comparison="words")
    pair = one.share_from(0, None, (1,))
    one.mul(pair, one.less_than_zero(pair))
    total, each = meter.bill().total, one.meter.bill().total
    assert total.rounds == math.ceil(math.log2(max(lengths))) * each.rounds
    assert total.online_bytes_to_server == comparisons * each.online_bytes_to_server
