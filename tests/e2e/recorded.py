"""Runs the program and writes down what it must never log: `python recorded.py FILE ARGUMENTS...`.

Workers that it starts are run in the same way. FILE gets a line of hexadecimal for every seed of a stream,
for the beginning of what each stream gave, and for the beginning of every array that was sent or received:
seeds, masks, keys of functions and shares. The variable `PLANT` has a worker write its first seed to its
standard error, which a search must find.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

_MOST = 16
_RECORDS = 3000


_left = [_RECORDS]


def record_to(file: Path) -> Callable[[bytes], None]:
    """Adds values, a line each, until there are enough."""
    out, lock, left = file.open("a", encoding="ascii"), threading.Lock(), _left

    def record(value: bytes) -> None:
        with lock:
            if left[0] and len(value) >= 8:
                left[0] -= 1
                out.write(value[:_MOST].hex() + "\n")
                out.flush()

    return record


def watch_streams(record: Callable[[bytes], None], planted: bool) -> None:
    """Records seeds and what is drawn from them."""
    from parties.randomness import AesCtrStream

    begin, fill = AesCtrStream.__init__, AesCtrStream.fill
    to_plant = [planted]

    def recorded_begin(self: AesCtrStream, key: bytes) -> None:
        record(bytes(key))
        begin(self, key)
        if to_plant[0]:
            to_plant[0] = False
            sys.stderr.write(json.dumps({"event": "planted", "message": f"seed {bytes(key).hex()}"}) + "\n")

    def recorded_fill(self: AesCtrStream, out: Any) -> None:
        fill(self, out)
        record(out[:_MOST].tobytes())

    AesCtrStream.__init__, AesCtrStream.fill = recorded_begin, recorded_fill


def watch_links(record: Callable[[bytes], None]) -> None:
    """Records the arrays of every link."""
    from parties.link import Link

    send, receive = Link.send, Link.recv

    def recorded_send(self: Link, arrays: Any, *rest: Any, **named: Any) -> None:
        for array in arrays:
            record(array.reshape(-1)[:8].tobytes())
        send(self, arrays, *rest, **named)

    def recorded_receive(self: Link, *rest: Any, **named: Any) -> Any:
        arrays = receive(self, *rest, **named)
        for array in arrays:
            record(array.reshape(-1)[:8].tobytes())
        return arrays

    Link.send, Link.recv = recorded_send, recorded_receive


def watch_workers(file: str) -> None:
    """Has workers run by this program, too."""
    from mpcinfer.service import forking

    forking.COMMAND = (sys.executable, __file__, file, forking.COMMAND[-1])


def watch_session() -> None:
    """Of a worker, what comes once it knows whom it serves is worth writing down, whatever came before."""
    from mpcinfer.service.worker_side import WorkerSide

    say = WorkerSide.say

    def said(self: WorkerSide, event: str, **fields: Any) -> None:
        if event == "listening":
            _left[0] = _RECORDS
        say(self, event, **fields)

    WorkerSide.say = said


if __name__ == "__main__":
    file = sys.argv.pop(1)
    recording = record_to(Path(file))
    watch_links(recording)
    worker = sys.argv[1].startswith("mpcinfer.service.")
    watch_streams(recording, worker and bool(os.environ.get("PLANT")))
    if worker:
        watch_session()
        runpy.run_module(sys.argv.pop(1), run_name="__main__")
    else:
        from mpcinfer.cli.main import main

        watch_workers(file)
        main()
