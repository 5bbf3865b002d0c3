"""Plain values with something wrong: what a document becomes when whoever writes it means harm."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from random import Random
from typing import Any

import msgpack

_NUMBERS = (-1, 0, 1, 2, 7, 255, 1 << 16, 1 << 31, 1 << 40, 1 << 62, 1 << 63, (1 << 64) - 1, -(1 << 63))
_FLOATS = (0.5, -0.0, 1e308, -1e308, 5e-324, math.nan, math.inf, -math.inf)
_TEXTS = ("", "\0", "\n\x1b[2J forged line", "x" * 300, "\u202e€𝄞", "server", "nan", "1")
_KEYS = ("", "end", "runs", "version", "more", "\n")


def strange(draw: Random) -> object:
    """A value that hardly anybody expects."""
    kinds: list[Callable[[], object]] = [
        lambda: draw.choice(_NUMBERS),
        lambda: draw.choice(_FLOATS),
        lambda: draw.choice(_TEXTS),
        lambda: draw.choice((None, True, False, [], {}, b"")),
        lambda: draw.randbytes(draw.choice((1, 16, 32, 200))),
        lambda: _nested(draw.choice((1, 3, 31, 40, 400))),
        lambda: msgpack.ExtType(draw.randrange(128), draw.randbytes(4)),
        lambda: msgpack.Timestamp(draw.randrange(1 << 34), draw.randrange(10**9)),
        lambda: [0] * draw.choice((1, 100, 5000)),
        lambda: {key: key for key in _KEYS},
        lambda: {draw.randbytes(2): 1},
        lambda: [[1 << 61] * draw.choice((2, 40, 1000))],
    ]
    return draw.choice(kinds)()


def _nested(levels: int) -> object:
    value: object = 1
    for level in range(levels):
        value = [value] if level % 3 else {"in": value}
    return value


def mutated(value: object, draw: Random) -> object:
    """A copy of a plain value with one place, or a few, changed."""
    root: list[Any] = [copy.deepcopy(value)]
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        _change(*_place(root, draw), draw)
    return root[0] if root else None


def _place(root: list[Any], draw: Random) -> tuple[Any, Any]:
    """A list or a map somewhere below, and an index or key of it."""
    container: Any = root
    key: Any = 0
    while True:
        if isinstance(container, list):
            if not container:
                container.append(0)
            key = draw.randrange(len(container))
        else:
            key = draw.choice(list(container)) if container else "new"
            container.setdefault(key, 0)
        below = container[key]
        if not isinstance(below, list | dict) or draw.random() < 0.3:
            return container, key
        container = below


def _change(container: Any, key: Any, draw: Random) -> None:
    how = draw.randrange(7)
    value = container[key]
    if how == 0 and isinstance(value, int | float):
        container[key] = draw.choice((value + 1, value - 1, -value, value * 2, float(value), str(value)))
        if isinstance(container[key], int) and not -(1 << 63) <= container[key] < 1 << 64:
            container[key] = 0
    elif how == 1:
        del container[key]
    elif how == 2 and isinstance(container, list):
        container.insert(key, copy.deepcopy(value))
    elif how == 2:
        container[draw.choice(_KEYS)] = copy.deepcopy(value)
    elif how == 3 and isinstance(container, dict):
        container[str(key)[:-1]] = container.pop(key)
    elif how == 4:
        container[key] = [value]
    elif how == 5 and isinstance(value, str | bytes) and value:
        at = draw.randrange(len(value))
        container[key] = value[:at] + value[at + 1 :]
    else:
        container[key] = strange(draw)


def packed(value: object) -> bytes:
    """As msgpack, kinds of its own included; a value that it does not take is nothing."""
    try:
        return msgpack.packb(value) or b""
    except (ValueError, TypeError, OverflowError):
        return b""


def packed_twice(value: dict[str, object], draw: Random) -> bytes:
    """A map that has one of its keys twice, the second time with another value."""
    key = draw.choice(list(value)) if value else "key"
    pairs = b"".join(packed(name) + packed(each) for name, each in value.items())
    return bytes([0xDE]) + (len(value) + 1).to_bytes(2, "big") + pairs + packed(key) + packed(strange(draw))
