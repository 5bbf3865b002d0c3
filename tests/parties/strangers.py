"""Strangers who want a listener's memory, before they have shown who they are.

    python -m tests.parties.strangers tcp://HOST:PORT PID

Sixty-four of them speak to the listener, whose process is PID; says by how much its memory grew. Each sends
0MQ's greeting and the header of a frame, then as much of that frame as is taken, and never its end.
"""

from __future__ import annotations

import contextlib
import select
import socket
import sys
import time
from collections.abc import Generator
from pathlib import Path

from parties.tcp import CHUNK_BYTES

COUNT = 64
CLAIMS = (600 << 20, CHUNK_BYTES)
"""What frames claim to have: one that no program of ours sends, and one that is just short enough."""
MOST_SENT = 300 << 20
_GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"CURVE".ljust(20, b"\0") + bytes(32)
_BLOCK = bytes(1 << 16)


def resident_bytes(pid: int) -> int:
    """Memory of a process that is not swapped out."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise ValueError(f"process {pid} has no memory")


@contextlib.contextmanager
def strangers(
    endpoint: str, claim: int, seconds: float, count: int = COUNT
) -> Generator[list[socket.socket]]:
    """They have sent what they could within some seconds, and stay for as long as the block runs."""
    host, port = endpoint.removeprefix("tcp://").split(":")
    with contextlib.ExitStack() as stack:
        sockets: list[socket.socket] = []
        for _ in range(count):
            with contextlib.suppress(OSError):
                stranger = stack.enter_context(socket.create_connection((host, int(port)), timeout=5.0))
                stranger.sendall(_GREETING + b"\x06" + claim.to_bytes(8, "big"))
                stranger.setblocking(False)
                sockets.append(stranger)
        _send(sockets, min(claim - 1, MOST_SENT), time.monotonic() + seconds)
        yield sockets


def _send(sockets: list[socket.socket], count: int, deadline: float) -> None:
    """As much of so many zero bytes each as is taken."""
    left = dict.fromkeys(sockets, count)
    while left and time.monotonic() < deadline:
        _, writable, _ = select.select([], list(left), [], 0.1)
        for each in writable:
            try:
                left[each] -= each.send(_BLOCK[: left[each]])
            except OSError:
                left[each] = 0
            if not left[each]:
                del left[each]


def main() -> None:
    """Says by how much memory grew."""
    endpoint, pid = sys.argv[1], int(sys.argv[2])
    for claim in CLAIMS:
        before = resident_bytes(pid)
        with strangers(endpoint, claim, 10.0):
            time.sleep(0.5)
            grown = resident_bytes(pid) - before
        print(f"{COUNT} strangers with frames of {claim:,} bytes: {grown / 1e6:+.1f} MB in process {pid}")


if __name__ == "__main__":
    main()
