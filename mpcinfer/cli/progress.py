"""What a command says while it works: on standard error, so that answers can be piped."""

from __future__ import annotations

import sys
from threading import Lock

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar

from mpcinfer.cli.tables import human_bytes
from mpcinfer.roles.progress import Progress

_console = Console(stderr=True, highlight=False)


def announce(text: str) -> None:
    """One line of progress."""
    _console.print(text, style="dim", soft_wrap=True, markup=False)


class Dealing:
    """A bar for as long as the first token waits for correlations; then the answer speaks for itself."""

    def __init__(self) -> None:
        self._bar = ProgressBar(
            SpinnerColumn(),
            TextColumn("dealing"),
            BarColumn(bar_width=20),
            TextColumn("{task.completed} of {task.total} passes, {task.fields[dealt]}"),
            TimeElapsedColumn(),
            console=_console,
            transient=True,
            disable=not _console.is_terminal,
        )
        self._task: TaskID | None = None
        self._lock = Lock()
        self._over = False

    def show(self, progress: Progress) -> None:
        """What a session tells of its dealing; may be called from any thread."""
        with self._lock:
            if self._over:
                return
            if self._task is None:
                self._task = self._bar.add_task("dealing", total=progress.of, dealt="")
                self._bar.start()
            dealt = human_bytes(progress.dealt_bytes)
            self._bar.update(self._task, total=progress.of, completed=progress.runs, dealt=dealt)

    def close(self) -> None:
        """Takes the bar away, for good; safe to repeat."""
        with self._lock:
            self._over = True
            if self._task is not None:
                self._bar.stop()


class Stream:
    """Prints an answer token by token as its text grows, the prompt before it with the first token.

    A byte-level token can end inside a character; such a tail waits for the next token.
    """

    def __init__(self, prompt: str) -> None:
        self._prompt, self._shown = prompt, ""

    def show(self, text: str) -> None:
        """Prints what is new in the whole answer so far."""
        stable = text.rstrip("\N{REPLACEMENT CHARACTER}")
        if stable.startswith(self._shown):
            sys.stdout.write(self._prompt + stable[len(self._shown) :])
            sys.stdout.flush()
            self._prompt, self._shown = "", stable

    def end(self) -> None:
        """Ends the line."""
        sys.stdout.write(f"{self._prompt}\n")
        sys.stdout.flush()
