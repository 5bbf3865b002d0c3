"""The re-expressed compositions cost what the library's own do, and give the same values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from parties.errors import RangeError
from parties.meter import CLIENT
from protocols.additive import stock
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.share import Share
from tests.protocols.additive.crypten.conftest import Run, run_parties
from tests.roundings import clear_executor, on_grid, share

Step = Callable[[Any, Share], Share]
TENS = {"functions.reciprocal_all_pos": True}


def reciprocal(executor: Arithmetic, x: Share) -> Share:
    guess = stock.exponential(executor, executor.add_public(executor.mul_integer(x, -2), 1.0))
    guess = executor.add_public(executor.mul_integer(guess, 3), 0.003)
    return stock.reciprocal(executor, x, guess, 10)


CASES: dict[str, tuple[Step, Step, tuple[float, float], float]] = {
    "exp": (stock.exponential, lambda e, x: e.native("exp", x, within=(-9.0, 3.0)), (-9.0, 1.0), 1e-2),
    "reciprocal": (
        reciprocal,
        lambda e, x: e.native("reciprocal", x, within=(0.5, 9.0), settings=TENS),
        (0.5, 9.0),
        1e-3,
    ),
    "inv_sqrt": (
        stock.StockInverseSqrt(0.5, 9.0),
        lambda e, x: e.native("inv_sqrt", x, within=(0.5, 9.0)),
        (0.5, 9.0),
        4e-3,
    ),
    "sigmoid": (
        stock.sigmoid,
        lambda e, x: e.native("sigmoid", x, within=(-20.0, 20.0)),
        (-20.0, 20.0),
        4e-3,
    ),
    "softmax": (
        lambda e, x: stock.StockSoftmax()(e, x, 4),
        lambda e, x: e.native("softmax", x, within=(-9.0, 9.0), dim=3),
        (-2.0, 2.0),
        1e-2,
    ),
}
TRUE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "exp": torch.exp,
    "reciprocal": torch.reciprocal,
    "inv_sqrt": torch.rsqrt,
    "sigmoid": torch.sigmoid,
    "softmax": lambda x: x.softmax(-1),
}


def on_shares(step: Step, x: torch.Tensor) -> Run:
    def body(executor: Any) -> torch.Tensor | None:
        owned = executor.share_from(CLIENT, x if executor.rank == CLIENT else None, tuple(x.shape))
        with executor.meter.span("step"):
            result = step(executor, owned)
        return executor.open_to(CLIENT, result)

    return run_parties(body)


@pytest.mark.parametrize("name", CASES)
def test_same_messages_and_values_as_the_library(name: str) -> None:
    """A 5-key row that sees all its keys needs no mask, so both softmaxes do the same."""
    ours, theirs, (low, high), tolerance = CASES[name]
    x = on_grid(torch.linspace(low, high, 10, dtype=torch.float64)).reshape(1, 2, 1, 5)
    mine, native = on_shares(ours, x), on_shares(theirs, x)
    first, second = (
        [(frame.label, frame.payload_bytes) for frame in run.channels[0].sent] for run in (mine, native)
    )
    assert first == second
    assert mine.row("step").rounds == native.row("step").rounds
    assert mine.row("step").offline_bytes_to_server == native.row("step").offline_bytes_to_server
    for run in (mine, native):
        assert float((run.results[CLIENT] - TRUE[name](x)).abs().max()) <= tolerance


def test_stock_exponential_explodes_where_ours_does_not() -> None:
    executor = clear_executor()
    x = share(executor, torch.tensor([-600.0], dtype=torch.float64))
    with pytest.raises(RangeError):
        stock.exponential(executor, x)
