"""Bad sessions against a running server and its dealer, with sound keys and without any."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import torch

from bench.fuzz.liar import Liar, session
from bench.fuzz.mutations import Message
from bench.fuzz.outcomes import MOST_GROWN_BYTES, by_name
from bench.fuzz.raw import bad_bytes, write
from bench.fuzz.running import TIMEOUT_S, Running, counted
from parties.errors import HandshakeFailed, MpcInferError
from parties.tcp import connect

_AT_ONCE = 20
_SETTLE_S = 1.0
_SESSIONS_BEFORE = {True: 2, False: 12}
"""Where there is no dealer, memory that is freed comes back in pieces, and fits after some sessions."""


class Live:
    """A campaign against running processes.

    Attributes:
        found: what broke the rules, in words.
        outcomes: by who lied to whom at which moment, and the client's error.
        asked: honest sessions that got the right answer.
    """

    def __init__(self, here: Running, seed: int, sound: Sequence[Message]) -> None:
        self.here, self._seed, self._sound = here, seed, sound
        self.found, self.outcomes = list[str](), Counter[tuple[str, str]]()
        self.asked = self._lied = self._raw = 0
        self._right = self._honest()
        for _ in range(_SESSIONS_BEFORE[bool(here.for_client)]):
            self._honest()  # memory is as much as sessions take from here on
        self.before = here.memory()
        self._first = len(here.endings("server")), len(here.endings("dealer"))

    def lie(self, sessions: int, *, batch: int = 50) -> None:
        """Sessions of a listed client with one bad message each; an honest one after every batch."""
        for number in range(self._lied, self._lied + sessions):
            self._lie_once(Liar(self._seed, number, self._sound, with_dealer=bool(self.here.for_client)))
            if (number + 1) % batch == 0:
                self.ask()
        self._lied += sessions
        self.ask()

    def write_raw(self, connections: int, *, batch: int = 200) -> None:
        """Bytes that are no handshake, to every port; an honest session after every batch."""
        ports = [self.here.server, *filter(None, [self.here.for_client])]
        for number in range(self._raw, self._raw + connections, _AT_ONCE):
            draw = Random(f"{self._seed} raw {number}")
            count = min(_AT_ONCE, self._raw + connections - number)
            made = write(draw.choice(ports), [bad_bytes(draw) for _ in range(count)])
            self.outcomes["no key", "turned away" if made == count else "no connection"] += count
            if (number // _AT_ONCE + 1) % max(1, batch // _AT_ONCE) == 0:
                self.ask()
        self._raw += connections
        self.ask()

    def knock(self, times: int) -> None:
        """Somebody with keys of his own, which are on no list."""
        for _ in range(times):
            try:
                stranger, server = self.here.keys["stranger"], self.here.keys["server"].public
                connect(self.here.server, stranger, server, connect_timeout_s=TIMEOUT_S).close()
                self.found.append("a stranger was let in")
            except HandshakeFailed:
                self.outcomes["another's key", "HandshakeFailed"] += 1
        self.ask()

    def ask(self) -> None:
        """An honest session must get the answer that it got at first."""
        try:
            if not torch.equal(self._honest().argmax(-1), self._right.argmax(-1)):
                self.found.append("an honest client got another answer")
            self.asked += 1
        except MpcInferError as error:
            self.found.append(f"an honest client was not served: {type(error).__name__}: {error}")
        self._require_alive()

    def end(self) -> dict[str, Any]:
        """Looks at memory and at all lines; what a record keeps."""
        time.sleep(_SETTLE_S)
        after = self.here.memory()
        for name, before in self.before.items():
            if after[name] - before >= MOST_GROWN_BYTES:
                self.found.append(f"{name} grew by {(after[name] - before) / 1e6:.0f} MB")
        self.found += self.here.unnamed()
        server, dealer = (
            counted(self.here.endings(who)[first:])
            for who, first in zip(("server", "dealer"), self._first, strict=True)
        )
        return {
            "seed": self._seed,
            "frames": self._lied + self._raw + self.outcomes["another's key", "HandshakeFailed"],
            "outcomes": by_name(self.outcomes),
            "ended_at_server": server,
            "ended_at_dealer": dealer,
            "honest_sessions": self.asked,
            "memory_before": self.before,
            "memory_after": after,
            "found": self.found,
        }

    def _honest(self) -> torch.Tensor:
        return self._counted(lambda: session(self.here))

    def _counted(self, run: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Runs a session, and waits until the server has said how it ended."""
        ended = len(self.here.endings("server"))
        try:
            return run()
        finally:
            if not self.here.await_endings("server", ended + 1, 2 * TIMEOUT_S):
                self.found.append("the server says nothing of a session")

    def _lie_once(self, liar: Liar) -> None:
        at_server = len(self.here.endings("server"))
        try:
            self._counted(lambda: session(self.here, liar))
            name = "answered"
        except MpcInferError as error:
            name = type(error).__name__
        where = f"{'dealer' if liar.at_dealer else 'server'}, message {'0' if not liar.moment else '1 to 39'}"
        ended = self.here.endings("server")[at_server:]
        if not liar.way:
            where = "never sent: the session ended before"
        self.outcomes[where, f"server {ended[-1] if ended else 'silent'}"] += 1
        self.outcomes["client", name] += 1
        self._require_alive()

    def _require_alive(self) -> None:
        if not self.here.alive():
            self.found.append("a process has ended")


def attack_first_message(
    attempt: Callable[[], Any], sound: Sequence[Message], frames: int, seed: int
) -> dict[str, int]:
    """Bad messages as the first on a connection of their own, to whatever listens: a front as well.

    Args:
        attempt: makes a connected channel.

    Returns:
        How many ended how, by the error that the client saw.
    """
    from bench.fuzz.mutations import mutated

    names = Counter[str]()
    for number in range(frames):
        draw = Random(f"{seed} first {number}")
        _, message = mutated(draw.choice(sound), draw, sound)
        try:
            with attempt() as channel:
                channel.send(message or [b""])
                channel.recv()
            names["answered"] += 1
        except MpcInferError as error:
            names[type(error).__name__] += 1
    return dict(names.most_common())
