"""Seconds over a network from a bill: what was computed, what waited for messages, what waited for bytes.

The model, label by label in the order of the bill:

* computing: the label's measured seconds on loopback, which hold both parties' work in turn;
* latency: one a round;
* bandwidth: the label's bytes on the line, headers, framing and encryption included, over the bandwidth. The
  two directions of one round overlap, as messages that cross; those of several rounds follow one another,
  except where both parties send as much, which is what exchanges look like;
* a dealer that deals while the parties run: a label cannot end before its correlations have come over the
  dealer's own link, in order, from one round trip to the dealer on. They overlap all that comes before.

Nothing else overlaps: `Link.recv` waits for the whole of a message, and what a party computes next needs it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from mpcinfer.benchmark.framing import SEGMENT_BYTES, line_bytes
from mpcinfer.benchmark.network import Network
from parties.bill import Bill, BillRow

FRAME_BYTES = 170
"""What a frame's header, 0MQ's framing and CURVE add to a payload, about; for bills that were counted."""
EXCHANGED = 0.9
"""Labels of several rounds that send that much of one direction's bytes in the other exchange messages."""
FIRST_WINDOW = 10 * SEGMENT_BYTES
"""Bytes that TCP sends before it has heard anything (RFC 6928)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Modelled:
    """Where the seconds of a run go.

    Attributes:
        compute, latency, transfer: as above; `transfer` has waiting for bandwidth alone.
        dealer: waiting for a dealer that deals meanwhile.
        slow_start: round trips in which TCP learns what the link carries.
    """

    compute: float
    latency: float
    transfer: float
    dealer: float = 0.0
    slow_start: float = 0.0

    @property
    def seconds(self) -> float:
        """All of them."""
        return self.compute + self.latency + self.transfer + self.dealer + self.slow_start


def modelled_seconds(bill: Bill, network: Network, *, streamed: bool = False) -> float:
    """Online seconds of a run over a network; see `modelled`."""
    return modelled(bill, network, streamed=streamed).seconds


def modelled(
    bill: Bill,
    network: Network,
    *,
    compute: Mapping[str, float] | None = None,
    streamed: bool = False,
    slow_start: bool = False,
) -> Modelled:
    """Online seconds of one pass, or of what else a bill is of, by where they go.

    Args:
        bill: of one pass. Measured on loopback it has wire bytes and seconds; one that was counted has
            neither: wire bytes are then made of payload bytes.
        compute: seconds by label, instead of the bill's own.
        streamed: the dealer deals while the parties run (`Suite.dealt_while_running`).
        slow_start: TCP goes all the way, as between machines and under `tc netem`; not through relays.
    """
    total = {"compute": 0.0, "latency": 0.0, "transfer": 0.0, "dealer": 0.0, "slow_start": 0.0}
    clock, dealt_at = 0.0, 2 * network.latency
    windows = [float(FIRST_WINDOW), float(FIRST_WINDOW)]
    for row in bill.rows:
        spent = (row.seconds or 0.0) if compute is None else compute.get(row.label, 0.0)
        parts = {"compute": spent, "latency": row.rounds * network.latency, "transfer": 0.0}
        if network.bytes_per_s is not None:
            parts["transfer"] = line_seconds(row, network)
            dealt_at += line_bytes(row.offline_bytes_to_server) / network.bytes_per_s
        if slow_start:
            parts["slow_start"] = _slow_start(row, network, windows)
        clock += sum(parts.values())
        if streamed and row.offline_bytes_to_server and clock < dealt_at:
            parts["dealer"] = dealt_at - clock
            clock = dealt_at
        for name, seconds in parts.items():
            total[name] += seconds
    return Modelled(**total)


def wire_bytes(row: BillRow) -> tuple[float, float]:
    """TCP payload of a row's online messages, to the server and to the client; as measured, or estimated."""
    measured = float(row.online_wire_bytes_to_server), float(row.online_wire_bytes_to_client)
    if any(measured):
        return measured
    payload = float(row.online_bytes_to_server), float(row.online_bytes_to_client)
    ways = sum(map(bool, payload))
    crossing = ways == 2 and (row.rounds <= 1 or _exchanged(*payload))
    frames = max(1.0, row.rounds if crossing else row.rounds / max(ways, 1))
    to_server, to_client = (size + frames * FRAME_BYTES if size else 0.0 for size in payload)
    return to_server, to_client


def line_seconds(row: BillRow, network: Network) -> float:
    """How long a row's online messages occupy the link."""
    if network.bytes_per_s is None:
        return 0.0
    to_server, to_client = map(line_bytes, wire_bytes(row))
    crossing = row.rounds <= 1 or _exchanged(to_server, to_client)
    return (max if crossing else _sum)(to_server, to_client) / network.bytes_per_s


def _sum(one: float, other: float) -> float:
    return one + other


def _exchanged(one: float, other: float) -> bool:
    return min(one, other) >= EXCHANGED * max(one, other)


def _slow_start(row: BillRow, network: Network, windows: list[float]) -> float:
    """Round trips until each direction's window holds a message of this row; windows stay as they were."""
    waited = 0.0
    limit = math.inf if network.bytes_per_s is None else network.bytes_per_s * 2 * network.latency
    for way, size in enumerate(wire_bytes(row)):
        message = min(size / max(1, row.rounds), limit)
        if message > windows[way]:
            trips = math.ceil(math.log2(message / windows[way]))
            windows[way] *= 2.0**trips
            waited = max(waited, trips * 2 * network.latency)
    return waited
