"""Products computed for several passes at once are those of each pass alone."""

from __future__ import annotations

import pytest
import torch

from parties.meter import CLIENT
from parties.randomness import InsecureTestRandom, Randomness
from protocols.fss.executors.preparation import Offline
from protocols.fss.executors.products_ahead import FEW_TOKENS, PASSES, ProductsAhead
from protocols.fss.gates.embedding import TokensToServerHeld
from protocols.fss.gates.linear import Linear
from protocols.fss.preprocessing import matrix
from protocols.fss.preprocessing.matrix import Drawn, Matrix, Products, times
from protocols.tensors import drawn

WEIGHT = Matrix("w", (6, 4), 0, 30, torch.arange(24).reshape(6, 4) - 11)
RUNS = 7


class Ahead:
    """A program of one layer, and how often its weights were read."""

    def __init__(self) -> None:
        self.walks = 0
        self.products = ProductsAhead(self._walk, self._stream, lambda weight: weight.value)

    def _walk(self, executor: Offline, tokens: int, rows: int) -> None:
        self.walks += 1
        assert executor.rank == CLIENT
        executor.one(Linear(WEIGHT), executor.one(TokensToServerHeld(None, tokens, 6, 30)))

    def _stream(self, number: int) -> Randomness | None:
        return InsecureTestRandom(number) if number < RUNS else None


def _masks(number: int, tokens: int) -> torch.Tensor:
    """What the client draws for its one-hot rows in that pass."""
    return drawn(InsecureTestRandom(number), (1, tokens, 6), 30)


def _product(products: Products, x: torch.Tensor) -> torch.Tensor:
    return products.of(x, WEIGHT, transposed=False, ring_bits=30)


def test_each_pass_gets_its_own() -> None:
    ahead = Ahead()
    for number in range(RUNS):
        x = _masks(number, 1)
        products = ahead.products.take(number, 1)
        assert len(products.ready) == 1
        assert torch.equal(_product(products, x), times(x, WEIGHT.value, transposed=False))
    assert ahead.walks == 2  # for passes 0 to 3, and 4 to 6


def test_long_passes_are_not_computed_ahead() -> None:
    ahead, x = Ahead(), _masks(0, FEW_TOKENS + 1)
    products = ahead.products.take(0, FEW_TOKENS + 1)
    assert ahead.walks == 0
    assert torch.equal(_product(products, x), times(x, WEIGHT.value, transposed=False))


def test_a_pass_of_another_length_is_computed_when_it_comes() -> None:
    ahead = Ahead()
    ahead.products.take(0, 1)
    x = _masks(1, 2)
    assert torch.equal(_product(ahead.products.take(1, 2), x), times(x, WEIGHT.value, transposed=False))


def test_products_of_other_masks_are_never_used() -> None:
    ahead = Ahead()
    products = ahead.products.take(0, 1)
    x = _masks(3, 1)
    assert torch.equal(_product(products, x), times(x, WEIGHT.value, transposed=False))
    assert not products.ready


def test_passes_ahead_draw_as_they_will() -> None:
    """A pass ahead draws along the first axis: a pass's elements are those of its own stream."""
    drew: list[torch.Tensor] = []

    def walk(executor: Offline, tokens: int, rows: int) -> None:
        executor.one(Linear(WEIGHT), executor.one(TokensToServerHeld(None, tokens, 6, 30)))
        drew.append(executor.draw((1, 3), 17))

    streams = [InsecureTestRandom(number) for number in range(PASSES)]
    ProductsAhead(walk, lambda number: streams[number] if number < PASSES else None, lambda w: w.value).take(
        0, 1
    )
    for number in range(PASSES):
        own = InsecureTestRandom(number)
        drawn(own, (1, 1, 6), 30)  # the hold
        drawn(own, (1, 1, 4), 30)  # the rest of the layer
        drawn(own, (1, 1, 4), 30)  # its mask
        assert torch.equal(drew[0][number : number + 1], drawn(own, (1, 3), 17))


@pytest.mark.parametrize("shape", [(7, 5), (1, 1), (6, 0), (0, 6)])
@pytest.mark.parametrize("transposed", [False, True])
def test_drawn_factors_are_multiplied_as_if_they_were_whole(
    shape: tuple[int, int], transposed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two rows at a time, the last of them alone."""
    monkeypatch.setattr(matrix, "_DRAWN_ELEMENTS", 2 * shape[1])
    made = Drawn(shape, lambda: InsecureTestRandom(9))
    x = drawn(InsecureTestRandom(1), (2, 3, shape[1 if transposed else 0]), 64)
    assert sum(len(rows) for _, rows in made.rows()) == shape[0]
    got = times(x, made, transposed=transposed)
    assert torch.equal(got, times(x, made.whole(), transposed=transposed))


def test_a_drawn_diagonal() -> None:
    made, x = Drawn((4,), lambda: InsecureTestRandom(9)), torch.arange(8).reshape(2, 4)
    assert torch.equal(times(x, made, transposed=False), x * made.whole())


def test_a_pass_with_other_rows_is_computed_when_it_comes() -> None:
    ahead = Ahead()
    ahead.products.take(0, FEW_TOKENS)
    ahead.products.take(1, FEW_TOKENS)
    assert ahead.walks == 1
    ahead.products.take(2, FEW_TOKENS, FEW_TOKENS)
    assert ahead.walks == 2
