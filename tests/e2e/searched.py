"""Finds secrets in texts, however they were written down."""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Iterable, Iterator

from parties.keys import z85_encode


def found(secrets: Iterable[bytes | str], text: str) -> list[bytes | str]:
    """Those of the secrets that a text has in any way of writing, in small letters or capitals."""
    texts = [text.lower(), text.lower().replace("\\\\", "\\")]  # as it is, and out of JSON
    return [
        secret for secret in secrets if any(way.lower() in each for way in written(secret) for each in texts)
    ]


def written(secret: bytes | str) -> Iterator[str]:
    """Ways to write a secret: texts as they are and escaped, bytes in several alphabets and as numbers."""
    if isinstance(secret, str):
        yield secret
        yield json.dumps(secret)[1:-1]
        yield repr(secret)[1:-1]
        yield urllib.parse.quote(secret)
        yield from _bytes_written(secret.encode())
    else:
        yield from _bytes_written(secret)


def _bytes_written(raw: bytes) -> Iterator[str]:
    yield raw.hex()
    yield raw.hex(" ")
    yield repr(raw)[2:-1]
    for start in range(3):  # wherever it begins in what was encoded
        inside = raw[start : start + (len(raw) - start) // 3 * 3]
        yield base64.b64encode(inside).decode()
        yield base64.urlsafe_b64encode(inside).decode()
    if len(raw) % 4 == 0:
        yield z85_encode(raw)
    for separator in (", ", ",", " "):
        yield separator.join(map(str, raw))
    for order in ("little", "big"):
        for start in range(0, len(raw) - 7, 8):
            for signed in (False, True):
                number = str(int.from_bytes(raw[start : start + 8], order, signed=signed))
                if len(number) >= 16:  # shorter ones stand in texts by chance
                    yield number
    yield str(int.from_bytes(raw, "big"))


def is_telling(value: bytes) -> bool:
    """Whether finding it means something: zeros and small numbers are everywhere."""
    return all(len(set(value[start : start + 8])) >= 6 for start in range(0, len(value) // 8 * 8, 8))
