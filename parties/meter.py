"""The meter: charges every frame and every second to the span it happened in."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from enum import Enum

from parties.bill import Bill, BillRow

SERVER, CLIENT = 0, 1
_OUTSIDE = "other"


class Phase(Enum):
    """When a cost arises."""

    CONTROL = "control"
    SETUP = "setup"
    OFFLINE = "offline"
    ONLINE = "online"


class Clock(Enum):
    """By what rounds are counted: set-up and the online phase wait for each other, the offline phase for
    itself alone."""

    ONLINE = "online"
    OFFLINE = "offline"


_CLOCKS = {
    Phase.CONTROL: None,
    Phase.SETUP: Clock.ONLINE,
    Phase.OFFLINE: Clock.OFFLINE,
    Phase.ONLINE: Clock.ONLINE,
}


class Meter:
    """A ledger of frames by label.

    Rounds by depth: every frame carries 1 + the largest depth its sender had received. The ledger adds a
    round to the current label whenever a frame, sent or received, is deeper than every frame before it. A
    simultaneous exchange is one round, ping-pong of three is three, four messages sent before any receive
    are one; both parties come to the same number for every label. The offline phase's frames are counted by
    themselves: no computation on the input waits for them.

    Args:
        timed: False leaves seconds None, as in a bill that is counted and not measured.

    Attributes:
        notes: of the bill.
        on_span: is told the name of every span that begins.
    """

    def __init__(self, *, timed: bool = True) -> None:
        self._timed = timed
        self._rows: dict[str, BillRow] = {}
        self._path: list[str] = []
        self._kinds: list[str] = []
        self._label = _OUTSIDE
        self._phase = Phase.ONLINE
        self._deepest = dict.fromkeys(Clock, 0)
        self._clock = time.perf_counter()
        self.notes: list[str] = []
        self.on_span: Callable[[str], None] | None = None

    @property
    def label(self) -> str:
        """The current span path, dotted; `other` outside of all spans."""
        return self._label

    @property
    def clock(self) -> Clock | None:
        """What frames now are counted by; None where they have no rounds, as control frames."""
        return _CLOCKS[self._phase]

    @contextmanager
    def span(self, name: str, kind: str = "") -> Generator[None]:
        """Charges what happens inside to `name` below the current path. Kinds are inherited."""
        self._lap()
        if self.on_span is not None:
            self.on_span(name)
        outside = self._label
        self._path.append(name)
        self._kinds.append(kind or (self._kinds[-1] if self._kinds else ""))
        self._label = ".".join(self._path)
        try:
            yield
        finally:
            self._lap()
            self._path.pop()
            self._kinds.pop()
            self._label = outside

    @contextmanager
    def root(self) -> Generator[None]:
        """Outside of all spans, for what belongs to no place in a model; spans inside start from there."""
        self._lap()
        before = self._path, self._kinds, self._label
        self._path, self._kinds, self._label = [], [], _OUTSIDE
        try:
            yield
        finally:
            self._lap()
            self._path, self._kinds, self._label = before

    @contextmanager
    def phase(self, phase: Phase) -> Generator[None]:
        """Charges what happens inside to another phase's columns."""
        self._lap()
        before, self._phase = self._phase, phase
        try:
            yield
        finally:
            self._lap()
            self._phase = before

    def charge_frame(self, receiver: int, *, payload_bytes: int, wire_bytes: int, depth: int) -> None:
        """Books one frame between the parties, to `receiver` (0 server, 1 client)."""
        row = self._row()
        self._charge_wire(row, receiver, wire_bytes)
        clock, deeper = self.clock, 0
        if clock is not None:
            deeper = max(0, depth - self._deepest[clock])
            self._deepest[clock] += deeper
        if self._phase is Phase.CONTROL:
            row.control_bytes += payload_bytes
        elif self._phase is Phase.SETUP:
            row.setup_bytes += payload_bytes
            row.setup_rounds += deeper
        elif self._phase is Phase.OFFLINE:
            self.charge_offline(receiver, payload_bytes)
            row.offline_rounds += deeper
        else:
            row.rounds += deeper
            if receiver == SERVER:
                row.online_bytes_to_server += payload_bytes
                row.online_wire_bytes_to_server += wire_bytes
            else:
                row.online_bytes_to_client += payload_bytes
                row.online_wire_bytes_to_client += wire_bytes

    def charge_offline(self, receiver: int, payload_bytes: int) -> None:
        """Books correlated randomness that the dealer sent to `receiver`."""
        if not payload_bytes:
            return
        row = self._row()
        if receiver == SERVER:
            row.offline_bytes_to_server += payload_bytes
        else:
            row.offline_bytes_to_client += payload_bytes

    def charge_offline_rounds(self, rounds: int) -> None:
        """Books rounds that what was charged by `charge_offline` took when it was made."""
        if rounds:
            self._row().offline_rounds += rounds

    def bill(self) -> Bill:
        """What was charged so far; a copy."""
        self._lap()
        bill = Bill(rows=[], notes=list(self.notes))
        for row in self._rows.values():
            copy = BillRow(label=row.label, kind=row.kind)
            copy.add(row)
            bill.rows.append(copy)
        return bill

    def _row(self) -> BillRow:
        label = self.label
        row = self._rows.get(label)
        if row is None:
            row = self._rows[label] = BillRow(label=label, kind=self._kinds[-1] if self._kinds else "")
        return row

    def _charge_wire(self, row: BillRow, receiver: int, wire_bytes: int) -> None:
        if receiver == SERVER:
            row.wire_bytes_to_server += wire_bytes
        else:
            row.wire_bytes_to_client += wire_bytes

    def _lap(self) -> None:
        """Books the time since the last change of span or phase to the span that is ending or pausing."""
        if not self._timed:
            return
        now = time.perf_counter()
        if self._path:
            row, passed = self._row(), now - self._clock
            if self._phase is Phase.OFFLINE:
                row.offline_seconds = (row.offline_seconds or 0.0) + passed
            else:
                row.seconds = (row.seconds or 0.0) + passed
        self._clock = now
