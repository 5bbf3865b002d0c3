"""A process that deals and takes bundles as fast as it can, to be killed: python taking.py STORE LOG.

Its bundles hold a random seed and nothing else. What it takes is in the log, on disk, before it goes on, as
if the seed had been sent.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mpcinfer.service.dealing import wants
from mpcinfer.service.dealing.open_store import OpenStore
from mpcinfer.service.dealing.wants import Pair, ProgramText
from mpcinfer.suites.stock import Schedule
from parties.randomness import SystemRandom

PAIR = Pair("S" * 40, "C" * 40)
PROGRAM = ProgramText.of("fss", {"program": 1})
SEED = "bundle"


def opened(folder: Path) -> OpenStore:
    return OpenStore.open(folder, budget_bytes=1 << 20)


def want(store: OpenStore) -> None:
    """A session of the kind that is dealt for."""
    with store.ledger.transaction() as tx:
        wants.learn(tx, PAIR.id(tx), PROGRAM, Schedule(tokens=5), store.now())


def deal(store: OpenStore) -> bool:
    """Deals a bundle ahead; False where the budget has no room."""
    with store.ledger.transaction() as tx:
        [kind] = wants.wanted(tx, store.now())
    reserved = store.bundles.reserve(kind, 1 << 14, store.budget_bytes, store.now())
    if reserved is None:
        return False
    (reserved.folder / SEED).write_bytes(SystemRandom().draw_bytes(16))
    store.bundles.ready(reserved, 1 << 14, store.now())
    return True


def take(store: OpenStore, log: int) -> str | None:
    """Takes a bundle and uses it; its number, or None where there is none."""
    taken = store.bundles.take(PAIR, PROGRAM.digest, 5, since=0.0, now=store.now())
    if taken is None:
        return None
    seed = (taken.folder / SEED).read_bytes()
    os.write(log, f"{taken.id} {seed.hex()}\n".encode())
    os.fsync(log)
    store.bundles.spend(taken, store.now())
    return taken.id


def main() -> None:
    folder, log_path = Path(sys.argv[1]), Path(sys.argv[2])
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    store = opened(folder)
    print("begun", flush=True)
    while True:
        store.recover()
        for _ in range(3):
            deal(store)
        while take(store, log) is not None:
            pass


if __name__ == "__main__":
    main()
