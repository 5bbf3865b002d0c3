"""What a suite is asked to count, to deal ahead and to make ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from mpcinfer.models.attention_state import FeatureMap
from mpcinfer.models.batch import SINGLE, Batch

if TYPE_CHECKING:
    from mpcinfer.backends.parts import Part, Pass
    from mpcinfer.models.config import ModelConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What is to be counted.

    Attributes:
        config: folded as the plan wants it.
        passes: one after the other, over one cache.
        max_context: the most tokens of the session.
        part: of the model.
        ranges: calibrated; None for shapes without weights.
        check_ranges: every pass is evaluated twice.
        batch: sequences of every pass.
        public_prefix: tokens of a public prefix, which all passes follow.
        prefix: features of what every query sees besides; None for nothing.
    """

    config: ModelConfig
    passes: Sequence[Pass]
    max_context: int
    part: Part
    ranges: Mapping[str, float] | None
    check_ranges: bool = False
    batch: Batch = SINGLE
    public_prefix: int = 0
    prefix: FeatureMap | None = None


@runtime_checkable
class Elsewhere(Protocol):
    """Where work runs that is cut into jobs: processes of this machine or of others, all of this party."""

    def run(
        self, task: Callable[..., Iterable[Any]], jobs: Sequence[tuple[Any, ...]]
    ) -> Iterator[tuple[int, Any]]:
        """Pieces that a function makes of each job's arguments, with the job's number; those of one job in
        order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """Conversations to deal for before anybody asks.

    Attributes:
        prompt: tokens of every prompt.
        answer: the most new tokens of every answer.
        count: conversations.
        batch: prompts of every pass; padded ones may have fewer tokens.
        out: a new or empty folder; `out`/server and `out`/client are for the parties.
        command: what the parties are told to run for more.
        prefix: features of the prefix that conversations have; None for none.
        on_progress: is told how many passes are dealt, of how many, and how many bytes that is.
        elsewhere: deals a conversation a job; None to deal here.
    """

    prompt: int
    answer: int
    count: int
    out: Path
    command: str
    batch: Batch = SINGLE
    prefix: FeatureMap | None = None
    on_progress: Callable[[int, int, int], None] | None = None
    elsewhere: Elsewhere | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Correlations that two parties make together and keep, for conversations to come.

    Attributes:
        out: a new or empty folder of this party's.
        command: makes more like these at this party.
        lengths: at the client, tokens of each pass of a conversation; the server hears them.
        count: at the client, conversations.
        on_progress: is told how many bundles are made, of how many, and their bytes at this party.
    """

    out: Path
    command: str
    lengths: Sequence[int] = ()
    count: int = 0
    on_progress: Callable[[int, int, int], None] | None = None
