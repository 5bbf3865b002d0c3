"""What a token costs over keys and values, and over a state into which they move: counted, and from which
context on the state sends less."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mpcinfer.backends.parts import Pass
from mpcinfer.models.attention_state import feature_count
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.fold import as_run
from mpcinfer.models.state_cache import require_states
from mpcinfer.suites.registry import suite_of
from mpcinfer.suites.requests import Run
from parties.errors import ConfigError
from protocols.plan import Plan

_WORD = 8
"""Bytes of a number in memory; of what is kept a party has the masked value and its own summand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """`first` + n `each` of n tokens before."""

    first: float
    each: float

    def at(self, tokens: int) -> float:
        return self.first + tokens * self.each


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCost:
    """One pass of a token after n others.

    Attributes:
        kept: online bytes, both ways together, over keys and values.
        state: the same over a state, the mean over a chunk.
        kept_offline, state_offline: what is dealt and sent ahead.
        kept_rounds, state_rounds: rounds, the latter on average.
        kept_memory: bytes of keys and values at a party.
        state_memory: the most that a state takes, with a chunk of keys and values beside it.
    """

    kept: Linear
    state: float
    kept_offline: Linear
    state_offline: float
    kept_rounds: float
    state_rounds: float
    kept_memory: Linear
    state_memory: int

    def break_even(self) -> int:
        """From so many tokens on a token over a state sends less online."""
        return _crossing(self.kept, self.state)

    def offline_break_even(self) -> int:
        """The same of bytes ahead of time."""
        return _crossing(self.kept_offline, self.state_offline)

    def memory_break_even(self) -> int:
        """The same of memory at a party."""
        return _crossing(self.kept_memory, float(self.state_memory))


def token_cost(
    config: ModelConfig,
    plan: Plan,
    *,
    ranges: Mapping[str, float] | None = None,
    max_context: int | None = None,
) -> TokenCost:
    """Counts passes of a token, over a few tokens and over more: bytes over keys and values grow with their
    number exactly, but for bits that fill a byte.

    Args:
        plan: with a chunk.
        max_context: of the session, which rings depend on; None for the model's.

    Raises:
        ConfigError: the plan keeps keys and values, the model has no states, or a maximum context of less
            than two chunks and two tokens.
    """
    require_states(config, plan.chunk)
    room, chunk = max_context or config.context, plan.chunk
    if room < 2 * chunk + 2:
        raise ConfigError(
            f"a state of chunks of {chunk} tokens needs a context of {2 * chunk + 2}, not {room}"
        )
    counted = _Counter(config, plan, ranges or None, room)
    kept_at = (room // 4, room // 2)
    kept = [counted.token(dataclasses.replace(plan, chunk=0), n) for n in kept_at]
    moving, *after = (counted.token(plan, chunk + more) for more in range(min(chunk, 3)))
    means = [_mean(chunk, moving[i], [each[i] for each in after]) for i in range(3)]
    lines = [_through(kept_at, [each[i] for each in kept]) for i in range(2)]
    return TokenCost(
        kept=lines[0],
        state=means[0],
        kept_offline=lines[1],
        state_offline=means[1],
        kept_rounds=kept[0][2],
        state_rounds=means[2],
        kept_memory=Linear(first=0.0, each=float(kept_bytes(config))),
        state_memory=state_bytes(config) + (chunk * kept_bytes(config)),
    )


def kept_bytes(config: ModelConfig) -> int:
    """Bytes at a party of a token's keys and values."""
    return 2 * 2 * _WORD * config.layers * config.kv_heads * config.head_width


def state_bytes(config: ModelConfig) -> int:
    """Bytes at a party of a model's states."""
    shifted = config.attention_offset or bool(config.attention_shift)
    rows = feature_count("pairs", config.head_width, shifted=shifted)
    heads = config.heads if config.attention_offset else config.kv_heads
    return 2 * _WORD * config.layers * heads * rows * (config.head_width + 1)


@dataclass(frozen=True, slots=True, eq=False)
class _Counter:
    """Counts the online bytes, offline bytes and rounds of single passes."""

    config: ModelConfig
    plan: Plan
    ranges: Mapping[str, float] | None
    max_context: int

    def token(self, plan: Plan, before: int) -> tuple[float, float, float]:
        """Of a pass of one token after so many, those after the first chunk in passes of their own."""
        chunk = plan.chunk or before
        lead = [Pass(0, chunk, 1), *(Pass(at, 1, 1) for at in range(chunk, before))]
        less, more = (self._total(plan, passes) for passes in (lead, [*lead, Pass(before, 1, 1)]))
        return (float(more[0] - less[0]), float(more[1] - less[1]), float(more[2] - less[2]))

    def _total(self, plan: Plan, passes: Sequence[Pass]) -> tuple[int, int, int]:
        run = Run(
            config=as_run(self.config, None, folds=plan.fold)[0],
            passes=passes,
            max_context=self.max_context,
            part="all",
            ranges=self.ranges,
        )
        total = suite_of(plan).count(plan, run).total
        online = total.online_bytes_to_server + total.online_bytes_to_client
        return online, total.offline_bytes_to_server + total.offline_bytes_to_client, total.rounds


def _mean(chunk: int, moving: float, after: Sequence[float]) -> float:
    """Over a chunk of passes: the first moves the chunk before it, the others grow by a key each."""
    if chunk == 1:
        return moving
    grows = after[1] - after[0] if len(after) > 1 else 0.0
    rest = (chunk - 1) * after[0] + grows * (chunk - 1) * (chunk - 2) / 2
    return (moving + rest) / chunk


def _through(at: Sequence[int], found: Sequence[float]) -> Linear:
    each = (found[1] - found[0]) / (at[1] - at[0])
    return Linear(first=found[0] - at[0] * each, each=each)


def _crossing(kept: Linear, state: float) -> int:
    return max(0, math.ceil((state - kept.first) / kept.each))
