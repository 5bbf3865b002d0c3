"""`mpcinfer dealer`: the third party that hands out correlated randomness."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mpcinfer.cli import options, service_options, watched_options


def dealer(
    key: options.OwnKey,
    server_key: Annotated[Path | None, typer.Option(help="The .public file of the one server.")] = None,
    client_key: Annotated[Path | None, typer.Option(help="The .public file of the one client.")] = None,
    servers: Annotated[
        Path | None, typer.Option(help="A folder of NAME.public files: the servers that may connect.")
    ] = None,
    clients: service_options.Clients = None,
    listen_server: Annotated[str, typer.Option(help="Where the server connects.")] = "tcp://127.0.0.1:7101",
    listen_client: Annotated[str, typer.Option(help="Where the client connects.")] = "tcp://127.0.0.1:7102",
    timeout: options.Timeout = 600.0,
    shaped: options.ShapedAs = None,
    sessions: service_options.Sessions = None,
    client_sessions: service_options.ClientSessions = None,
    waiting: service_options.Waiting = 64,
    client_waiting: service_options.ClientWaiting = None,
    rate: service_options.Rate = None,
    drain: service_options.Drain = 30.0,
    store: Annotated[
        Path | None,
        typer.Option(
            help="A folder of this dealer's own for correlations dealt ahead, each used once. It holds both "
            "parties' seeds: whoever reads it can decrypt.",
            show_default="all is dealt live",
        ),
    ] = None,
    disk_gb: Annotated[float, typer.Option(min=0.0, help="The most that the store takes, in GB.")] = 10.0,
    quota_gb: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="With a store: the most correlations of one client in 24 hours, in GB.",
            show_default="no limit",
        ),
    ] = None,
    expiry_days: Annotated[
        float, typer.Option(min=0.01, help="How old what was dealt ahead may get, in days.")
    ] = 7.0,
    once: options.Once = False,
    log: watched_options.Log = watched_options.LogKind.AUTO,
    log_level: watched_options.Level = watched_options.LogLevel.INFO,
    log_file: watched_options.LogFile = None,
    metrics: watched_options.MetricsAt = None,
    runtime_dir: watched_options.RuntimeDir = None,
) -> None:
    """Deal correlated randomness to servers and their clients, many pairs at once.

    The dealer sees shapes, weight names and the order of operations, and no data. It must belong to
    somebody who colludes with neither party: whoever is both dealer and party can decrypt everything.

    [bold]Example[/bold]

        mpcinfer dealer --key keys/dealer.secret --server-key keys/server.public \\
            --client-key keys/client.public
        mpcinfer dealer --key keys/dealer.secret --servers keys/servers --clients keys/clients

    What a dealer with a store has: [bold]mpcinfer dealer status --store FOLDER[/bold]
    """
    from mpcinfer.roles.dealer import deal_sessions
    from mpcinfer.service.dealer_terms import DealerTerms
    from mpcinfer.service.dealing_front import deal_many
    from mpcinfer.service.status import ServiceStatus
    from mpcinfer.service.store_terms import StoreTerms
    from mpcinfer.service.watching import Watched, port_of, watching
    from mpcinfer.sessions.addresses import Identity
    from mpcinfer.suites.registry import SUITES

    server, client = (
        service_options.allowed(servers, server_key, "server"),
        service_options.allowed(clients, client_key, "client"),
    )
    shape = options.shape_of(shaped)
    limits = service_options.limits_of(
        sessions=sessions,
        client_sessions=client_sessions,
        waiting=waiting,
        client_waiting=client_waiting,
        rate=rate,
        drain=drain,
    )
    status = ServiceStatus(role="dealer", name=port_of(listen_server), endpoint=listen_server)
    how = Watched(
        log=log, level=log_level, log_file=log_file, metrics=metrics, runtime=runtime_dir, status=not once
    )
    with watching(status, how) as watch:
        if not all(suite.compiled() for suite in SUITES.values()):
            watch.say("compiling kernels (once), ahead of the first session; `mpcinfer warm` does it all")
        if not once:
            terms = DealerTerms(
                key=str(key),
                listen=(listen_server, listen_client),
                timeout_s=timeout,
                shaped=None if shape is None else shape.to_text(),
                accept_s=limits.accept_s,
                store=None
                if store is None
                else StoreTerms(
                    folder=str(store),
                    budget_bytes=round(disk_gb * 1e9),
                    quota_bytes=None if quota_gb is None else round(quota_gb * 1e9),
                    expiry_s=expiry_days * 86_400.0,
                ),
            )
            deal_many(terms, server, client, limits, watch)
            return
        deal_sessions(
            listen_server=listen_server,
            listen_client=listen_client,
            server=Identity.load(key, server),
            client=Identity.load(key, client),
            timeout_s=timeout,
            once=once,
            say=watch.say,
            shape=shape,
            watch=watch,
        )
