"""`mpcinfer dealer` for many pairs: a front, and workers that deal a session each."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from mpcinfer.service.allow_list import AllowList
from mpcinfer.service.dealer_terms import DealerTerms
from mpcinfer.service.dealing.store import DealerStore
from mpcinfer.service.forking import ForkServer
from mpcinfer.service.front import Front
from mpcinfer.service.front_watch import FrontWatch
from mpcinfer.service.limits import Limits
from mpcinfer.service.pool import Pool
from mpcinfer.service.store_terms import StoreTerms
from mpcinfer.service.watching import Watching
from mpcinfer.service.worker_process import WorkerProcess, start_process
from mpcinfer.suites.registry import SUITES
from parties.admission import ADMISSION_LABEL
from parties.keys import load_secret
from parties.tcp import Reception

_WORKER = "mpcinfer.service.dealing_worker"
_REFILL = [sys.executable, "-m", "mpcinfer.service.refilling_worker"]


def deal_many(
    terms: DealerTerms,
    servers: Path,
    clients: Path,
    limits: Limits,
    watching: Watching,
) -> None:
    """Deals until it is told to end, then lets running sessions end. Any server on the list may meet any
    client on the other.

    Args:
        servers, clients: who may connect: a folder of `NAME.public` files each, or one such file.
        limits: what they may take.
        watching: is told what happens.

    Raises:
        ConfigError: a key, an allow list or an endpoint cannot be used.
    """
    note, say = FrontWatch.of(watching), watching.say
    lists = {"server": AllowList(servers, say), "client": AllowList(clients, say)}

    def name(key: str) -> str:
        return next((each.names[key] for each in lists.values() if key in each), "")

    store = _opened(terms.store, say)
    refill = Pool(int(terms.store is not None), lambda: _refilling(terms))
    fork_server = ForkServer(_WORKER, SUITES)
    pool = Pool(limits.sessions, lambda: fork_server.start({"dealer": terms.to_document()}))
    reception = Reception(
        terms.listen,
        load_secret(Path(terms.key)),
        ADMISSION_LABEL,
        may_enter=lambda key: any(key in each for each in lists.values()),
        on_malformed=lambda key, why: note("malformed", client=name(key), message=why),
    )
    front = Front(reception, lists, limits, pool, note, store and store.require_quota)

    def each() -> None:
        refill.fill()
        refill.events()
        note.follow(front)
        if store is not None:
            note.stock(store)

    try:
        say(f"dealer: for servers at {reception.endpoints[0]}, for clients at {reception.endpoints[-1]}")
        watching.listening()
        front.run(each)
    finally:
        pool.close()
        fork_server.close()
        refill.close()
        reception.close()
        if store is not None:
            store.close()


def _opened(terms: StoreTerms | None, say: Callable[[str], None]) -> DealerStore | None:
    """The store, with what dead processes left in it given up."""
    if terms is None:
        return None
    store = DealerStore.open(terms.path, **terms.options(say))
    store.recover()
    return store


def _refilling(terms: DealerTerms) -> WorkerProcess:
    """What fills the store in the background."""
    assert terms.store is not None
    return WorkerProcess(start_process(_REFILL), {"store": terms.store.to_document()})
