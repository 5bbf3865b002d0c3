"""Fills a dealer's store: `python -m mpcinfer.service.refilling_worker`, started by a front alone."""

from __future__ import annotations

import signal
import sys
import threading

from mpcinfer.service.dealing.refill import refill_forever
from mpcinfer.service.store_terms import StoreTerms
from mpcinfer.service.worker_side import WorkerSide
from parties.memory import keep_memory


def main() -> None:
    """Deals ahead, at low priority, until its front ends it or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_memory()
    front = WorkerSide()
    terms = StoreTerms.from_document(front.told()["terms"]["store"])
    front.say("ready")

    def say(line: str) -> None:
        sys.stderr.write(f"{line}\n")

    refill_forever(terms.path, **terms.options(say), stop=threading.Event())


if __name__ == "__main__":
    main()
