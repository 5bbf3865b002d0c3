"""A channel that behaves like a slower network than the one it runs on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from parties.channel import MAX_MESSAGE_BYTES, Channel
from parties.errors import ConfigError, MalformedFrame, PeerTimeout
from parties.wire import Buffer

if TYPE_CHECKING:
    from parties.tcp import TcpChannel

_STAMP_BYTES = 8
_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What each end of a connection does to what it sends; both ends must have the same.

    Attributes:
        latency_s: one way, in seconds.
        bytes_per_s: of wire bytes; None for no limit.
    """

    latency_s: float
    bytes_per_s: float | None = None

    def over(self, channel: Channel) -> Shaped:
        """The channel, slower."""
        return Shaped(channel, latency_s=self.latency_s, bytes_per_s=self.bytes_per_s)

    def to_text(self) -> str:
        """As a command line carries it: `0.04:12500000`, or `0.04:` without a limit."""
        return f"{self.latency_s!r}:{'' if self.bytes_per_s is None else repr(self.bytes_per_s)}"

    @staticmethod
    def from_text(text: str) -> Shape:
        """The shape of `to_text`.

        Raises:
            ConfigError: it is none.
        """
        latency, colon, rate = text.partition(":")
        try:
            latency_s, bytes_per_s = float(latency), float(rate) if rate else None
        except ValueError:
            latency_s, bytes_per_s = -1.0, None
        if not colon or not 0 <= latency_s < 3600 or (bytes_per_s is not None and not bytes_per_s > 0):
            raise ConfigError(f"expected SECONDS:BYTES_PER_SECOND, got {text!r}")
        return Shape(latency_s=latency_s, bytes_per_s=bytes_per_s)


def over(channel: Channel, shape: Shape | None) -> Channel:
    """The channel, or a slower one where a shape is wanted."""
    return channel if shape is None else shape.over(channel)


class Shaped(Channel):
    """Adds latency and limits bandwidth, by delivering late.

    The model, for each direction on its own: a message of n wire bytes starts when it is sent or when the one
    before it has left, whichever is later; takes n / bandwidth to leave; and arrives one latency after its
    last byte left. It is never delivered earlier than that, and no later unless the real transport was.

    Both ends must be Shaped, and on one machine: the time at which a message is due travels with it as eight
    bytes more, on the machine's monotonic clock, which all its processes share. `wire_bytes` leaves those
    eight bytes out, so the bill is that of the real network. `send` does not wait.

    Args:
        channel: carries the messages; closed with this one.
        latency_s: one-way delay in seconds of what this end sends; a round trip is the sum of both ends'.
        bytes_per_s: bandwidth of what this end sends; None for no limit.
        timeout_s: how long `recv` waits for a message that is on its way; the inner channel's deadline holds
            for one that was not sent.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        latency_s: float,
        bytes_per_s: float | None = None,
        timeout_s: float = 3600.0,
    ) -> None:
        assert latency_s >= 0
        assert bytes_per_s is None or bytes_per_s > 0
        self._channel, self._timeout_s = channel, timeout_s
        self._latency_ns = round(latency_s * _NANOSECONDS)
        self._ns_per_byte = 0.0 if bytes_per_s is None else _NANOSECONDS / bytes_per_s
        self._line_free_ns = 0
        self._early: tuple[int, list[Buffer]] | None = None

    @property
    def recv_timeout_s(self) -> float:
        """Of the inner channel, where it has one; may be changed at any time."""
        tcp = self._tcp()
        return self._timeout_s if tcp is None else tcp.recv_timeout_s

    @recv_timeout_s.setter
    def recv_timeout_s(self, seconds: float) -> None:
        tcp = self._tcp()
        if tcp is not None:
            tcp.recv_timeout_s = seconds
        else:
            self._timeout_s = seconds

    def _tcp(self) -> TcpChannel | None:
        """The inner channel, where that is one of TCP; naming a shape loads no 0MQ."""
        from parties.tcp import TcpChannel

        return self._channel if isinstance(self._channel, TcpChannel) else None

    def send(self, parts: Sequence[Buffer]) -> None:
        start = max(time.monotonic_ns(), self._line_free_ns)
        left = start + round(self._channel.wire_bytes(parts) * self._ns_per_byte)
        due = left + self._latency_ns
        self._channel.send([due.to_bytes(_STAMP_BYTES, "little"), *parts])
        self._line_free_ns = left

    def recv(self, most_bytes: int = MAX_MESSAGE_BYTES) -> list[Buffer]:
        deadline = time.monotonic_ns() + round(self._timeout_s * _NANOSECONDS)
        due, parts = self._early if self._early is not None else self._next(most_bytes)
        self._early = (due, parts)
        _sleep_until(min(due, deadline))
        if due > deadline:
            raise PeerTimeout(f"nothing received within {self._timeout_s:g} s")
        self._early = None
        return parts

    def close(self) -> None:
        self._channel.close()

    def wire_bytes(self, parts: Sequence[Buffer]) -> int:
        return self._channel.wire_bytes(parts)

    def _next(self, most_bytes: int) -> tuple[int, list[Buffer]]:
        stamp, *parts = self._channel.recv(most_bytes + _STAMP_BYTES)
        if len(stamp) != _STAMP_BYTES or not parts:
            raise MalformedFrame("no time of delivery: both ends must be Shaped")
        return int.from_bytes(stamp, "little"), parts


def _sleep_until(moment_ns: int) -> None:
    remaining = moment_ns - time.monotonic_ns()
    if remaining > 0:
        time.sleep(remaining / _NANOSECONDS)
