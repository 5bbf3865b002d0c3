"""`mpcinfer dealer`: the third party that hands out correlated randomness."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mpcinfer.cli import options, watched_options


def dealer(
    key: options.OwnKey,
    server_key: Annotated[Path, typer.Option(help="The .public file of the server.")],
    client_key: Annotated[Path, typer.Option(help="The .public file of the client.")],
    listen_server: Annotated[str, typer.Option(help="Where the server connects.")] = "tcp://127.0.0.1:7101",
    listen_client: Annotated[str, typer.Option(help="Where the client connects.")] = "tcp://127.0.0.1:7102",
    timeout: options.Timeout = 600.0,
    shaped: options.ShapedAs = None,
    once: options.Once = False,
    log: watched_options.Log = watched_options.LogKind.AUTO,
    log_level: watched_options.Level = watched_options.LogLevel.INFO,
    log_file: watched_options.LogFile = None,
    metrics: watched_options.MetricsAt = None,
    runtime_dir: watched_options.RuntimeDir = None,
) -> None:
    """Deal correlated randomness to one server and one client.

    The dealer sees shapes, weight names and the order of operations, and no data. It must belong to
    somebody who colludes with neither party: whoever is both dealer and party can decrypt everything.

    [bold]Example[/bold]

        mpcinfer dealer --key keys/dealer.secret --server-key keys/server.public \\
            --client-key keys/client.public
    """
    from mpcinfer.roles.dealer import deal_sessions
    from mpcinfer.service.status import ServiceStatus
    from mpcinfer.service.watching import Watched, port_of, watching
    from mpcinfer.sessions.addresses import Identity
    from mpcinfer.suites.registry import SUITES

    for_server, for_client = Identity.load(key, server_key), Identity.load(key, client_key)
    status = ServiceStatus(role="dealer", name=port_of(listen_server), endpoint=listen_server)
    how = Watched(
        log=log, level=log_level, log_file=log_file, metrics=metrics, runtime=runtime_dir, status=not once
    )
    with watching(status, how) as watch:
        if not all(suite.compiled() for suite in SUITES.values()):
            watch.say("compiling kernels (once), ahead of the first session; `mpcinfer warm` does it all")
        deal_sessions(
            listen_server=listen_server,
            listen_client=listen_client,
            server=for_server,
            client=for_client,
            timeout_s=timeout,
            once=once,
            say=watch.say,
            shape=options.shape_of(shaped),
            watch=watch,
        )
