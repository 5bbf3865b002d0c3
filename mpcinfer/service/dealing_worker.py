"""A dealer's worker: `python -m mpcinfer.service.dealing_worker`, started by a front alone."""

from __future__ import annotations

import signal
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from mpcinfer.roles.dealer import deal_over
from mpcinfer.service.dealer_terms import DealerTerms
from mpcinfer.service.worker_side import WorkerSide, any_port, port_of
from mpcinfer.suites.registry import SUITES
from parties.errors import MpcInferError
from parties.keys import load_secret
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
    _deal(front, terms, front.told()["serve"])


def _deal(front: WorkerSide, terms: DealerTerms, parties: dict[str, Any]) -> None:
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
            dealt = deal_over(over(server, terms.shape), over(client, terms.shape))
    except MpcInferError as error:
        front.failed(error)
    else:
        front.say("over", dealt=dealt)


if __name__ == "__main__":
    main()
