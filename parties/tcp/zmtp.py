"""0MQ's endpoints, and how many bytes it puts on a connection: ZMTP 3.1 and CURVE (RFC 23, 25, 26).

The sizes are checked against the kernel's counters in the tests; none is an estimate.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from parties.errors import ConfigError

CURVE_MESSAGE_BYTES = 33  # "\x07MESSAGE", 8 bytes of nonce, 16 of authenticator, 1 of flags
_GREETING_BYTES = 64
_METADATA_BYTES = (1 + 11 + 4 + 6) + (1 + 8 + 4)  # Socket-Type: DEALER, and an empty Identity
_LONGEST_SHORT_BYTES = 255


def message_bytes(part_bytes: Iterable[int], secure: bool) -> int:
    """TCP payload of a message whose parts have these lengths."""
    overhead = CURVE_MESSAGE_BYTES if secure else 0
    return sum(_framed(length + overhead) for length in part_bytes)


def preamble_bytes(secure: bool) -> tuple[int, int]:
    """TCP payload that a (listening, connecting) end sends before the first message."""
    if not secure:
        ready = _framed(6 + _METADATA_BYTES)
        return _GREETING_BYTES + ready, _GREETING_BYTES + ready
    hello, welcome = _framed(200), _framed(168)
    initiate, ready = _framed(257 + _METADATA_BYTES), _framed(30 + _METADATA_BYTES)
    return _GREETING_BYTES + welcome + ready, _GREETING_BYTES + hello + initiate


def welcome_bytes(secure: bool) -> int | None:
    """TCP payload that a listening end has sent once it answered somebody who knows its public key; None on a
    connection without encryption, where nobody shows that."""
    return _GREETING_BYTES + _framed(168) if secure else None


def require_endpoint(endpoint: str) -> None:
    """Passes for `tcp://host:port`, port a number below 65536 or `*`; else raises ConfigError."""
    match = re.fullmatch(r"tcp://[^/\s]+:(\*|\d{1,5})", endpoint)
    if match is None or (match.group(1) != "*" and int(match.group(1)) > 65535):
        raise ConfigError(f"an endpoint is tcp://host:port, got {endpoint!r}")


def _framed(body: int) -> int:
    """A body with its flags and its length of one or of eight bytes."""
    return body + (2 if body <= _LONGEST_SHORT_BYTES else 9)
