"""Options on which lengths of prompts a server sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from mpcinfer.cli.options import Local
from mpcinfer.models.buckets import DEFAULT_BUCKETS, Buckets
from parties.errors import ConfigError

Sizes = Annotated[
    str | None,
    typer.Option(
        "--buckets",
        metavar="LIST",
        help="Pad prompts to the next of these numbers of tokens, such as 32,128,512 (or `default`), so that "
        "the server learns that and not their length. The bill has what it cost.",
        show_default="with --server, what the server asks for, where that is possible; otherwise none",
    ),
]
ExactLengths = Annotated[
    bool,
    typer.Option(
        "--exact-lengths",
        help="No padding: the server learns how many tokens a prompt has.",
    ),
]
ServedSizes = Annotated[
    str,
    typer.Option(
        "--buckets",
        metavar="LIST",
        help="Numbers of tokens that clients are asked to pad prompts to, such as 32,128,512; `default` for "
        "16, 32, 64 and so on, `none` for exact lengths. Clients decide.",
    ),
]


@dataclass(frozen=True, slots=True)
class WantedLengths:
    """What the command line says.

    Attributes:
        buckets: as for `connect_client`.
        ask: the server is asked for its own.
    """

    buckets: Buckets | None = None
    ask: bool = False


NOTHING_SAID = WantedLengths()
"""Exact lengths, as nobody asked for others."""


def wanted_lengths(
    sizes: str | None, local: Local | None, *, exact: bool = False, verify: bool = False
) -> WantedLengths:
    """What --buckets and --exact-lengths say; where they say nothing, a server elsewhere is asked.

    Args:
        verify: the answer will be compared with the reference's, which has no padding.

    Raises:
        ConfigError: both, or buckets for a run that has no use for them.
    """
    if sizes is not None:
        if exact:
            raise ConfigError("--buckets and --exact-lengths: take one of them")
        if local is Local.PLAIN or local is Local.FIXED:
            raise ConfigError(
                f"--buckets: with --local {local.value} there is no server to hide lengths from"
            )
        buckets = Buckets.parse(sizes, "--buckets none")
        if verify and buckets.sizes:
            raise ConfigError("--verify compares with a reference without padding: leave --buckets out")
        return WantedLengths(buckets)
    if local is not None:
        return NOTHING_SAID
    if exact or verify:
        return WantedLengths(
            Buckets((), why="--exact-lengths" if exact else "--verify compares without padding")
        )
    return WantedLengths(DEFAULT_BUCKETS, ask=True)
