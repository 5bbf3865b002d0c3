"""A service and its clients, and the steps that every kind of fault is tried with."""

from __future__ import annotations

import shutil
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.faults.commands import Command, Commands
from bench.faults.outcome import Answer, NotSurvived, outcome_of
from bench.faults.service import BOUND_S, Service, Setting


class Place:
    """A running service.

    Attributes:
        length_s: how long sessions take here, start of the connection included.
        commands: starts clients.
        others: starts clients elsewhere, by where.
    """

    def __init__(self, service: Service, commands: Commands) -> None:
        self.service, self.commands = service, commands
        self.length_s, self.others = 0.0, dict[str, Commands]()
        self._expected: Answer | None = None

    @property
    def expected_text(self) -> str:
        """What every session answers."""
        return "" if self._expected is None else self._expected.text

    def begin(self, words: Sequence[str] | None = None) -> Command:
        """A client begins a session."""
        return self.commands.start(*(words or self.service.client_words()))

    def finish(self, command: Command) -> str:
        """What became of a session that a fault may have ended: `answered`, or the name of an error.

        Raises:
            NotSurvived: it hangs, ended without a named error, or with a wrong answer or bill.
        """
        if not self.commands.ended(command, BOUND_S):
            command.send(9)
            raise NotSurvived(f"a client hung for {BOUND_S:g} s")
        outcome = outcome_of(command)
        if isinstance(outcome, str):
            return outcome
        if self._expected is not None and outcome != self._expected:
            raise NotSurvived(f"expected {self._expected}, got {outcome}")
        return "answered"

    def require_session(self) -> None:
        """A session without a fault, which must be as all others.

        Raises:
            NotSurvived: it is not.
        """
        command = self.begin()
        if (seen := self.finish(command)) != "answered":
            raise NotSurvived(f"the next session: {seen}: {command.err.read_text(errors='replace')[-300:]!r}")

    def learn(self) -> None:
        """Two sessions without a fault say what to expect: what is answered, and in what time by workers that
        have started."""
        command = self.begin()
        if not self.commands.ended(command, BOUND_S) or isinstance(answer := outcome_of(command), str):
            raise NotSurvived(f"no session without a fault: {command.err.read_text(errors='replace')[-500:]}")
        self._expected = answer
        self.service.await_workers()
        started = time.monotonic()
        self.require_session()
        self.length_s = time.monotonic() - started


@contextmanager
def place_of(folder: Path, setting: Setting) -> Generator[Place]:
    """A service for as long as a block lasts, and its first sessions.

    Args:
        folder: made, and removed where nothing failed.

    Raises:
        NotSurvived: it does not serve, or leaves something over at the end.
    """
    service = Service(folder, setting)
    try:
        service.start_all()
        commands = Commands(folder / "said", service.environment)
        try:
            place = Place(service, commands)
            place.learn()
            yield place
        finally:
            commands.close()
        service.close()
    finally:
        service.end_all()
    shutil.rmtree(folder)
