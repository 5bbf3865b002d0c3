"""Attention whose keys and values stay: tokens that come in several passes, against the same in the clear."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

from parties.bill import Bill
from parties.errors import CorrelationExhausted
from parties.link import Link
from parties.meter import CLIENT, SERVER, Meter
from parties.randomness import InsecureTestRandom
from parties.threads import run_two_threads
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.shapes import Shape
from protocols.share import Share
from protocols.two_party.correlations import Kind, Parts, Request
from protocols.two_party.counting import CountingArithmetic
from protocols.two_party.executor import TwoPartyArithmetic
from protocols.two_party.kv_products import KeptRows
from protocols.two_party.source import TwoPartySource

RING, FRAC, NARROW = 44, 10, (40, 38)
LEAD, HEADS, GROUPS, WIDTH = (2,), 2, 3, 4
STEPS = (30, 1, 5, 1)
"""Tokens of passes: the third needs more than one ciphertext's rows, some of the first's among them."""
LEFT = 33
"""Tokens that stay when others are forgotten."""


def drawn(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape))).double() * 2 - 1


INPUTS = [
    (
        drawn(*LEAD, HEADS * GROUPS, tokens, WIDTH),
        drawn(*LEAD, HEADS, tokens, WIDTH),
        drawn(*LEAD, HEADS, tokens, WIDTH) * 2,
    )
    for tokens in STEPS
]


def repeated(executor: Arithmetic, x: Share) -> Share:
    return executor.rearrange(x, lambda value: value.repeat_interleave(GROUPS, -3))


def attention(executor: Arithmetic, after_each: Callable[[], object] = lambda: None) -> list[Share]:
    """Lower triangles of scores times values, pass by pass; then another token after the first `LEFT`."""

    def own(value: torch.Tensor, owner: int) -> Share:
        return executor.share_from(owner, value if executor.rank == owner else None, tuple(value.shape))

    result: list[Share] = []
    kept: list[Share] = []
    start = 0
    for number, (q, k, v) in enumerate([*INPUTS, INPUTS[1]]):
        if number == len(INPUTS):
            start, kept = LEFT, [each.first_rows(LEFT) for each in kept]
        parts = own(q, CLIENT), own(k, SERVER), own(v, CLIENT)
        queries, *fresh = executor.attention_factors("layer", *parts, start, NARROW)
        kept = [executor.concat(pair, -2) for pair in zip(kept, fresh, strict=True)] if kept else fresh
        keys, values = (repeated(executor, each) for each in kept)
        scores = executor.matmul(queries, executor.rearrange(keys, lambda value: value.transpose(-1, -2)))
        seen = executor.rearrange(scores, lambda value, start=start: value.tril(start))
        result.append(executor.matmul(seen, values))
        after_each()
        start += q.shape[-2]
    return result


def expected() -> list[torch.Tensor]:
    """The same in the clear."""
    whole = [torch.cat([each[i] for each in INPUTS], -2) for i in range(3)]
    again = [torch.cat([all_[..., :LEFT, :], one], -2) for all_, one in zip(whole, INPUTS[1], strict=True)]
    return [*torch.split(of_one_pass(whole), STEPS, -2), of_one_pass(again)[..., LEFT:, :]]


def of_one_pass(inputs: Sequence[torch.Tensor]) -> torch.Tensor:
    q, k, v = inputs
    k, v = (x.repeat_interleave(GROUPS, -3) for x in (k, v))
    return (q @ k.transpose(-1, -2)).tril() @ v


def test_all_tokens_are_near_the_clear_and_what_is_sent_was_counted() -> None:
    meter, passes = Meter(timed=False), list[list[Request]]()
    counting = CountingArithmetic(meter, RING, FRAC)

    def settle() -> None:
        passes.append(list(counting.requests))
        counting.settle()

    for share in attention(counting, settle):
        counting.open_to(CLIENT, share)

    def party(link: Link) -> tuple[list[torch.Tensor | None], Bill]:
        source = TwoPartySource(link)
        for requests in passes:
            source.announce(requests)
        executor = TwoPartyArithmetic(link, source, RING, FRAC)
        opened = [executor.open_to(CLIENT, share) for share in attention(executor)]
        return opened, link.meter.bill()

    (_, at_server), (opened, at_client) = run_two_threads(party, party)
    for result, right in zip(opened, expected(), strict=True):
        assert result is not None
        assert float((result - right).abs().max()) < 0.05
    counted = sizes(meter.bill())
    assert sizes(at_server) == sizes(at_client) == counted


def sizes(bill: Bill) -> tuple[int, ...]:
    total = bill.total
    return (
        total.rounds, total.online_bytes_to_server, total.online_bytes_to_client,
        total.offline_bytes_to_server, total.offline_bytes_to_client,
    )  # fmt: skip


def taken(requests: Sequence[Request]) -> list[tuple[Parts, Parts]]:
    """Both parties' parts of requests that are made one by one."""

    def party(link: Link) -> list[Parts]:
        source = TwoPartySource(link)
        return [source.take(request) for request in requests]

    return list(zip(*run_two_threads(party, party), strict=True))


def request(kind: Kind, tokens: int, keys: int) -> Request:
    shapes: tuple[Shape, ...] = ((HEADS, GROUPS, tokens, WIDTH), (HEADS, keys, WIDTH))
    return Request(kind, shapes, RING, "layer")


@pytest.mark.parametrize("kind", [Kind.SCORES, Kind.MIX])
def test_products_are_of_rows_that_were_never_used_before(kind: Kind) -> None:
    """30 tokens, 5 more, and then 2 after the first 31: masks of forgotten tokens do not come again."""
    parts = taken([request(kind, 30, 30), request(kind, 5, 35), request(kind, 2, 33)])
    sums = [[(a + b) & ((1 << RING) - 1) for a, b in zip(*each, strict=True)] for each in parts]
    rights = [right for _, right, _ in sums]
    for (left, _, product), keys, before in zip(
        sums,
        (30, 35, 33),
        (rights[:1], rights[:2], [torch.cat(rights[:2], -2)[..., :31, :], rights[2]]),
        strict=True,
    ):
        right = torch.cat(list(before), -2).unsqueeze(-3)
        whole = left @ (right.transpose(-1, -2) if kind is Kind.SCORES else right)
        same = ((whole - product) & ((1 << RING) - 1)) == 0
        rows = left.shape[-2]
        seen = torch.ones(rows, keys, dtype=torch.bool).tril(keys - rows)
        assert bool(same[..., seen].all() if kind is Kind.SCORES else same.all())
    numbers = torch.cat([torch.cat([part.reshape(-1) for part in each[:2]]) for each in sums])
    drawn_numbers = numbers[numbers != 0]
    assert len(set(drawn_numbers.tolist())) == len(drawn_numbers)


def test_masks_that_would_be_taken_twice_are_refused() -> None:
    """Tokens that come again in one making; weights that are multiplied with values a second time."""
    with pytest.raises(CorrelationExhausted, match="come again"):
        KeptRows(lambda *_: [], InsecureTestRandom(1)).make(
            [request(Kind.MIX, 3, 3), request(Kind.MIX, 1, 3)]
        )

    def party(link: Link) -> None:
        executor = TwoPartyArithmetic(link, TwoPartySource(link), RING, FRAC)
        client = executor.rank == CLIENT
        parts = (executor.share_from(CLIENT, x if client else None, x.shape) for x in INPUTS[1])
        _, _, values = executor.attention_factors("layer", *parts, 0, NARROW)
        one = drawn(*LEAD, HEADS * GROUPS, 1, 1).abs()
        weights = executor.share_from(CLIENT, one if client else None, one.shape)
        repeated_values = repeated(executor, values)
        executor.matmul(weights, repeated_values)
        with pytest.raises(CorrelationExhausted, match="serve once"):
            executor.matmul(weights, repeated_values)
        with pytest.raises(CorrelationExhausted, match="without masks"):
            executor.matmul(weights, values.first_rows(1))

    run_two_threads(party, party)
