"""Messages with something wrong, made from sound ones: `mutated` changes one, `rearranged` a stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, cast

import msgpack

from bench.fuzz.values import mutated as mutated_value
from bench.fuzz.values import packed, packed_twice, strange

Message = list[bytes]
LARGEST_GROWTH = 1 << 18
_LENGTHS = (
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xc6\x7f\xff\xff\xff",
)
_FORMATS = tuple(range(0x80, 0x100))
_SESSION, _SEQUENCE, _LABEL, _DEPTH, _SPECS = range(5)


def mutated(message: Message, draw: Random, others: Sequence[Message]) -> tuple[str, Message]:
    """What was done, by name, and the message after it; the original stays as it is.

    Args:
        others: messages of other places and other sessions, to take parts of.
    """
    (name,) = draw.choices(list(_WAYS), _WEIGHTS)
    return name, _WAYS[name](list(message), draw, others)


def rearranged(
    stream: Sequence[Message], index: int, draw: Random, others: Sequence[Message]
) -> tuple[str, list[Message]]:
    """A stream with one message lost, doubled, late, or replaced, by an earlier one or another's."""
    messages, name = list(stream), draw.choice(("lost", "doubled", "swapped", "replayed", "another's", "cut"))
    if name == "lost":
        del messages[index]
    elif name == "doubled":
        messages.insert(index, messages[index])
    elif name == "swapped":
        other = draw.randrange(len(messages))
        messages[index], messages[other] = messages[other], messages[index]
    elif name == "replayed":
        messages[index] = messages[draw.randrange(index + 1)]
    elif name == "another's":
        messages[index] = list(draw.choice(others))
    else:
        messages = messages[:index]
    return name, messages


def _header(message: Message) -> list[Any]:
    return cast("list[Any]", msgpack.unpackb(message[0]))


def _field(message: Message, draw: Random, others: Sequence[Message]) -> Message:
    """A field of the header, of any type and value."""
    return [packed(mutated_value(_header(message), draw)), *message[1:]]


def _numbering(message: Message, draw: Random, others: Sequence[Message]) -> Message:
    """Session, sequence, label or depth of another frame, or slightly another one."""
    header, other = _header(message), _header(draw.choice(others))
    at = draw.choice((_SESSION, _SEQUENCE, _LABEL, _DEPTH))
    nearby: dict[int, list[Any]] = {
        _SESSION: [b"", bytes(16), other[_SESSION]],
        _SEQUENCE: [header[_SEQUENCE] + 1, max(0, header[_SEQUENCE] - 1), (1 << 62) - 1, 1 << 62],
        _LABEL: [other[_LABEL], header[_LABEL] + "x", "", "x" * 60_000, "\n\x1b[31m"],
        _DEPTH: [0, header[_DEPTH] + 1, 1 << 61, (1 << 64) - 1],
    }
    header[at] = draw.choice(nearby[at])
    return [packed(header), *message[1:]]


def _shapes(message: Message, draw: Random, others: Sequence[Message]) -> Message:
    """Widths and shapes that are not those of the payload."""
    header = _header(message)
    specs: list[Any] = [
        [64, *[1 << 61] * draw.choice((1, 2, 33, 7000))],
        [draw.choice((0, 65, 1 << 40)), 3],
        [8, 1 << 62],
        [8, (1 << 62) - 1],
        [1, *[0] * draw.choice((1, 40, 30_000))],
        [],
        [8, -1],
        [8.0, 3],
        [True, 3],
        *_header(draw.choice(others))[_SPECS],
    ]
    chosen = [draw.choice(specs) for _ in range(draw.choice((1, 1, 2, 1000)))]
    header[_SPECS] = draw.choice((chosen, header[_SPECS] + chosen, chosen * max(1, len(message) - 1)))
    return [packed(header), *message[1:]]


def _document(message: Message, draw: Random, others: Sequence[Message]) -> Message:
    """Another document, in a header that fits it."""
    try:
        value = cast(object, msgpack.unpackb(message[1]))
    except (ValueError, IndexError, msgpack.UnpackException):
        value = {}
    if isinstance(value, dict) and draw.random() < 0.1:
        raw = packed_twice(cast("dict[str, object]", value), draw)
    else:
        raw = packed(mutated_value(value, draw))
    return fitting(message, raw)


def _bytes_of_document(message: Message, draw: Random, others: Sequence[Message]) -> Message:
    """Bytes of a payload changed, in a header that fits them."""
    return fitting(message, _bitten(message[1] if len(message) > 1 else b"", draw))


def fitting(message: Message, raw: bytes) -> Message:
    """The message with this as its only payload, 8 bits an element."""
    header = _header(message)
    header[_SPECS] = [[8, len(raw)]]
    return [packed(header), raw]


def _payload(message: Message, draw: Random, others: Sequence[Message]) -> Message:
    """Bytes of a part changed, lost or added."""
    at = draw.randrange(len(message))
    message[at] = _bitten(message[at], draw)
    return message


def _last_bits(message: Message, draw: Random, others: Sequence[Message]) -> Message:
    """The highest bit of a payload, which is padding where elements end within a byte."""
    at = len(message) - 1
    if message[at]:
        message[at] = message[at][:-1] + bytes([message[at][-1] | 0x80])
    return message


def _parts(message: Message, draw: Random, others: Sequence[Message]) -> Message:
    """Another number of parts, or in another order."""
    how = draw.randrange(6)
    if how == 0:
        return message + [b""] * draw.choice((1, 100, 3000))
    if how == 1:
        return message[:-1] or [b""]
    if how == 2:
        return message[::-1]
    if how == 3:
        return message + list(draw.choice(others))[1:]
    if how == 4:
        return [b"", *message]
    return [*message, draw.randbytes(draw.choice((1, 4096, LARGEST_GROWTH)))]


def _noise(message: Message, draw: Random, others: Sequence[Message]) -> Message:
    """Random bytes."""
    sizes = (0, 1, 2, 16, 300, 5000, 1 << 16, (1 << 16) + 1)
    return [draw.randbytes(draw.choice(sizes)) for _ in range(draw.choice((1, 1, 2, 5)))]


def _strange_header(message: Message, draw: Random, others: Sequence[Message]) -> Message:
    """A header that is any value."""
    return [packed(strange(draw)), *message[1:]]


def _bitten(raw: bytes, draw: Random) -> bytes:
    """Bytes with some flipped, cut off, doubled, put in, or replaced by a format of msgpack."""
    data, at = bytearray(raw), draw.randrange(len(raw) + 1)
    how = draw.randrange(7)
    if how == 0:
        for _ in range(draw.choice((1, 1, 3, 20))):
            if data:
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    elif how == 1:
        del data[at:]
    elif how == 2:
        data += draw.randbytes(draw.choice((1, 8, 1000, LARGEST_GROWTH)))
    elif how == 3:
        data[at:at] = data[at : at + draw.randrange(1, 64)]
    elif how == 4:
        data[at : at + 5] = draw.choice(_LENGTHS)
    elif how == 5:
        data[at : at + 1] = bytes([draw.choice(_FORMATS)])
    else:
        data[at:at] = b"\x91" * draw.choice((10, 600, 1500)) + b"\x01"
    return bytes(data)


_WAYS: dict[str, Callable[[Message, Random, Sequence[Message]], Message]] = {
    "field of the header": _field,
    "numbering": _numbering,
    "shapes": _shapes,
    "document": _document,
    "bytes of a document": _bytes_of_document,
    "payload": _payload,
    "last bits": _last_bits,
    "parts": _parts,
    "noise": _noise,
    "strange header": _strange_header,
}
_WEIGHTS = [4 if name == "document" else 2 if name == "bytes of a document" else 1 for name in _WAYS]
