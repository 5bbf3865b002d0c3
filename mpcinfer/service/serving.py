"""`mpcinfer serve` for many clients: a front, and workers for one model."""

from __future__ import annotations

import sys
from pathlib import Path

from mpcinfer.roles.server import say_what_is_served
from mpcinfer.service.allow_list import AllowList
from mpcinfer.service.front import Front
from mpcinfer.service.front_watch import FrontWatch
from mpcinfer.service.limits import Limits
from mpcinfer.service.pool import Pool
from mpcinfer.service.server_terms import ServerTerms
from mpcinfer.service.watching import Watching
from mpcinfer.service.worker_process import WorkerProcess
from mpcinfer.sessions.loading import Loading
from mpcinfer.suites.registry import suite_of
from parties.admission import ADMISSION_LABEL
from parties.keys import load_secret
from parties.tcp import Reception

_COMMAND = [sys.executable, "-m", "mpcinfer.service.serving_worker"]


def serve_many(
    terms: ServerTerms,
    clients: Path,
    limits: Limits,
    watching: Watching,
) -> None:
    """Serves until it is told to end, then lets running sessions end.

    Args:
        clients: who may connect: a folder of `NAME.public` files, or one such file.
        limits: what they may take.
        watching: is told what happens.

    Raises:
        ConfigError: the model, the plan, a key, the allow list or the endpoint cannot be used.
        RangeError: the model's values do not fit.
    """
    note, say = FrontWatch.of(watching), watching.say
    allowed = AllowList(clients, say)
    unready = terms.session_config(Loading)
    session_config = suite_of(unready.plan).ready(unready)
    len(session_config.weights or ())
    len(session_config.encoded or ())
    pool = Pool(limits.sessions, lambda: WorkerProcess(_COMMAND, {"server": terms.to_document()}))
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
