"""A session's frames, spoiled: what a peer can send in place of each."""

from __future__ import annotations

import copy
import dataclasses
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from parties.channel import MAX_MESSAGE_BYTES, Channel
from parties.documents import Buffer
from parties.errors import MalformedFrame, PeerError
from parties.link import Link
from parties.wire import Frame, Spec, decode, encode

Message = list[bytes]
_HUGE = 1 << 50
"""An array of so many elements has more bytes than there are addresses: to make it would be another error."""


class Canned(Channel):
    """Receives one message; a longer one than is awaited is refused, as every channel does."""

    def __init__(self, message: Message) -> None:
        self._message = message

    def recv(self, most_bytes: int = MAX_MESSAGE_BYTES) -> list[Buffer]:
        if sum(map(len, self._message)) > most_bytes:
            raise MalformedFrame(f"a message of more than the {most_bytes} bytes that are expected here")
        return list(self._message)

    def send(self, parts: Sequence[Buffer]) -> None:
        raise NotImplementedError

    def close(self) -> None:
        return


class _Unbilled:
    """A link's meter that is charged for nothing."""

    def __init__(self, link: Link) -> None:
        self.label, self.clock = link.meter.label, link.meter.clock

    def charge_frame(self, *_: object, **__: object) -> None:
        return


@dataclass
class Spoiler:
    """Tries spoiled frames at each place where a frame is received, before the sound one is.

    Attributes:
        tried: how many by kind.
        accepted: those that were not refused by name: label, kind, and what came of it.
    """

    seed: int
    each: int
    tried: dict[str, int] = field(default_factory=dict[str, int])
    accepted: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    _before: dict[int | None, Message] = field(default_factory=dict[int | None, Message])

    def attack(self, link: Link, receive: Callable[[Link], object]) -> None:
        """Spoils the frame that comes next at this end, which is left to be received."""
        waiting: Any = link._waiting or link.channel.recv()
        link._waiting = waiting
        message = [bytes(part) for part in waiting]
        draw = random.Random(f"{self.seed} {link.rank} {link._received}")
        spoiled = spoil(message, self._before.get(link.rank), draw)
        self._before[link.rank] = message
        for kind in draw.sample(sorted(spoiled), min(self.each, len(spoiled))):
            probe: Any = copy.copy(link)
            probe.channel, probe.meter, probe._waiting = Canned(spoiled[kind]), _Unbilled(link), None
            probe._deepest_received = dict(link._deepest_received)
            self.tried[kind] = self.tried.get(kind, 0) + 1
            try:
                receive(probe)
                self.accepted.append((link.meter.label, kind, "nothing"))
            except PeerError:
                pass
            except Exception as error:
                self.accepted.append((link.meter.label, kind, repr(error)))


def spoil(message: Message, before: Message | None, draw: random.Random) -> dict[str, Message]:
    """What is sent in place of a message, by kind.

    Args:
        before: the message before it in the same direction, to be replayed.
    """
    frame = decode(message)
    header, *payload = message
    found: dict[str, Message] = {
        "garbage": [draw.randbytes(draw.randrange(1, 200)), *payload],
        "header cut": [header[: draw.randrange(len(header))], *payload],
        "long header": [header + bytes(1 << 17), *payload],
        "no payload": [header],
        "surplus part": [*message, b"\0"],
        "longer": [header, *payload[:-1], (payload[-1] if payload else b"") + bytes(1 << 20)],
        "label": _encoded(frame, label=frame.label + ".x"),
        "session": _encoded(frame, session=bytes(len(frame.session) + 1)),
        "order": _encoded(frame, sequence=frame.sequence + draw.randrange(1, 1 << 40)),
        "depth": _encoded(frame, depth=draw.randrange(1 << 30, 1 << 60)),
        "huge shape": _encoded(
            frame, specs=tuple(_unchecked(s.bits, (_HUGE, *s.shape)) for s in frame.specs)
        ),
        "a huge array more": _encoded(frame, specs=(*frame.specs, _unchecked(64, (_HUGE,)))),
    }
    if before is not None:
        found["replayed"] = before
    if payload and payload[-1]:
        found["shorter"] = [header, *payload[:-1], payload[-1][:-1]]
        used = frame.specs[-1].elements * frame.specs[-1].bits % 8
        if used:
            found["padding"] = [header, *payload[:-1], payload[-1][:-1] + bytes([payload[-1][-1] | 128])]
    flipped = bytearray(header)
    flipped[draw.randrange(len(flipped))] ^= 1 << draw.randrange(8)
    if not _differs_in_depth_alone(frame, [bytes(flipped), *payload]):
        found["header bit"] = [bytes(flipped), *payload]
    return found


def _encoded(frame: Frame, **changes: Any) -> Message:
    return [bytes(part) for part in encode(dataclasses.replace(frame, **changes))]


def _differs_in_depth_alone(frame: Frame, message: Message) -> bool:
    """Such a frame may be accepted: bills would differ."""
    try:
        return dataclasses.replace(decode(message), depth=frame.depth) == frame
    except MalformedFrame:
        return False


def _unchecked(bits: int, shape: tuple[int, ...]) -> Spec:
    """A width and a shape that no `Spec` may have, as a peer can write them."""
    spec = object.__new__(Spec)
    object.__setattr__(spec, "bits", bits)
    object.__setattr__(spec, "shape", shape)
    return spec
