"""Many who open a connection before anybody knows who they are, and then do nothing, or never end."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Generator
from typing import Any

import torch

from bench.fuzz.liar import session
from bench.fuzz.outcomes import MOST_GROWN_BYTES
from bench.fuzz.raw import GREETING
from bench.fuzz.running import Running
from mpcinfer.service.process_memory import ProcessMemory
from parties.errors import MpcInferError
from parties.tcp import CHUNK_BYTES

KINDS = ("silent", "half a greeting", "a frame of 2**62 bytes", "a frame of a chunk", "slow drip")
_BLOCK = bytes(1 << 16)
_PAUSE_S = 0.05
_MOST_SENT = 64 << 20
_CONNECT_S = 5.0
_SESSIONS_BEFORE = 5
_ALONE_S = 1.0


class _Stranger:
    """One of them.

    Args:
        kind: of `KINDS`.
    """

    def __init__(self, endpoint: str, kind: str) -> None:
        host, port = endpoint.removeprefix("tcp://").split(":")
        self.socket = socket.create_connection((host, int(port)), _CONNECT_S)
        self._kind, self._sent, self._drips = kind, 0, GREETING + b"\x04\xff"
        first = {
            "silent": b"",
            "half a greeting": GREETING[:32],
            "a frame of 2**62 bytes": GREETING + b"\x06" + (1 << 62).to_bytes(8, "big"),
            "a frame of a chunk": GREETING + b"\x06" + CHUNK_BYTES.to_bytes(8, "big"),
            "slow drip": b"",
        }
        self.socket.sendall(first[kind])
        self.socket.setblocking(False)

    def go_on(self) -> None:
        """Sends some more of what has no end."""
        with contextlib.suppress(OSError):
            if self._kind == "slow drip" and self._sent < len(self._drips):
                self._sent += self.socket.send(self._drips[self._sent : self._sent + 1])
            elif self._kind.startswith("a frame") and self._sent < min(_MOST_SENT, CHUNK_BYTES - 1):
                self._sent += self.socket.send(_BLOCK[: CHUNK_BYTES - 1 - self._sent])


@contextlib.contextmanager
def besieged(endpoint: str, kind: str, peers: int) -> Generator[None]:
    """As many strangers at once for as long as the block runs; who is turned away comes back."""
    over = threading.Event()

    def besiege() -> None:
        here = list[_Stranger]()
        while not over.wait(_PAUSE_S):
            here = [each for each in here if _there(each)]
            with contextlib.suppress(OSError):
                while len(here) < peers and not over.is_set():
                    here.append(_Stranger(endpoint, kind))
            for each in here:
                each.go_on()
        for each in here:
            each.socket.close()

    thread = threading.Thread(target=besiege, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _there(stranger: _Stranger) -> bool:
    """Whether the other end has not ended the connection."""
    try:
        if stranger.socket.recv(1000):
            return True
    except BlockingIOError:
        return True
    except OSError:
        pass
    stranger.socket.close()
    return False


def besiege(here: Running, peers: int, rounds: int = 2) -> dict[str, Any]:
    """Every kind in turn, at the server's and at the dealer's port, while an honest client is served.

    Returns:
        Memory of each process at most, in sessions with nobody else and in the siege; honest sessions that
        got the right answer; and what broke the rules.
    """
    found, asked = list[str](), 0
    with _watched(here) as before:
        right = session(here)
        for _ in range(_SESSIONS_BEFORE):
            session(here)
    with _watched(here) as most:
        for kind in KINDS:
            with contextlib.ExitStack() as stack:
                for endpoint in filter(None, (here.server, here.for_client)):
                    stack.enter_context(besieged(endpoint, kind, peers))
                time.sleep(_ALONE_S)
                for _ in range(rounds):
                    asked += _asked(here, right, kind, found)
    for name, bytes_before in before.items():
        if most[name] - bytes_before >= MOST_GROWN_BYTES:
            found.append(f"{name} grew by {(most[name] - bytes_before) / 1e6:.0f} MB")
    if not here.alive():
        found.append("a process has ended")
    return {
        "peers": peers,
        "kinds": list(KINDS),
        "honest_sessions": asked,
        "memory_before": before,
        "memory_most": most,
        "found": found + here.unnamed(),
    }


@contextlib.contextmanager
def _watched(here: Running) -> Generator[dict[str, int]]:
    """The most memory of each process while the block ran."""
    most, over = here.memory(), threading.Event()

    def watch() -> None:
        while not over.wait(_PAUSE_S):
            for name, pid in here.pids.items():
                most[name] = max(most[name], ProcessMemory.of(pid).proportional)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


def _asked(here: Running, right: torch.Tensor, kind: str, found: list[str]) -> int:
    """An honest session in the middle of it; 1 where it got the right answer."""
    try:
        if torch.equal(session(here).argmax(-1), right.argmax(-1)):
            return 1
        found.append(f"{kind}: an honest client got another answer")
    except MpcInferError as error:
        found.append(f"{kind}: an honest client was not served: {type(error).__name__}: {error}")
    return 0
