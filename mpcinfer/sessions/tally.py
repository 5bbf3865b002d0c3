"""Keeps count of what a session waits for, and tells of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager

from mpcinfer.sessions.progress import Progress, Stage
from parties.meter import Meter


class Tally:
    """Counts masked weights, passes that were asked for and came, and layers of the pass under way.

    Args:
        tell: may be called from any thread; None where nobody listens.
    """

    def __init__(self, tell: Callable[[Progress], None] | None) -> None:
        self._tell, self._lock = tell, threading.Lock()
        self._runs = self._of = self._dealt_bytes = 0
        self._before_bytes = self._expected_bytes = 0

    @property
    def listened_to(self) -> bool:
        """Whether progress is reported to anybody."""
        return self._tell is not None

    def add(self, *, runs: int = 0, of: int = 0, dealt_bytes: int = 0) -> None:
        """Passes that came, passes asked for, bytes that came."""
        with self._lock:
            self._runs, self._of = self._runs + runs, self._of + of
            self._dealt_bytes += dealt_bytes
            done, expected = self._runs, self._of
            if self._expected_bytes:
                done, expected = self._dealt_bytes - self._before_bytes, self._expected_bytes
            now = Progress(
                stage=Stage.DEALING,
                done=min(done, expected),
                of=expected,
                in_bytes=self._expected_bytes > 0,
            )
        self._say(now)

    def expect(self, dealt_bytes: int) -> None:
        """How much this party will receive of the pass asked for next."""
        with self._lock:
            self._before_bytes, self._expected_bytes = self._dealt_bytes, dealt_bytes

    def setup(self, done_bytes: int, of_bytes: int) -> None:
        """Masked weights that came."""
        self._say(Progress(stage=Stage.SETUP, done=done_bytes, of=of_bytes, in_bytes=True))

    def correlations(self, done_bytes: int, of_bytes: int, kind: str) -> None:
        """What was sent, both ways, for correlations that the two parties make, and which kind is next."""
        done = min(done_bytes, of_bytes)
        self._say(Progress(stage=Stage.CORRELATIONS, done=done, of=of_bytes, in_bytes=True, detail=kind))

    @contextmanager
    def layers(self, meter: Meter, stage: Stage, of: int) -> Generator[None]:
        """Tells of every layer that a pass inside begins."""
        if self._tell is None:
            yield
            return
        begun = 0

        def begins(name: str) -> None:
            nonlocal begun
            if name.startswith("layer"):
                begun += 1
                self._say(Progress(stage=stage, done=begun - 1, of=of))

        before, meter.on_span = meter.on_span, begins
        try:
            self._say(Progress(stage=stage, done=0, of=of))
            yield
        finally:
            meter.on_span = before

    def _say(self, progress: Progress) -> None:
        if self._tell is not None:
            self._tell(progress)
