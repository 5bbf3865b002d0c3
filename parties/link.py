"""Frames over a channel: numbering, labels, depth, checks and the bill, in one place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from parties import refusals
from parties.channel import Channel
from parties.documents import Buffer, from_bytes, to_bytes
from parties.errors import AdmissionRefused, MalformedFrame, PeerClosed, PeerError, PeerMismatch
from parties.meter import Clock, Meter, Phase
from parties.wire import (
    MAX_HEADER_BYTES,
    Frame,
    RingArray,
    Spec,
    decode,
    encode,
    expected,
    pack,
    spec_of,
    unpack,
)

MAX_DOCUMENT_BYTES = 1 << 20
"""Largest document in bytes; as Python objects it takes up to some 70 times that."""


class Link:
    """What a party says to one peer, and hears from it.

    A frame's depth is 1 + the largest depth received so far. Frames of the offline phase have depths of their
    own: no computation on the input waits for them. Control frames (handshake, closing, "next step") have
    depth 0 and add no round.

    Every array that arrives is compared with what the receiver expects (label, width, shape, number, order,
    session) before it is unpacked.

    Args:
        channel: carries the messages; closed with the link.
        meter: is charged for every frame; its span path is the frame's label.
        rank: this party, 0 server or 1 client. None on a link to or from a dealer, whose traffic is charged
            as preprocessing by who uses it and not here.

    Attributes:
        on_sent: is told of every frame that was sent, as the peer gets it.
    """

    def __init__(self, channel: Channel, meter: Meter, rank: int | None) -> None:
        self.channel, self.meter, self.rank = channel, meter, rank
        self.session = b""
        self.on_sent: Callable[[Frame], None] | None = None
        self._sent = self._received = 0
        self._deepest_sent, self._deepest_received = dict.fromkeys(Clock, 0), dict.fromkeys(Clock, 0)
        self._waiting: list[Buffer] | None = None

    def send(self, arrays: Sequence[RingArray], bits: int | Sequence[int], label: str | None = None) -> None:
        """Sends arrays of ring elements, each packed to its width, under the current label."""
        widths = [bits] * len(arrays) if isinstance(bits, int) else list(bits)
        specs = tuple([spec_of(width, array.shape) for width, array in zip(widths, arrays, strict=True)])
        payload = tuple(pack(array, width) for width, array in zip(widths, arrays, strict=True))
        clock = self.meter.clock
        depth = 0 if clock is None else self._deepest_received[clock] + 1
        frame = Frame(self.session, self._sent, label or self.meter.label, depth, specs, payload)
        parts = encode(frame)
        try:
            self.channel.send(parts)
        except PeerClosed:
            self.hear_refusal()
            raise
        self._sent += 1
        if self.on_sent is not None:
            self.on_sent(frame)
        if clock is not None:
            self._deepest_sent[clock] = max(self._deepest_sent[clock], depth)
        if self.rank is not None:
            self._charge(1 - self.rank, frame, self.channel.wire_bytes(parts))

    def recv(self, specs: Sequence[Spec], label: str | None = None) -> list[RingArray]:
        """The next frame's arrays.

        Raises:
            PeerMismatch: another label, session, order, number, width or shape than expected.
            MalformedFrame: bytes that are no frame.
            PeerClosed, PeerTimeout: see `Channel.recv`.
            AdmissionRefused: the peer ends the session by a limit of its own (`refuse`).
        """
        specs = tuple(specs)
        payload_bytes = sum([spec.packed_bytes for spec in specs])
        frame = self._next(label or self.meter.label, payload_bytes, specs)
        if frame.specs != specs:
            raise PeerMismatch(f"{frame.label}: expected {_show(specs)}, got {_show(frame.specs)}")
        return [unpack(buffer, spec) for buffer, spec in zip(frame.payload, frame.specs, strict=True)]

    def exchange(self, arrays: Sequence[RingArray], bits: int, label: str | None = None) -> list[RingArray]:
        """Sends arrays and receives the peer's of the same widths and shapes: one round."""
        self.send(arrays, bits, label)
        return self.recv([spec_of(bits, array.shape) for array in arrays], label)

    def send_document(self, document: dict[str, Any], label: str | None = None) -> None:
        """Sends plain values (numbers, strings, bytes, lists, maps) as msgpack."""
        self.send([np.frombuffer(to_bytes(document), np.uint8)], 8, label)

    def recv_document(self, label: str | None = None, max_bytes: int = MAX_DOCUMENT_BYTES) -> dict[str, Any]:
        """The next frame as plain values; raises MalformedFrame or PeerMismatch where it is none."""
        return _document(self._next(label or self.meter.label, max_bytes), max_bytes)

    def refuse(self, refused: AdmissionRefused) -> None:
        """Tells the peer why the session ends: its next `recv`, whatever it awaits, raises the same."""
        with self.meter.phase(Phase.CONTROL):
            self.send_document(refusals.to_document(refused), refusals.REFUSED_LABEL)

    def next_label(self, payload_bytes: int) -> str:
        """The label of the next frame, which is still to be received; what else is in it is checked then.

        Args:
            payload_bytes: the most that it may have.

        Raises:
            MalformedFrame: bytes that are no frame.
            PeerClosed, PeerTimeout: see `Channel.recv`.
        """
        if self._waiting is None:
            self._waiting = self.channel.recv(payload_bytes + MAX_HEADER_BYTES)
        return decode(self._waiting).label

    def close(self) -> None:
        """Closes the channel; safe to repeat."""
        self.channel.close()

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _next(self, label: str, payload_bytes: int, specs: tuple[Spec, ...] | None = None) -> Frame:
        """The next frame; `specs`, where they are known, spare a header that is as expected its decoding."""
        parts, self._waiting = self._waiting or self.channel.recv(payload_bytes + MAX_HEADER_BYTES), None
        known = None if specs is None else expected(parts, self.session, self._received, label, specs)
        frame = known or decode(parts)
        if frame.session != self.session:
            raise PeerMismatch(f"{label}: a frame of another session")
        if frame.sequence != self._received:
            raise PeerMismatch(f"{label}: expected frame {self._received}, got frame {frame.sequence}")
        if frame.label == refusals.REFUSED_LABEL:
            raise refusals.from_document(_document(frame, refusals.MOST_REFUSAL_BYTES))
        if frame.label != label:
            raise PeerMismatch(f"expected label {label!r}, got {frame.label!r}")
        clock = self.meter.clock
        allowed = range(1) if clock is None else range(1, self._deepest_sent[clock] + 2)
        if frame.depth not in allowed:
            raise PeerMismatch(
                f"{label}: depth {frame.depth}, expected {allowed.start} to {allowed.stop - 1}"
            )
        self._received += 1
        if clock is not None:
            self._deepest_received[clock] = max(self._deepest_received[clock], frame.depth)
        if self.rank is not None:
            self._charge(self.rank, frame, self.channel.wire_bytes(parts))
        return frame

    def hear_refusal(self) -> None:
        """Raises the refusal that the peer sent before it left, where there is one among what is unread.

        It waits as long as the channel does for what may still come; the link is of no other use afterwards.

        Raises:
            AdmissionRefused: that.
        """
        while True:
            try:
                frame = decode(self._waiting or self.channel.recv(MAX_HEADER_BYTES))
            except PeerError:
                return
            self._waiting = None
            if frame.label == refusals.REFUSED_LABEL and frame.session == self.session:
                raise refusals.from_document(_document(frame, refusals.MOST_REFUSAL_BYTES))

    def _charge(self, receiver: int, frame: Frame, wire_bytes: int) -> None:
        self.meter.charge_frame(
            receiver, payload_bytes=frame.payload_bytes, wire_bytes=wire_bytes, depth=frame.depth
        )


def _document(frame: Frame, max_bytes: int) -> dict[str, Any]:
    """A frame as plain values."""
    if len(frame.specs) != 1 or frame.specs[0].bits != 8:
        raise PeerMismatch(f"{frame.label}: expected a document, got {_show(frame.specs)}")
    document = from_bytes(frame.payload[0], max_bytes)
    if not isinstance(document, dict):
        raise MalformedFrame(f"{frame.label}: a document must be a map")
    return cast(dict[str, Any], document)


def _show(specs: Sequence[Spec]) -> str:
    return ", ".join(f"{spec.bits}-bit {list(spec.shape)}" for spec in specs) or "nothing"
