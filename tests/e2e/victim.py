"""The command line of a party that gets a signal when it is about to send a frame of a certain label.

python -m tests.e2e.victim SIGNAL LABEL COMMAND ...      LABEL is a part of the frame's label
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any
from unittest.mock import patch

from mpcinfer.cli.main import main
from parties.link import Link


def run(name: str, label: str) -> None:
    """Runs the command that `sys.argv` has; the signal is sent once."""
    honest, left = Link.send, [signal.Signals[name]]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background may ignore it

    def send(self: Link, arrays: Any, bits: Any, own: str | None = None) -> None:
        here = own or self.meter.label
        if left and label in here:
            print(f"{name} at {here}", flush=True)
            os.kill(os.getpid(), left.pop())
        honest(self, arrays, bits, own)

    with patch.object(Link, "send", send):
        main()


if __name__ == "__main__":
    _signal, _label = sys.argv[1:3]
    del sys.argv[1:3]
    run(_signal, _label)
