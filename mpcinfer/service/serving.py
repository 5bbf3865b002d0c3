"""`mpcinfer serve` for many clients: a front, and workers for one model."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from mpcinfer.roles.server import say_what_is_served
from mpcinfer.service.allow_list import AllowList
from mpcinfer.service.front import Front, Note
from mpcinfer.service.limits import Limits
from mpcinfer.service.pool import Pool
from mpcinfer.service.ray_cluster import RayCluster
from mpcinfer.service.ray_workers import RayWorker
from mpcinfer.service.server_terms import ServerTerms
from mpcinfer.service.worker import Worker
from mpcinfer.service.worker_process import WorkerProcess
from mpcinfer.sessions.loading import Loading
from mpcinfer.suites.registry import suite_of
from parties.admission import ADMISSION_LABEL
from parties.keys import load_secret
from parties.tcp import Reception

_WORKER = "serving_worker"
_COMMAND = [sys.executable, "-m", f"mpcinfer.service.{_WORKER}"]


def serve_many(
    terms: ServerTerms,
    clients: Path,
    limits: Limits,
    say: Callable[[str], None],
    note: Note,
    cluster: RayCluster | None = None,
) -> None:
    """Serves until it is told to end, then lets running sessions end.

    Args:
        clients: who may connect: a folder of `NAME.public` files, or one such file.
        limits: what they may take.
        say: is told what is served, a line at a time.
        note: is told what happens.
        cluster: whose nodes workers run on; None for this machine.

    Raises:
        ConfigError: the model, the plan, a key, the allow list or the endpoint cannot be used.
        RangeError: the model's values do not fit.
        InsecureRefused: the cluster has other machines and no TLS.
    """
    allowed = AllowList(clients, say)
    unready = terms.session_config(Loading)
    session_config = suite_of(unready.plan).ready(unready)
    len(session_config.weights or ())
    len(session_config.encoded or ())

    def start() -> Worker:
        told = {"server": terms.to_document()}
        return WorkerProcess(_COMMAND, told) if cluster is None else RayWorker(cluster, _WORKER, told)

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
        front.run()
    finally:
        pool.close()
        reception.close()
