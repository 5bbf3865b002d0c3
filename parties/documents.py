"""Plain values as msgpack: what headers and control messages are made of."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from typing import cast

import msgpack

from parties.errors import MalformedFrame

Buffer = bytes | bytearray | memoryview


def to_bytes(value: object) -> bytes:
    """Numbers, strings, bytes, lists and maps as msgpack."""
    return cast(bytes, msgpack.packb(value))


def from_bytes(raw: Buffer, max_bytes: int) -> object:
    """The value in msgpack bytes; raises MalformedFrame for anything else or anything longer."""
    if len(raw) > max_bytes:
        raise MalformedFrame(f"a document of {len(raw)} bytes, at most {max_bytes} are read")
    try:
        return cast(object, msgpack.unpackb(raw))
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise MalformedFrame(f"not msgpack: {type(error).__name__}") from None
