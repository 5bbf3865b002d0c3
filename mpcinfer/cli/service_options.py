"""Options of what serves many: who may connect, and what they may take."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mpcinfer.service.limits import Limits
from parties.errors import ConfigError

if TYPE_CHECKING:
    from mpcinfer.service.ray_cluster import RayCluster

Clients = Annotated[
    Path | None,
    typer.Option(
        help="A folder of NAME.public files: the clients that may connect. It is read again when it changes; "
        "who is taken out loses its sessions."
    ),
]
Sessions = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Sessions at once, each in a worker process that is started ahead.",
        show_default="one a processor core",
    ),
]
ClientSessions = Annotated[
    int | None, typer.Option(min=1, help="Sessions at once of one client.", show_default="no limit")
]
Waiting = Annotated[int, typer.Option(min=0, help="Sessions that may wait for a worker.")]
ClientWaiting = Annotated[
    int | None,
    typer.Option(min=1, help="Sessions of one client that may wait.", show_default="no limit"),
]
Rate = Annotated[
    float | None,
    typer.Option(min=1.0, help="New sessions a minute of one client.", show_default="no limit"),
]
MostContext = Annotated[
    int | None,
    typer.Option(
        "--most-context",
        min=1,
        help="The most tokens that a client may ask a session to hold (its --max-context).",
        show_default="what the model has",
    ),
]
PromptTokens = Annotated[
    int | None,
    typer.Option(min=1, help="The most tokens of one pass, so of a prompt.", show_default="no limit"),
]
SessionTokens = Annotated[
    int | None,
    typer.Option(min=1, help="The most tokens that a session runs.", show_default="no limit"),
]
SessionSeconds = Annotated[
    float | None,
    typer.Option(min=1.0, help="The longest that a session lasts, in seconds.", show_default="no limit"),
]
MemoryMB = Annotated[
    int | None,
    typer.Option(
        "--memory-mb",
        min=64,
        help="The most memory of a worker beyond what it shares, in MiB; a session that needs more ends.",
        show_default="no limit",
    ),
]
Drain = Annotated[
    float,
    typer.Option(
        min=0.0,
        help="On SIGTERM or Ctrl-C nobody is admitted any more, and running sessions have so many seconds to "
        "end; told twice, it ends at once.",
    ),
]


Ray = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Processes run on the nodes of a Ray cluster, one a core: `auto` for the one that this machine "
        "is a node of, host:port of its head, or `local`. Clients must reach every node.",
    ),
]
InsecureRay = Annotated[
    bool,
    typer.Option(
        "--insecure-ray",
        help="INSECURE: a Ray cluster of several machines without TLS, where whoever is on the network can "
        "read what they say to each other.",
    ),
]


def cluster_of(address: str, *, insecure: bool) -> RayCluster:
    """The Ray cluster that an option names.

    Raises:
        ConfigError: Ray is not installed, or there is no such cluster.
        InsecureRefused: it has other machines and no TLS.
    """
    from mpcinfer.service.ray_cluster import RayCluster

    return RayCluster(address, insecure=insecure)


def limits_of(
    *,
    sessions: int | None,
    client_sessions: int | None,
    waiting: int,
    client_waiting: int | None,
    rate: float | None,
    drain: float,
    most_context: int | None = None,
    prompt_tokens: int | None = None,
    session_tokens: int | None = None,
    session_seconds: float | None = None,
    memory_mb: int | None = None,
    one_at_a_time: bool = False,
) -> Limits:
    """What the options say.

    Args:
        one_at_a_time: sessions use something that only one can have.
    """
    return Limits(
        sessions=1 if one_at_a_time else sessions or os.cpu_count() or 1,
        client_sessions=client_sessions,
        waiting=waiting,
        client_waiting=client_waiting,
        rate=rate,
        drain_s=drain,
        context=most_context,
        prompt_tokens=prompt_tokens,
        session_tokens=session_tokens,
        session_s=session_seconds,
        memory_bytes=None if memory_mb is None else memory_mb << 20,
    )


def allowed(folder: Path | None, key: Path | None, role: str) -> Path:
    """Who may connect, of the two ways to say it.

    Raises:
        ConfigError: neither was said, or both.
    """
    given = [place for place in (folder, key) if place is not None]
    if len(given) != 1:
        raise ConfigError(f"say who may connect: --{role}s FOLDER, or --{role}-key FILE, and not both")
    return given[0]
