"""Broken channels: each has a fault that the conformance suite must find."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from parties.channel import MAX_MESSAGE_BYTES, Channel
from parties.errors import PeerError, PeerTimeout
from parties.local import local_pair
from parties.wire import Buffer
from tests.conformance import channel_suite as suite
from tests.deadlines import HANG_S, SILENCE_S
from tests.parties.pairs import MakePair


class NegativeControl(Channel):
    """Passes everything on; the broken ones change one thing."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel

    def send(self, parts: Sequence[Buffer]) -> None:
        self.channel.send(parts)

    def recv(self, most_bytes: int = MAX_MESSAGE_BYTES) -> list[Buffer]:
        return self.channel.recv(most_bytes)

    def close(self) -> None:
        self.channel.close()


class Drops(NegativeControl):
    """Loses every tenth message."""

    count = 0

    def send(self, parts: Sequence[Buffer]) -> None:
        self.count += 1
        if self.count % 10:
            self.channel.send(parts)


class Repeats(NegativeControl):
    """Delivers every tenth message twice."""

    count = 0

    def send(self, parts: Sequence[Buffer]) -> None:
        self.count += 1
        for _repeat in range(1 if self.count % 10 else 2):
            self.channel.send(parts)


class Reorders(NegativeControl):
    """Two messages that wait at once are swapped."""

    held: list[Buffer] | None = None

    def recv(self, most_bytes: int = MAX_MESSAGE_BYTES) -> list[Buffer]:
        if self.held is not None:
            held, self.held = self.held, None
            return held
        parts = self.channel.recv(most_bytes)
        try:
            self.held, parts = parts, self.channel.recv(most_bytes)
        except PeerError:
            return parts
        return parts


class Glues(NegativeControl):
    """Forgets where a part ends."""

    def send(self, parts: Sequence[Buffer]) -> None:
        self.channel.send([b"".join(parts)])


class SkipsEmptyParts(NegativeControl):
    def send(self, parts: Sequence[Buffer]) -> None:
        self.channel.send([part for part in parts if len(part)] or [b""])


class Aliases(NegativeControl):
    """Hands the sender's own buffer to the receiver."""

    outbox: list[list[Buffer]]
    inbox: list[list[Buffer]]

    def send(self, parts: Sequence[Buffer]) -> None:
        self.channel.send([b"ready"])
        self.outbox.append(list(parts))

    def recv(self, most_bytes: int = MAX_MESSAGE_BYTES) -> list[Buffer]:
        self.channel.recv(most_bytes)
        return self.inbox.pop(0)


class ReusesItsBuffer(NegativeControl):
    """Receives every message into the same memory."""

    memory = bytearray(1 << 23)

    def recv(self, most_bytes: int = MAX_MESSAGE_BYTES) -> list[Buffer]:
        views: list[Buffer] = []
        start = 0
        for part in self.channel.recv():
            self.memory[start : start + len(part)] = part
            views.append(memoryview(self.memory)[start : start + len(part)])
            start += len(part)
        return views


class WaitsForTheReader(NegativeControl):
    """Takes four messages, then stands still until one is read."""

    waiting = 0
    other: WaitsForTheReader

    def send(self, parts: Sequence[Buffer]) -> None:
        if self.waiting == 4:
            raise PeerTimeout("stood still until the deadline")
        self.waiting += 1
        self.channel.send(parts)

    def recv(self, most_bytes: int = MAX_MESSAGE_BYTES) -> list[Buffer]:
        parts = self.channel.recv(most_bytes)
        self.other.waiting -= 1
        return parts


class NeverNoticesClose(NegativeControl):
    """Keeps the end of the connection to itself."""

    closed = False

    def close(self) -> None:
        self.closed = True


class LosesTheTail(NegativeControl):
    """Closing overtakes the last message."""

    last: list[Buffer] | None = None

    def send(self, parts: Sequence[Buffer]) -> None:
        if self.last is not None:
            self.channel.send(self.last)
        self.last = list(parts)

    def recv(self, most_bytes: int = MAX_MESSAGE_BYTES) -> list[Buffer]:
        if self.last is not None:
            self.channel.send(self.last)
            self.last = None
        return self.channel.recv(most_bytes)


class IsSilentAboutTimeouts(NegativeControl):
    """Gives an empty message where there was none."""

    def recv(self, most_bytes: int = MAX_MESSAGE_BYTES) -> list[Buffer]:
        try:
            return self.channel.recv(most_bytes)
        except PeerTimeout:
            return []


class GivesUpAfterATimeout(NegativeControl):
    def recv(self, most_bytes: int = MAX_MESSAGE_BYTES) -> list[Buffer]:
        try:
            return self.channel.recv(most_bytes)
        except PeerTimeout:
            self.channel.close()
            raise


class SwallowsAfterClose(NegativeControl):
    """Sends into the void without a word."""

    def send(self, parts: Sequence[Buffer]) -> None:
        try:
            self.channel.send(parts)
        except PeerError:
            return


class CountsLess(NegativeControl):
    """Leaves a part out of the count of bytes on the wire."""

    def wire_bytes(self, parts: Sequence[Buffer]) -> int:
        return sum(len(part) for part in parts[1:])


def _both(kind: Callable[[Channel], NegativeControl], most_s: float = SILENCE_S) -> MakePair:
    """Pairs of a broken kind, which may wait for what never comes."""

    def make(timeout_s: float) -> tuple[Channel, Channel]:
        first, second = (kind(channel) for channel in local_pair(min(timeout_s, most_s)))
        return first, second

    return make


def _aliases(timeout_s: float) -> tuple[Channel, Channel]:
    first, second = (Aliases(channel) for channel in local_pair(timeout_s))
    first.outbox = second.inbox = []
    first.inbox = second.outbox = []
    return first, second


def _waits(timeout_s: float) -> tuple[Channel, Channel]:
    first, second = (WaitsForTheReader(channel) for channel in local_pair(timeout_s))
    first.other, second.other = second, first
    return first, second


SOUND: MakePair = _both(NegativeControl, HANG_S)
BROKEN: tuple[tuple[str, MakePair, suite.Check], ...] = (
    ("drops", _both(Drops), suite.check_many_messages_in_order),
    ("repeats", _both(Repeats), suite.check_many_messages_in_order),
    ("reorders", _both(Reorders), suite.check_many_messages_in_order),
    ("glues parts", _both(Glues), suite.check_messages_arrive_whole_and_in_order),
    ("skips empty parts", _both(SkipsEmptyParts), suite.check_messages_arrive_whole_and_in_order),
    ("aliases the sender's buffer", _aliases, suite.check_buffers_may_be_reused),
    ("reuses its receive buffer", _both(ReusesItsBuffer), suite.check_received_parts_stay),
    ("waits for the reader", _waits, suite.check_send_does_not_wait),
    ("never notices close", _both(NeverNoticesClose), suite.check_close_wakes_a_waiting_peer),
    ("loses the tail", _both(LosesTheTail), suite.check_close_delivers_what_was_sent),
    ("is silent about timeouts", _both(IsSilentAboutTimeouts), suite.check_deadline),
    ("gives up after a timeout", _both(GivesUpAfterATimeout), suite.check_deadline),
    ("swallows after close", _both(SwallowsAfterClose), suite.check_a_closed_end_refuses),
    ("sends to nobody", _both(SwallowsAfterClose), suite.check_sending_to_a_closed_peer_is_refused),
    ("counts less", _both(CountsLess), suite.check_both_ends_count_the_same_wire_bytes),
)
