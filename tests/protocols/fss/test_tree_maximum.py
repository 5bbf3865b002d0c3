"""The exact row maximum by comparisons."""

from __future__ import annotations

import pytest
import torch

from parties.errors import RangeError
from parties.randomness import InsecureTestRandom
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import Shares
from protocols.fss.operations.tree_maximum import row_maximum
from protocols.fss.ring import signed
from protocols.share import Held, Share
from protocols.tensors import to_tensor
from tests.protocols.fss.harness import Program, Secret, clear, run
from tests.protocols.fss.uniformity import assert_uniform

LENGTHS = (1, 2, 3, 8, 5, 1, 13)


def maxima(lengths: tuple[int, ...]) -> Program:
    def program(executor: Executor, x: Share) -> Shares:
        return (row_maximum(executor, x, lengths),)

    return program


def expected(x: torch.Tensor, lengths: tuple[int, ...]) -> torch.Tensor:
    return torch.stack([row.amax(-1) for row in x.split(lengths, -1)], -1)


def values(shape: tuple[int, ...], bits: int) -> torch.Tensor:
    return signed(to_tensor(InsecureTestRandom(bits).ring(shape, bits)), bits)


@pytest.mark.parametrize("held", [Held.MASKED, Held.ADDITIVE])
@pytest.mark.parametrize(("ring_bits", "value_bits"), [(12, 11), (12, 2), (64, 63)])
def test_maxima_of_rows_of_many_lengths(held: Held, ring_bits: int, value_bits: int) -> None:
    x = values((4, 3, sum(LENGTHS)), value_bits)  # 2 bits: many ties
    result = run(maxima(LENGTHS), [Secret(x, 3, ring_bits, held)])
    assert torch.equal(result.secret(), expected(x, LENGTHS))
    assert torch.equal(result.clear[0].value, expected(x, LENGTHS))
    result.check_bill()


def test_every_pair_and_every_mask() -> None:
    """All pairs of values of 3 bits, in a ring of 4 bits, under all pairs of masks."""
    grid = torch.cartesian_prod(torch.arange(-4, 4), torch.arange(-4, 4), torch.arange(16), torch.arange(16))
    x, mask = grid[:, :2], grid[:, 2:]
    result = run(maxima((2,)), [Secret(x, ring_bits=4, mask=mask)])
    assert torch.equal(result.secret(), x.amax(-1, keepdim=True))


@pytest.mark.parametrize(("held", "rounds"), [(Held.MASKED, 7), (Held.ADDITIVE, 8)])
def test_two_rounds_a_level(held: Held, rounds: int) -> None:
    result = run(maxima(LENGTHS), [Secret(values((sum(LENGTHS),), 8), 0, 9, held)])
    assert result.counted.rounds == rounds  # 13 entries: four levels


@pytest.mark.parametrize("secret", [-50, 100])
def test_what_is_opened_is_uniform(secret: int) -> None:
    x = torch.full((1000, 4), secret)
    x[:, 1] -= 9
    for label, bits, opened in run(maxima((4,)), [Secret(x, 0, 9, Held.ADDITIVE)]).opened():
        assert label in {"other/open", "other/negative"}
        assert_uniform(opened, bits)


def test_the_reference_refuses_entries_too_far_apart() -> None:
    x = Secret(torch.tensor([-100, 100]), ring_bits=8)
    with pytest.raises(RangeError, match="does not fit"):
        clear(maxima((2,)), [x])
