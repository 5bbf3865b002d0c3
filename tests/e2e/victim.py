"""The command line of a party that gets a signal when it is about to send or to receive a certain frame.

python -m tests.e2e.victim SIGNAL LABEL COMMAND ...

LABEL is a part of the frame's label; `<LABEL` for one that is about to be received; `LABEL#2` for the second
frame of that kind.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

from mpcinfer.cli.main import main
from parties.link import Link


class Victim:
    """Sends this process a signal, once, when frames of a label have come to a count."""

    def __init__(self, name: str, place: str) -> None:
        label, _, number = place.removeprefix("<").partition("#")
        self.receiving, self._label, self._left = place.startswith("<"), label, int(number or 1)
        self._name = name

    def sees(self, label: str) -> None:
        """A frame is about to be sent, or received."""
        if self._label in label:
            self._left -= 1
            if self._left == 0:
                print(f"{self._name} at {label}", flush=True)
                os.kill(os.getpid(), signal.Signals[self._name])

    def watched(self, method: Callable[..., Any], at: int) -> Callable[..., Any]:
        """A method of links that tells of the frame first; its argument number `at` is the label."""

        def call(link: Link, *given: Any, **named: Any) -> Any:
            own = named.get("label") or (given[at] if len(given) > at else None)
            self.sees(own or link.meter.label)
            return method(link, *given, **named)

        return call


def run(name: str, place: str) -> None:
    """Runs the command that `sys.argv` has."""
    victim = Victim(name, place)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background may ignore it
    methods = {"recv": 1, "recv_document": 0} if victim.receiving else {"send": 2}
    with ExitStack() as stack:
        for method, at in methods.items():
            stack.enter_context(patch.object(Link, method, victim.watched(getattr(Link, method), at)))
        main()


if __name__ == "__main__":
    _signal, _place = sys.argv[1:3]
    del sys.argv[1:3]
    run(_signal, _place)
