"""Seconds from bills, where they can be worked out by hand."""

from __future__ import annotations

import pytest

from mpcinfer.benchmark.framing import SEGMENT_BYTES, SEGMENT_HEADERS, line_bytes
from mpcinfer.benchmark.modelled import FRAME_BYTES, modelled, modelled_seconds, wire_bytes
from mpcinfer.benchmark.network import LOOPBACK, NETWORKS, Network
from parties.bill import Bill, BillRow

SLOW = Network(name="slow", bandwidth=8e6, latency=0.01)
"""A megabyte a second."""


def _row(label: str = "a", **amounts: float) -> BillRow:
    return BillRow(label=label, **amounts)  # pyright: ignore[reportArgumentType]


def test_headers_of_segments_take_bandwidth() -> None:
    assert line_bytes(SEGMENT_BYTES) == SEGMENT_BYTES + SEGMENT_HEADERS


def test_loopback_is_what_was_measured() -> None:
    bill = Bill(
        rows=[_row(seconds=0.5, rounds=3, online_wire_bytes_to_server=10**6), _row("b", seconds=0.25)]
    )
    assert modelled_seconds(bill, LOOPBACK) == 0.75


def test_a_round_is_one_latency() -> None:
    spent = modelled(Bill(rows=[_row(rounds=3), _row("b", rounds=4)]), NETWORKS["wan-100m"])
    assert spent.latency == pytest.approx(7 * 0.040)
    assert spent.seconds == spent.latency


@pytest.mark.parametrize(
    ("rounds", "to_client", "megabytes"),
    [(1, 10**6, 2), (0, 10**6, 2), (2, 10**6, 3), (2, 2 * 10**6, 2), (4, 19 * 10**5, 2)],
)
def test_directions_overlap_within_a_round_and_in_exchanges(
    rounds: int, to_client: int, megabytes: int
) -> None:
    row = _row(rounds=rounds, online_wire_bytes_to_server=2 * 10**6, online_wire_bytes_to_client=to_client)
    assert modelled(Bill(rows=[row]), SLOW).transfer == pytest.approx(line_bytes(megabytes))


def test_computing_may_come_from_elsewhere() -> None:
    bill = Bill(rows=[_row(seconds=9.0), _row("b", seconds=9.0)])
    assert modelled(bill, LOOPBACK, compute={"a": 0.5}).seconds == 0.5


def test_a_counted_row_gets_headers_and_a_measured_one_has_them() -> None:
    counted = _row(rounds=4, online_bytes_to_server=1000, online_bytes_to_client=1000)
    assert wire_bytes(counted) == (1000 + 4 * FRAME_BYTES,) * 2
    one_way = _row(rounds=1, online_bytes_to_client=1000)
    assert wire_bytes(one_way) == (0, 1000 + FRAME_BYTES)
    assert wire_bytes(_row(online_wire_bytes_to_server=7, online_bytes_to_server=5)) == (7, 0)


def test_a_dealer_that_deals_meanwhile_overlaps_what_comes_before() -> None:
    rows = [
        _row("first", rounds=10, offline_bytes_to_server=10**6),
        _row("second", seconds=3.0),
        _row("third", offline_bytes_to_server=10**6),
    ]
    spent = modelled(Bill(rows=rows), SLOW, streamed=True)
    dealt_first = 2 * SLOW.latency + line_bytes(1.0)
    assert spent.dealer == pytest.approx(dealt_first - 10 * SLOW.latency), "the third's are there in time"
    assert modelled(Bill(rows=rows), SLOW).dealer == 0


def test_slow_start_doubles_and_stays() -> None:
    fast = Network(name="fast", bandwidth=8e9, latency=0.05)
    row = _row(rounds=1, online_wire_bytes_to_server=14_480 * 7)
    spent = modelled(Bill(rows=[row, row]), fast, slow_start=True)
    assert spent.slow_start == pytest.approx(3 * 0.1)


@pytest.mark.parametrize("network", NETWORKS.values(), ids=lambda network: network.name)
def test_more_of_a_network_is_never_slower(network: Network) -> None:
    row = _row(rounds=2, online_wire_bytes_to_server=10**5, online_wire_bytes_to_client=10**4, seconds=0.1)
    assert modelled_seconds(Bill(rows=[row]), network) >= modelled_seconds(Bill(rows=[row]), LOOPBACK)
