"""What a command says while it works: on standard error, so that answers can be piped."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from threading import RLock

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as ProgressBar
from rich.text import Text

from mpcinfer.cli.tables import human_bytes
from mpcinfer.sessions.progress import Progress, Stage

_console = Console(stderr=True, highlight=False)
_BESIDE = {Stage.DEALING: Stage.SETUP, Stage.CORRELATIONS: Stage.ONLINE}
_RANKS = {stage: list(Stage).index(_BESIDE.get(stage, stage)) for stage in Stage}
"""A stage's lines give way to those of a later one; masked weights and dealing stand together, and so do
the making of correlations and the pass that takes them."""


_told: list[Callable[[str], None]] = []
"""Who is told instead of the terminal."""


def announce(text: str) -> None:
    """One line of progress."""
    if _told:
        _told[-1](text)
    else:
        _console.print(text, style="dim", soft_wrap=True, markup=False)


@contextmanager
def announcing(say: Callable[[str], None]) -> Generator[None]:
    """Lines of progress go to a log for the length of a block."""
    _told.append(say)
    try:
        yield
    finally:
        _told.pop()


class Waiting:
    """Lines on a terminal that say what is waited for, how far it is, and how long it will take.

    Elsewhere nothing is shown, but that kernels are compiled, which a log should have, too.
    """

    def __init__(self) -> None:
        self._bars = ProgressBar(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            _TimeLeft(),
            console=_console,
            auto_refresh=False,
        )
        self._live: Live | None = None
        self._lock = RLock()
        self._tasks: dict[str, TaskID] = {}
        self._stage = 0
        self._over = False

    def show(self, progress: Progress) -> None:
        """Takes a session's reports of its progress; may be called from any thread."""
        stage, done, of = progress.stage, progress.done, progress.of
        if stage is Stage.COMPILING and not done and not _console.is_terminal:
            announce(f"{stage.value}; `mpcinfer warm` does it ahead")
        numbers = (human_bytes(done), human_bytes(of)) if progress.in_bytes else (f"{done:,}", f"{of:,}")
        with self._lock:
            rank = _RANKS[stage]
            if rank < self._stage:
                return  # what is dealt for the next pass while this one runs
            if rank > self._stage:
                self._stage = rank
                self._forget()
            detail = [" of ".join(numbers) if of else "", progress.detail]
            self.step(stage.value, done, of, ", ".join(filter(None, detail)))
            if of and done >= of:
                self._forget(stage.value)

    def step(self, what: str, done: int, of: int, detail: str) -> None:
        """Shows the progress of a wait; the clock starts anew where `what` is new."""
        with self._lock:
            if self._over or not _console.is_terminal:
                return
            if what not in self._tasks:
                self._tasks[what] = self._bars.add_task(what, total=of or None, detail=detail)
            self._bars.update(self._tasks[what], total=of or None, completed=done, detail=detail)
            if self._live is None:
                self._live = Live(
                    console=_console,
                    transient=True,
                    get_renderable=self._rendered,
                    redirect_stdout=False,
                    redirect_stderr=False,
                )
                self._live.start()

    def close(self) -> None:
        """Takes the lines away, for good; safe to repeat."""
        with self._lock:
            self._over = True
            live, self._live = self._live, None
        if live is not None:  # its own thread may be waiting for the lock
            live.stop()

    def _forget(self, what: str | None = None) -> None:
        """Takes a line away, or all."""
        for name in [what] if what is not None else list(self._tasks):
            if name in self._tasks:
                self._bars.remove_task(self._tasks.pop(name))

    def _rendered(self) -> RenderableType:
        with self._lock:
            return self._below(self._bars.get_renderable())

    def _below(self, bars: RenderableType) -> RenderableType:
        """The lines, and what is shown above them."""
        return bars


class _TimeLeft(ProgressColumn):
    """Nothing where nobody knows."""

    def render(self, task: Task) -> Text:
        left = task.time_remaining
        if left is None or not task.total:
            return Text("")
        minutes, seconds = divmod(int(left), 60)
        return Text(f"{minutes}:{seconds:02} left", style="progress.remaining")


class Answering(Waiting):
    """An answer as it comes, token by token, and under it what is waited for.

    Where answer and bar share a terminal, the line under way is redrawn with the bar, and lines that are
    complete stand above. Otherwise every token is written at once.

    Args:
        prompt: written before the answer, with its first token.
        tokens: the most there can be.
    """

    def __init__(self, prompt: str, tokens: int) -> None:
        super().__init__()
        self._stream, self._tokens = Stream(prompt), tokens
        self._shared = _console.is_terminal and sys.stdout.isatty()
        self._line, self._count, self._started = "", 0, 0.0

    def show(self, progress: Progress) -> None:
        """Shows the wait until the answer has begun."""
        if not self._count:
            super().show(progress)

    def answer(self, text: str) -> None:
        """The whole answer so far, after each token."""
        now = time.perf_counter()
        self._started = self._started or now
        self._count += 1
        if self._shared:
            with self._lock:
                *complete, self._line = (self._line + self._stream.fresh(text)).split("\n")
            for line in complete:
                _console.print(line, markup=False, soft_wrap=True)
        else:
            self._stream.show(text)
        if self._count == 1:
            self._forget()
        if self._count < self._tokens:
            pace = f", {(now - self._started) / (self._count - 1):.2f} s each" if self._count > 1 else ""
            self.step("answering", self._count, self._tokens, f"token {self._count + 1}{pace}")

    def end(self) -> None:
        """The answer is over."""
        self.close()
        sys.stdout.write(self._line)
        self._line = ""
        self._stream.end()

    def _below(self, bars: RenderableType) -> RenderableType:
        return Group(Text(self._line), bars) if self._line else bars


class TurnBar:
    """The bar of the turn under way; before the first turn, of the session's start."""

    def __init__(self) -> None:
        self._bar: Waiting = Waiting()

    def open(self, bar: Waiting) -> None:
        """A turn begins, with a bar of its own."""
        self._bar.close()
        self._bar = bar

    def show(self, progress: Progress) -> None:
        """Takes a session's reports of its progress."""
        self._bar.show(progress)

    def close(self) -> None:
        """Nothing is waited for; safe to repeat."""
        self._bar.close()


class Stream:
    """Writes an answer token by token as its text grows, the prompt before it with the first token.

    A byte-level token can end inside a character; such a tail waits for the next token.
    """

    def __init__(self, prompt: str) -> None:
        self._prompt, self._shown = prompt, ""

    def fresh(self, text: str) -> str:
        """The part of the answer that was not shown yet."""
        stable = text.rstrip("\N{REPLACEMENT CHARACTER}")
        if not stable.startswith(self._shown):
            return ""
        new = self._prompt + stable[len(self._shown) :]
        self._prompt, self._shown = "", stable
        return new

    def show(self, text: str) -> None:
        """Writes it."""
        sys.stdout.write(self.fresh(text))
        sys.stdout.flush()

    def end(self) -> None:
        """Ends the line."""
        sys.stdout.write(f"{self._prompt}\n")
        sys.stdout.flush()
