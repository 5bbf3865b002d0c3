"""`mpcinfer dealer`: the third party that hands out correlated randomness."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mpcinfer.cli import options


def dealer(
    key: options.OwnKey,
    server_key: Annotated[Path, typer.Option(help="The .public file of the server.")],
    client_key: Annotated[Path, typer.Option(help="The .public file of the client.")],
    listen_server: Annotated[str, typer.Option(help="Where the server connects.")] = "tcp://127.0.0.1:7101",
    listen_client: Annotated[str, typer.Option(help="Where the client connects.")] = "tcp://127.0.0.1:7102",
    timeout: options.Timeout = 600.0,
    shaped: options.ShapedAs = None,
    once: options.Once = False,
) -> None:
    """Deal correlated randomness to one server and one client.

    The dealer sees shapes, weight names and the order of operations, and no data. It must belong to
    somebody who colludes with neither party: whoever is both dealer and party can decrypt everything.

    [bold]Example[/bold]

        mpcinfer dealer --key keys/dealer.secret --server-key keys/server.public \\
            --client-key keys/client.public

    What a dealer with a store has: [bold]mpcinfer dealer status --store FOLDER[/bold]
    """
    from mpcinfer.cli.progress import announce
    from mpcinfer.roles.dealer import deal_sessions
    from mpcinfer.sessions.addresses import Identity
    from mpcinfer.suites.registry import SUITES

    if not all(suite.compiled() for suite in SUITES.values()):
        announce("compiling kernels (once), ahead of the first session; `mpcinfer warm` does it all")
    deal_sessions(
        listen_server=listen_server,
        listen_client=listen_client,
        server=Identity.load(key, server_key),
        client=Identity.load(key, client_key),
        timeout_s=timeout,
        once=once,
        say=announce,
        shape=options.shape_of(shaped),
    )
