"""A dealer's worker, which its front has forked."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from mpcinfer.roles.dealer import deal_over
from mpcinfer.service.dealer_terms import DealerTerms
from mpcinfer.service.dealing.store import DealerStore
from mpcinfer.service.store_terms import StoreTerms
from mpcinfer.service.worker_side import WorkerSide, any_port, port_of
from mpcinfer.suites.registry import SUITES
from parties.errors import MpcInferError
from parties.keys import load_secret
from parties.link import Link
from parties.memory import keep_memory
from parties.shaped import over
from parties.tcp import Listener

_PARTIES = ("server", "client")


def main() -> None:
    """Gets ready, deals one session, and ends: with status 0 where the session ended, whatever way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_memory()
    front = WorkerSide()
    terms = DealerTerms.from_document(front.told()["terms"]["dealer"])
    for suite in SUITES.values():
        suite.load()
    for suite in SUITES.values():
        suite.warm_up_dealing()
    front.say("ready")
    told = front.told()
    _deal(front, terms, told["serve"], str(told["name"]))


def _deal(front: WorkerSide, terms: DealerTerms, parties: dict[str, Any], name: str) -> None:
    try:
        keys = load_secret(Path(terms.key))
        with ExitStack() as stack:
            listeners = [
                stack.enter_context(closing(Listener(any_port(terms.listen[0]), keys, [parties[role]])))
                for role in _PARTIES
            ]
            ports = [port_of(listener.endpoint) for listener in listeners]
            front.say("listening", ports=dict(zip(_PARTIES, ports, strict=True)))
            server, client = (
                stack.enter_context(listener.accept(terms.accept_s, terms.timeout_s))
                for listener in listeners
            )
            front.say("in")
            deal = (
                None if terms.store is None else stack.enter_context(_from_store(terms.store, parties, name))
            )
            dealt = deal_over(over(server, terms.shape), over(client, terms.shape), deal)
    except MpcInferError as error:
        front.failed(error)
    else:
        front.say("over", dealt=dealt)


@contextmanager
def _from_store(
    terms: StoreTerms, parties: dict[str, Any], name: str
) -> Generator[Callable[[Link, Link], str]]:
    """What deals a session from the store, where that has what it wants."""

    def say(line: str) -> None:
        sys.stderr.write(f"{line}\n")

    with DealerStore.open(terms.path, **terms.options(say)) as store:
        yield lambda server, client: store.deal_session(
            server, client, server_key=parties["server"], client_key=parties["client"], client_name=name
        )


if __name__ == "__main__":
    main()
