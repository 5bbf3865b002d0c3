"""Runs the program and writes down what it must never log: `python recorded.py FILE ARGUMENTS...`.

FILE gets a line of hexadecimal for every seed of a stream, for the beginning of what each stream gave, and
for the beginning of every array that was sent or received: seeds, masks, keys of functions and shares. The
variable `PLANT` has the first seed logged, which a search must find.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

_MOST = 16
_RECORDS = 3000


def record_to(file: Path) -> Callable[[bytes], None]:
    """Writes values down, a line each, until there are enough."""
    out, lock, left = file.open("w", encoding="ascii"), threading.Lock(), [_RECORDS]

    def record(value: bytes) -> None:
        with lock:
            if left[0] and len(value) >= 8:
                left[0] -= 1
                out.write(value[:_MOST].hex() + "\n")
                out.flush()

    return record


def watch_streams(record: Callable[[bytes], None], planted: bool) -> None:
    """Records seeds and what is drawn from them."""
    from mpcinfer.service.logs import logger
    from parties.randomness import AesCtrStream

    begin, fill = AesCtrStream.__init__, AesCtrStream.fill
    to_plant = [planted]

    def recorded_begin(self: AesCtrStream, key: bytes) -> None:
        record(bytes(key))
        begin(self, key)
        if to_plant[0]:
            to_plant[0] = False
            logger("dealer").info("planted", message=f"seed {bytes(key).hex()}")

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


if __name__ == "__main__":
    recording = record_to(Path(sys.argv.pop(1)))
    watch_links(recording)
    watch_streams(recording, bool(os.environ.get("PLANT")))
    from mpcinfer.cli.main import main

    main()
