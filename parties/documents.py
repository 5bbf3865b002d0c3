"""Plain values as msgpack: what headers and control messages are made of."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from typing import cast

import msgpack

from parties.errors import MalformedFrame

Buffer = bytes | bytearray | memoryview
MOST_LEVELS = 32
"""Lists and maps within each other; Python's own functions fail at a thousand or so."""
_PLAIN = frozenset({type(None), bool, int, float, str, bytes, list, dict})


def to_bytes(value: object) -> bytes:
    """Numbers, strings, bytes, lists and maps as msgpack."""
    return cast(bytes, msgpack.packb(value))


def from_bytes(raw: Buffer, max_bytes: int) -> object:
    """The value in msgpack bytes: what `to_bytes` takes, with texts as keys, at most `MOST_LEVELS` deep.

    Raises:
        MalformedFrame: anything else, or anything longer.
    """
    if len(raw) > max_bytes:
        raise MalformedFrame(f"a document of {len(raw)} bytes, at most {max_bytes} are read")
    try:
        value = cast(object, msgpack.unpackb(raw))
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise MalformedFrame(f"not msgpack: {type(error).__name__}") from None
    _require_plain(value)
    return value


def _require_plain(value: object) -> None:
    """Refuses msgpack's own kinds of values, keys that are no texts, and what is nested too deep."""
    level = [value]
    for _ in range(MOST_LEVELS):
        if not _PLAIN.issuperset(map(type, level)):
            raise MalformedFrame("a document holds numbers, texts, bytes, lists and maps, and nothing else")
        below = list[object]()
        for each in level:
            if isinstance(each, list):
                below.extend(cast(list[object], each))
            elif isinstance(each, dict):
                named = cast(dict[object, object], each)
                if not all(type(key) is str for key in named):
                    raise MalformedFrame("a key of a map is a text")
                below.extend(named.values())
        if not below:
            return
        level = below
    raise MalformedFrame(f"a document of more than {MOST_LEVELS} levels")
