"""Each primitive over all pairs of shares of small rings, also on correlations that the parties make.

Truncation, and comparison of other widths, are in `test_executor`.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from parties.link import Link
from parties.meter import SERVER
from parties.threads import run_two_threads
from protocols.share import Share
from protocols.two_party.comparison import less_than
from protocols.two_party.correlations import Correlations
from protocols.two_party.executor import TwoPartyArithmetic
from protocols.two_party.source import TwoPartySource
from tests.protocols.two_party.test_executor import every_pair, ideal, signed

BITS, FEW_BITS = 8, 4
Pair = tuple[torch.Tensor, torch.Tensor]
Step = Callable[..., Share]
MAKERS = {"ideal": ideal, "made by the parties": TwoPartySource}


def on_shares(
    steps: dict[str, Step], inputs: list[Pair], ring: int, make: Callable[[Link], Correlations]
) -> dict[str, torch.Tensor]:
    """Each step on given shares without fraction bits, in one session: the ring elements that come out."""

    def party(link: Link) -> list[torch.Tensor]:
        executor = TwoPartyArithmetic(link, make(link), ring, 0)
        own = [Share(pair[executor.rank].clone(), 0) for pair in inputs]
        return [step(executor, *own).value for step in steps.values()]

    server, client = run_two_threads(party, party)
    results = (signed(a + b, ring) for a, b in zip(server, client, strict=True))
    return dict(zip(steps, results, strict=True))


def every_pair_of_pairs(bits: int) -> list[Pair]:
    """All shares of two numbers: 2^(4 bits) of them."""
    first, second = every_pair(bits)
    count = len(first)
    left = (first.repeat_interleave(count), second.repeat_interleave(count))
    return [left, (first.repeat(count), second.repeat(count))]


def column(share: Share) -> Share:
    return Share(share.value.reshape(-1, 1, 1), 0)


def one_by_one(executor: TwoPartyArithmetic, a: Share, b: Share) -> Share:
    """Products of matrices with one entry."""
    product = executor.matmul(column(a), column(b))
    return Share(product.value.reshape(a.shape), 0)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_products_of_every_pair_of_shares_of_both_factors(make: Callable[[Link], Correlations]) -> None:
    pairs = every_pair_of_pairs(FEW_BITS)
    a, b = (signed(server + client, FEW_BITS) for server, client in pairs)
    steps: dict[str, Step] = {
        "product": lambda executor, x, y: executor.mul(x, y),
        "matmul": one_by_one,
    }
    for got in on_shares(steps, pairs, FEW_BITS, make).values():
        assert torch.equal(got, signed(a * b, FEW_BITS))


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_squares_signs_and_choices_of_every_pair_of_shares(make: Callable[[Link], Correlations]) -> None:
    """The sign as an additive share, whole, and its choice between the number and zero."""
    pair = every_pair(BITS)
    x = signed(pair[0] + pair[1], BITS)
    steps: dict[str, Step] = {
        "square": lambda executor, a: executor.square(a),
        "sign": lambda executor, a: executor.less_than_zero(a),
        "negative part": lambda executor, a: executor.select(a, executor.less_than_zero(a)),
    }
    got = on_shares(steps, [pair], BITS, make)
    assert torch.equal(got["square"], signed(x * x, BITS))
    assert torch.equal(got["sign"], (x < 0).long())
    assert torch.equal(got["negative part"], x.clamp(max=0))


def test_choices_by_every_pair_of_shares_of_the_bit() -> None:
    """The number's shares, and of the bit all pairs of elements whose sum is 0 or 1."""
    numbers = every_pair(FEW_BITS)
    count, ring = len(numbers[0]), 1 << FEW_BITS
    own = torch.arange(ring).repeat_interleave(2)
    bit = torch.tensor([0, 1]).repeat(ring)
    pairs = [
        (numbers[0].repeat(len(own)), numbers[1].repeat(len(own))),
        (own.repeat_interleave(count), (bit - own).repeat_interleave(count)),
    ]
    a = signed(pairs[0][0] + pairs[0][1], FEW_BITS)
    steps: dict[str, Step] = {"select": lambda executor, x, y: executor.select(x, y)}
    got = on_shares(steps, pairs, FEW_BITS, ideal)["select"]
    assert torch.equal(got, a * bit.repeat_interleave(count))


@pytest.mark.parametrize("transposed", [False, True])
def test_linear_layers_of_every_pair_of_shares(transposed: bool) -> None:
    pair = tuple(each.reshape(-1, 1) for each in every_pair(BITS))
    weight = torch.tensor([[-3.0, 1.0, 2.0, 63.0]], dtype=torch.float64)
    held_as = weight.T if transposed else weight

    def step(executor: TwoPartyArithmetic, x: Share) -> Share:
        held = executor.weight("w", held_as if executor.rank == SERVER else None, held_as.shape)
        return executor.linear(x, held, transposed=transposed)

    got = on_shares({"linear": step}, [(pair[0], pair[1])], BITS, ideal)["linear"]
    assert torch.equal(got, signed((pair[0] + pair[1]) * weight.long(), BITS))


@pytest.mark.parametrize("bits", range(1, BITS + 1))
def test_words_are_compared_rightly_all_of_them(bits: int) -> None:
    words = every_pair(bits)

    def party(link: Link) -> torch.Tensor:
        assert link.rank is not None
        return less_than(link, ideal(link), words[link.rank], bits)

    server, client = run_two_threads(party, party)
    assert torch.equal(server ^ client, (words[0] < words[1]).long())
