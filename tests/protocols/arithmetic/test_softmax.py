"""Softmax of long rows, where CrypTen's own returns 4e9, and the rules of causal attention."""

from __future__ import annotations

import pytest
import torch

from parties.errors import RangeError
from protocols.additive.stock import StockSoftmax
from protocols.arithmetic.softmax import TreeSoftmax
from tests.roundings import ROUNDINGS, clear_executor, on_grid, share

UNIT = 2.0**-16


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("scale", [0.0, 1.0, 25.0])
@pytest.mark.parametrize(("tokens", "start"), [(1, 1023), (2, 300), (96, 0)])
def test_long_rows(tokens: int, start: int, scale: float, rounding: str) -> None:
    generator = torch.Generator().manual_seed(tokens)
    scores = on_grid(
        scale * torch.randn(1, 1, tokens, start + tokens, generator=generator, dtype=torch.float64)
    )
    executor = clear_executor(ROUNDINGS[rounding])
    got = executor.open_to(0, TreeSoftmax()(executor, share(executor, scores), start))
    visible = torch.ones(tokens, start + tokens, dtype=torch.bool).tril(start)
    expected = scores.masked_fill(~visible, float("-inf")).softmax(-1)
    assert float((got - expected).abs().max()) <= TreeSoftmax.max_abs_error + (start + tokens) * UNIT
    assert not bool(got.masked_fill(visible, 0.0).any())


def test_hidden_scores_have_no_influence() -> None:
    executor = clear_executor()
    scores = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    wild = scores + 1e6 * torch.ones(3, 3, dtype=torch.float64).triu(1)
    first, second = (TreeSoftmax()(executor, share(executor, x), 0).value for x in (scores, wild))
    assert torch.equal(first, second)


def test_a_single_key_gets_everything() -> None:
    executor = clear_executor()
    for protocol in (TreeSoftmax(), StockSoftmax()):
        got = protocol(executor, share(executor, torch.full((1, 2, 1, 1), -77.0)), 0)
        assert torch.equal(executor.open_to(0, got), torch.ones(1, 2, 1, 1, dtype=torch.float64))


def test_stock_softmax_refuses_long_rows() -> None:
    executor = clear_executor()
    with pytest.raises(RangeError, match="at most 200 keys, not 201"):
        StockSoftmax()(executor, share(executor, torch.zeros(1, 1, 1, 201)), 200)
