"""Correlations of one kind, several at a time: right, and billed as counted, flights included."""

from __future__ import annotations

import pytest
import torch

from parties.bill import Bill
from parties.link import Link
from parties.meter import SERVER, Meter
from parties.threads import run_two_threads
from protocols.kernels.ring_products import ring_bmm
from protocols.two_party.correlations import Kind, Parts, Request
from protocols.two_party.costs import SourceCosts
from protocols.two_party.recipes import by_transfer
from protocols.two_party.source import TwoPartySource
from tests.protocols.two_party.test_executor import rows

RING = 48
PRIVATE = Request(Kind.MATMUL, ((1, 24, 40), (1, 40, 24)), RING)
"""Large enough that encryption sends less than transfers do."""
WIDE, TALL = (Request(Kind.LINEAR, ((rows, 8), (8, 4)), RING, name) for rows, name in ((3, "w"), (40, "v")))
SQUARES = Request(Kind.SQUARE, ((5 * (1 << 14) + 3,),), RING)
"""Six ciphertexts: two messages, of which the second is sent before the first is answered."""


def made(requests: list[Request]) -> tuple[list[Parts], list[Parts], Bill]:
    """Both parties' parts, and the bill, which is the counted one."""

    def party(link: Link) -> tuple[list[Parts], Bill]:
        source = TwoPartySource(link)
        for name in ("w", "v"):
            source.hold(name, torch.arange(32).reshape(8, 4) if link.rank == SERVER else None, (8, 4))
        source.announce(requests)
        return [source.take(request) for request in requests], link.meter.bill()

    (server, bill), (client, other) = run_two_threads(party, party)
    meter = Meter(timed=False)
    SourceCosts(meter).charge(requests)
    assert rows(bill) == rows(other) == rows(meter.bill())
    return server, client, bill


def flights(bill: Bill, kind: Kind) -> int:
    (row,) = [row for row in bill.rows if row.label == f"correlations.{kind}"]
    return row.offline_rounds


@pytest.mark.parametrize("count", [1, 2, 4])
def test_private_matrices_are_multiplied_by_encryption_one_after_the_other(count: int) -> None:
    assert not by_transfer(PRIVATE)
    server, client, bill = made([PRIVATE] * count)
    for mine, theirs in zip(server, client, strict=True):
        a, b, product = (x + y for x, y in zip(mine, theirs, strict=True))
        assert not ((ring_bmm(a, b) - product) << (64 - RING)).any()
    assert flights(bill, Kind.MATMUL) == count + 1  # each answer goes with the next query


def test_a_layer_waits_for_no_answer_before_the_next_one_is_asked_for() -> None:
    server, client, bill = made([WIDE, TALL])
    for (own,), (mask, share) in zip(server, client, strict=True):
        product = own + share - mask @ torch.arange(32).reshape(8, 4)
        assert not (product << (64 - RING)).any()
    assert flights(bill, Kind.LINEAR) == 2  # both queries, then both answers


def test_squares_of_several_messages() -> None:
    server, client, bill = made([SQUARES])
    for mine, theirs in zip(server, client, strict=True):
        number, square = (x + y for x, y in zip(mine, theirs, strict=True))
        assert not ((number * number - square) << (64 - RING)).any()
    assert flights(bill, Kind.SQUARE) == 2


def test_everything_in_one_window() -> None:
    others = [
        Request(kind, ((70,),), bits)
        for kind, bits in ((Kind.WRAP, 20), (Kind.SELECT, RING), (Kind.AND, 1), (Kind.DIGIT, 2))
    ]
    places = [Request(Kind.PLACE_128, ((9,),), 10), Request(Kind.TRANSFER, ((9,),), 64)]
    product = Request(Kind.PRODUCT, ((70,), (70,)), RING)
    _, _, bill = made([WIDE, PRIVATE, *others, product, PRIVATE, *places, TALL, SQUARES])
    assert bill.total.rounds == 0 < bill.total.offline_rounds
