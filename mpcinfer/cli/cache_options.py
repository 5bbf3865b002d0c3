"""How keys and values are kept, as commands are told."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer

from mpcinfer.plans import CACHE, CHUNK
from parties.errors import ConfigError


class CacheKind(StrEnum):
    """What becomes of keys and values of tokens before."""

    KV = "kv"
    STATE = "state"


Cache = Annotated[
    CacheKind,
    typer.Option(
        "--cache",
        help="How keys and values are kept: 'kv' as they are; 'state', for models with attention of power 2 "
        "under plans fss, as sums over pairs of keys, whose size does not grow. The same at both parties.",
    ),
]
Chunk = Annotated[
    int | None,
    typer.Option(
        "--chunk",
        min=1,
        metavar="N",
        help="With --cache state: so many tokens stay keys and values before they move into the state "
        "together, which is then opened anew.",
        show_default=str(CHUNK),
    ),
]


def with_cache(choices: Sequence[str] | None, cache: CacheKind, chunk: int | None) -> list[str]:
    """The choices of a plan, that of the cache among them, as `plan_from` takes them.

    Raises:
        ConfigError: a chunk without a state.
    """
    if cache is CacheKind.STATE:
        return [*(choices or ()), f"{CACHE}={cache.value}:{chunk or CHUNK}"]
    if chunk is not None:
        raise ConfigError("--chunk: keys and values move nowhere with --cache kv; take --cache state")
    return list(choices or ())
