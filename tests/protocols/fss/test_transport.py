"""Streams from the dealer: what arrives, how much is under way, and what is refused."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from parties.channel import MAX_MESSAGE_BYTES, Channel
from parties.errors import CorrelationExhausted, PeerClosed, PeerMismatch
from parties.link import Link
from parties.local import local_pair
from parties.meter import CLIENT, SERVER, Meter
from parties.randomness import InsecureTestRandom
from parties.wire import Buffer, decode
from protocols.fss.preprocessing.seeds import DealerSeeds, PartySeeds, charge_seeds, weight_streams
from protocols.fss.preprocessing.source import RUNS, DealerSource, RunShape, asked_runs
from protocols.fss.preprocessing.transport import CHUNK, CHUNK_BYTES, DATA, Dealt, Inbox, Outbox, Part
from tests.deadlines import HANG_S

WINDOW, PIECE = 1000, 100


def _links() -> tuple[Link, Link]:
    """The dealer's end and a party's."""
    dealer, party = local_pair()
    return Link(dealer, Meter(), None), Link(party, Meter(), None)


def _deal(box: Outbox, sizes: Sequence[int], rank: int, seed: int = 0) -> list[np.ndarray[Any, Any]]:
    """Writes pieces of these sizes, the parts in turn; what each part had in all."""
    randomness = InsecureTestRandom(seed)
    parts: list[list[Any]] = [[], []]
    writers = [box.writer(part) for part in Part]
    for i, size in enumerate(sizes):
        part = i % 2 if rank == SERVER else 0
        parts[part].append(randomness.uint8((size,)))
        writers[part](parts[part][-1])
    whole = [np.concatenate([*part, np.empty(0, np.uint8)]) for part in parts]
    box.end_run(Dealt(*(len(whole[0]), 7, len(whole[1])) if rank == SERVER else (9, len(whole[0]), 11)))
    return whole


def _in_thread(function: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("rank", [SERVER, CLIENT])
@pytest.mark.parametrize(
    "sizes", [[], [1], [0, 3], [PIECE], [PIECE - 1, 1, 1], [5 * PIECE + 3, 2, 4 * PIECE] * 9]
)
def test_what_is_dealt_arrives(rank: int, sizes: list[int]) -> None:
    dealer, party = _links()
    sent: list[list[Any]] = []

    def deal() -> None:
        box = Outbox(dealer, window_bytes=WINDOW, chunk_bytes=PIECE)
        sent.extend(_deal(box, sizes, rank, seed) for seed in range(2))
        box.drain()

    thread = _in_thread(deal)
    seen: list[int] = []
    inbox = Inbox(party, rank, on_bytes=seen.append, window_bytes=WINDOW)
    runs = [inbox.receive_run() for _ in range(2)]
    thread.join(HANG_S)
    assert not thread.is_alive()
    for run, parts in zip(runs, sent, strict=True):
        assert run is not None
        dealt, file_streams = run
        assert dealt.to_party(rank) == {part: len(parts[part]) for part in Part}
        for part in Part:
            with closing(file_streams[part].reader()) as reader:
                assert (reader.bytes(reader.left_bytes) == parts[part]).all()
    assert sum(seen) == sum(len(part) for parts in sent for part in parts)


class _Watched(Channel):
    """Counts bytes of correlations that were sent and not yet acknowledged."""

    def __init__(self, channel: Channel) -> None:
        self._channel, self.under_way, self.most = channel, 0, 0
        self._sent = 0

    def send(self, parts: Sequence[Buffer]) -> None:
        frame = decode(parts)
        if frame.label == DATA:
            self._sent += frame.payload_bytes
            self.under_way += frame.payload_bytes
            self.most = max(self.most, self.under_way)
        self._channel.send(parts)

    def recv(self, most_bytes: int = MAX_MESSAGE_BYTES) -> list[Buffer]:
        parts = self._channel.recv(most_bytes)
        self.under_way = self._sent - int.from_bytes(bytes(parts[1])[-2:], "big")  # {"bytes": uint16}
        return parts

    def close(self) -> None:
        self._channel.close()


def test_no_more_is_under_way_than_the_window() -> None:
    ends = local_pair()
    channel = _Watched(ends[0])
    dealer, party = Link(channel, Meter(), None), Link(ends[1], Meter(), None)
    box = Outbox(dealer, window_bytes=WINDOW, chunk_bytes=PIECE)
    thread = _in_thread(lambda: (_deal(box, [7000], CLIENT), box.drain()))
    run = Inbox(party, CLIENT, window_bytes=WINDOW).receive_run()
    thread.join(HANG_S)
    assert run is not None
    for file_stream in run[1].values():
        file_stream.close()
    assert WINDOW // 2 < channel.most <= WINDOW
    assert channel.under_way == 0


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({"part": 2, "bytes": 1}, "expected a chunk"),
        ({"part": 0, "bytes": 0}, "expected a chunk"),
        ({"part": 0, "bytes": CHUNK_BYTES + 1}, f"a chunk of {CHUNK_BYTES + 1} bytes"),
        ({"end": [0, 1, 0]}, r"\[1, 0\] bytes, \[0, 0\] came"),
        ({"end": [0, -1, 0]}, "three numbers"),
        ({"end": [0, 0]}, "three numbers"),
        ({"surplus": 1}, "expected a chunk"),
    ],
)
def test_a_dealer_that_says_something_else(document: dict[str, Any], complaint: str) -> None:
    dealer, party = _links()
    dealer.send_document(document, CHUNK)
    with pytest.raises(PeerMismatch, match=complaint):
        Inbox(party, CLIENT).receive_run()


def test_an_acknowledgement_of_more_than_was_sent() -> None:
    dealer, party = _links()
    box = Outbox(dealer, window_bytes=10, chunk_bytes=10)
    box.writer(Part.GATES)(np.zeros(10, np.uint8))
    party.send_document({"bytes": 11}, "deal.taken")
    with pytest.raises(PeerMismatch, match="11"):
        box.drain()


def test_seeds_reach_their_party_and_nobody_has_anothers() -> None:
    seeds = DealerSeeds.fresh(InsecureTestRandom(1))
    (dealer, server), (other_dealer, client) = _links(), _links()
    seeds.server.send(dealer)
    seeds.client.send(other_dealer)
    ours, theirs = PartySeeds.receive(server, SERVER), PartySeeds.receive(client, CLIENT)
    assert (ours.hash, ours.main, ours.weights) == (
        seeds.server.hash,
        seeds.server.main,
        seeds.server.weights,
    )
    assert (theirs.hash, theirs.main, theirs.weights) == (ours.hash, seeds.client.main, b"")
    assert len({ours.hash, ours.main, ours.weights, theirs.main}) == 4
    kept = DealerSeeds.fresh(InsecureTestRandom(1), ours.weights)
    assert kept.server.weights == ours.weights
    meter = Meter(timed=False)
    charge_seeds(meter)
    total = meter.bill().total
    assert (total.offline_bytes_to_server, total.offline_bytes_to_client) == (48, 32)


def test_a_run_draws_from_streams_of_its_own_and_once() -> None:
    seeds, dealer = PartySeeds(bytes(16), bytes(range(16))), PartySeeds(bytes(16), bytes(range(16)))
    first, third = seeds.streams(0), seeds.streams(2)
    drawn = [stream.draw_bytes(16) for run in (first, third) for stream in (run.gates, run.linear)]
    assert len(set(drawn)) == 4
    assert dealer.streams(2).gates.draw_bytes(16) == drawn[2]  # whoever skips a run is not behind
    for used in (0, 1, 2):
        with pytest.raises(CorrelationExhausted, match=f"run {used} was used before"):
            seeds.streams(used)


def test_masks_of_weights_are_the_same_whenever_they_are_drawn() -> None:
    streams = weight_streams(bytes(16))
    first, again, other = (streams(name, (4, 5)).uint64((4, 5)) for name in "aab")
    assert (first == again).all()
    assert not (first == other).any()


# -- a party's source ----------------------------------------------------------------------------------------


class _Dealer:
    """The dealer's end of a source: gives whatever runs are asked for two bytes each."""

    def __init__(self) -> None:
        self.link, party = _links()
        DealerSeeds.fresh(InsecureTestRandom(3)).client.send(self.link)
        self.source = DealerSource(CLIENT, party)
        self.party = party
        self.box = Outbox(self.link)

    def answer(self, runs: int) -> dict[str, Any]:
        asked = self.link.recv_document(RUNS)
        for i in range(runs):
            self.box.writer(Part.GATES)(np.full(2, i, np.uint8))
            self.box.end_run(Dealt(0, 2, 0))
        return asked


def test_runs_are_numbered_and_come_in_order() -> None:
    dealer = _Dealer()
    dealer.source.request([RunShape(0, 5), RunShape(5, 1)])
    assert dealer.answer(2) == {"runs": [[0, 0, 5, 1], [1, 5, 1, 1]]}
    for expected in (0, 1):
        with closing(dealer.source.collect()) as correlations:
            assert correlations.gates.bytes(2).tolist() == [expected] * 2
    dealer.box.drain()
    dealer.source.request([RunShape(2, 3, 2)])
    assert dealer.answer(1) == {"runs": [[2, 2, 3, 2]]}
    dealer.source.collect().close()
    dealer.source.close()
    dealer.box.drain()
    assert dealer.link.recv_document(RUNS) == {"end": True}


def test_a_dealer_that_dies_is_named() -> None:
    """Whoever asks again is told again, and does not wait for what never comes."""
    dealer = _Dealer()
    dealer.source.request([RunShape(0, 5), RunShape(5, 1)])
    dealer.answer(1)
    dealer.link.close()
    dealer.source.collect().close()
    for _ in range(2):
        with pytest.raises(PeerClosed, match="the dealer"):
            dealer.source.collect()
    dealer.source.close()


def test_a_source_that_is_closed_early_gives_its_files_up() -> None:
    dealer = _Dealer()
    dealer.source.request([RunShape(0, 5), RunShape(5, 1)])
    dealer.answer(1)
    dealer.link.close()
    dealer.source.close()
    dealer.source.close()
    with pytest.raises(CorrelationExhausted, match="over"):
        dealer.source.request([RunShape(6, 1)])


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"runs": []},
        {"runs": 1},
        {"runs": [[0, 0]]},
        {"runs": [[0, 0, 1]]},
        {"runs": [[1, 0, 1, 1]]},
        {"runs": [[0, -1, 1, 1]]},
        {"runs": [[0, 0, 0, 1]]},
        {"runs": [[0, 0, 21, 1]]},
        {"runs": [[0, 0, 2, 0]]},
        {"runs": [[0, 0, 2, 3]]},
        {"runs": [[0, 0, 1, 1], [0, 1, 1, 1]]},
        {"runs": [[0, 0, "1", 1]]},
        {"end": False},
    ],
)
def test_requests_that_are_none(document: dict[str, object]) -> None:
    with pytest.raises(PeerMismatch):
        asked_runs(document, 0, 20)


def test_requests() -> None:
    assert asked_runs({"runs": [[3, 0, 2, 1], [4, 2, 18, 3]]}, 3, 20) == [RunShape(0, 2), RunShape(2, 18, 3)]
    assert asked_runs({"end": True}, 3, 20) is None
