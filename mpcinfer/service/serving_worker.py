"""A server's worker, which its front has forked; on a node of a cluster, `python -m` with this name."""

from __future__ import annotations

import signal
from dataclasses import asdict
from typing import Any

from mpcinfer.roles.server import serve_channel
from mpcinfer.service.server_terms import ServerTerms
from mpcinfer.service.shared_weights import SharedWeights
from mpcinfer.service.worker_side import WorkerSide, any_port, port_of
from mpcinfer.sessions.session_config import SessionConfig
from mpcinfer.suites.registry import suite_of
from parties.bill import Bill
from parties.errors import MpcInferError
from parties.memory import keep_memory
from parties.shaped import over
from parties.tcp import Listener


def main() -> None:
    """Gets ready, serves one session, and ends: with status 0 where the session ended, whatever way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    keep_memory()
    front = WorkerSide()
    told = front.told()["terms"]
    terms = ServerTerms.from_document(told["server"])
    session_config = _ready(terms, told.get("weights"))
    front.say("ready")
    _serve(front, terms, session_config, front.told())


def _ready(terms: ServerTerms, weights: int | None) -> SessionConfig:
    """All that can be done before anybody is known.

    Args:
        weights: descriptor of the weights that the front shares; None on another machine.
    """
    session_config = terms.session_config(with_weights=weights is None)
    suite = suite_of(session_config.plan)
    suite.load()
    if weights is not None:
        with SharedWeights.open(weights) as shared:
            session_config = shared.into(session_config)
    ready = suite.ready(session_config)
    suite.load_kernels(ready.plan, ready.public)
    len(ready.weights or ())
    len(ready.encoded or ())
    return ready


def _serve(
    front: WorkerSide, terms: ServerTerms, session_config: SessionConfig, told: dict[str, Any]
) -> None:
    keys = session_config.keys
    assert keys is not None
    try:
        listener = Listener(any_port(terms.listen), keys, [told["serve"]["client"]])
        front.say("listening", ports={"client": port_of(listener.endpoint)})
        channel = listener.accept(terms.accept_s, terms.timeout_s)
        front.say("in")
        bill = serve_channel(over(channel, terms.shape), session_config, terms.limits)
    except MpcInferError as error:
        front.failed(error)
    else:
        front.say("over", **_totals(bill))


def _totals(bill: Bill) -> dict[str, Any]:
    """What a session took, for the front's books."""
    total = bill.total
    return {
        name: value
        for name, value in asdict(total).items()
        if name not in ("label", "kind", "seconds", "offline_seconds")
    }


if __name__ == "__main__":
    main()
