"""What a command says while it works: on standard error, so that answers can be piped."""

from __future__ import annotations

import sys

from rich.console import Console

_console = Console(stderr=True, highlight=False)


def announce(text: str) -> None:
    """One line of progress."""
    _console.print(text, style="dim", soft_wrap=True, markup=False)


class Stream:
    """Prints an answer token by token as its text grows.

    A byte-level token can end inside a character; such a tail waits for the next token.
    """

    def __init__(self, prompt: str) -> None:
        sys.stdout.write(prompt)
        sys.stdout.flush()
        self._shown = ""

    def show(self, text: str) -> None:
        """Prints what is new in the whole answer so far."""
        stable = text.rstrip("\N{REPLACEMENT CHARACTER}")
        if stable.startswith(self._shown):
            sys.stdout.write(stable[len(self._shown) :])
            sys.stdout.flush()
            self._shown = stable

    def end(self) -> None:
        """Ends the line."""
        sys.stdout.write("\n")
        sys.stdout.flush()
