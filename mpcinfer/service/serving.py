"""`mpcinfer serve` for many clients: a front, and workers for one model."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from mpcinfer.roles.server import say_what_is_served
from mpcinfer.service.allow_list import AllowList
from mpcinfer.service.forking import ForkServer
from mpcinfer.service.front import Front
from mpcinfer.service.front_watch import FrontWatch
from mpcinfer.service.limits import Limits
from mpcinfer.service.pool import Pool
from mpcinfer.service.ray_cluster import RayCluster
from mpcinfer.service.ray_workers import RayWorker
from mpcinfer.service.server_terms import ServerTerms
from mpcinfer.service.shared_weights import SharedWeights
from mpcinfer.service.watching import Watching
from mpcinfer.service.worker import Worker
from mpcinfer.sessions.session_config import SessionConfig
from mpcinfer.suites.registry import suite_of
from parties.admission import ADMISSION_LABEL
from parties.keys import load_secret
from parties.tcp import Reception

_WORKER = "serving_worker"


def serve_many(
    terms: ServerTerms,
    clients: Path,
    limits: Limits,
    watching: Watching,
    cluster: RayCluster | None = None,
) -> None:
    """Serves until it is told to end, then lets running sessions end.

    Args:
        clients: who may connect: a folder of `NAME.public` files, or one such file.
        limits: what they may take.
        watching: is told what happens.
        cluster: whose nodes workers run on; None for this machine.

    Raises:
        ConfigError: the model, the plan, a key, the allow list or the endpoint cannot be used.
        RangeError: the model's values do not fit.
        InsecureRefused: the cluster has other machines and no TLS.
    """
    allowed = AllowList(clients, watching.say)
    session_config = terms.session_config(with_weights=False)
    suite_of(session_config.plan).ready(session_config)
    with _workers(terms, session_config.plan.suite, cluster) as start:
        _serve(terms, session_config, allowed, limits, watching, start)


@contextmanager
def _workers(terms: ServerTerms, suite: str, cluster: RayCluster | None) -> Generator[Callable[[], Worker]]:
    """What starts a worker: on a node of the cluster, or here, where all share the weights in memory."""
    told: dict[str, Any] = {"server": terms.to_document()}
    if cluster is not None:
        yield lambda: RayWorker(cluster, _WORKER, told)
        return
    with (
        closing(SharedWeights.of(terms.session_config(with_weights=True))) as shared,
        closing(ForkServer(f"mpcinfer.service.{_WORKER}", [suite], [shared.fd])) as fork_server,
    ):
        yield lambda: fork_server.start({**told, "weights": shared.fd})


def _serve(
    terms: ServerTerms,
    session_config: SessionConfig,
    allowed: AllowList,
    limits: Limits,
    watching: Watching,
    start: Callable[[], Worker],
) -> None:
    note, say = FrontWatch.of(watching), watching.say
    pool = Pool(limits.sessions, start)
    reception = Reception(
        [terms.listen],
        load_secret(Path(terms.key)),
        ADMISSION_LABEL,
        may_enter=lambda key: key in allowed,
        on_malformed=lambda key, why: note("malformed", client=allowed.names.get(key, ""), message=why),
    )
    front = Front(reception, {"client": allowed}, limits, pool, note)
    try:
        say_what_is_served(session_config, reception.endpoints[0], say)
        watching.listening()
        front.run(lambda: note.follow(front))
    finally:
        pool.close()
        reception.close()
