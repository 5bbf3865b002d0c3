"""What a suite deals ahead of time for a dealer's store, and what the store is to it during a session."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpcinfer.backends.parts import Pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The passes of a conversation, one after the other: a prompt's, then `passes` - 1 alike.

    Attributes:
        tokens: of the first pass.
        passes: with the first.
        then_tokens, then_rows: of each pass after it; the last `then_rows` have results.
    """

    tokens: int
    passes: int = 1
    then_tokens: int = 1
    then_rows: int = 1

    def shapes(self, start: int) -> list[Pass]:
        """The passes, the first from that position on."""
        first, step = Pass(start, self.tokens, 1), self.then_tokens
        return [
            first,
            *(Pass(start + self.tokens + i * step, step, self.then_rows) for i in range(self.passes - 1)),
        ]

    @classmethod
    def followed(cls, passes: Sequence[Pass]) -> Schedule | None:
        """What the longest beginning of a session's passes has in common with a schedule; None for no
        beginning."""
        if not passes or passes[0].rows != 1:
            return None
        first, *later = passes
        if not later:
            return cls(tokens=first.tokens)
        schedule = cls(
            tokens=first.tokens, passes=len(passes), then_tokens=later[0].tokens, then_rows=later[0].rows
        )
        alike = 0
        for expected, got in zip(schedule.shapes(first.start), passes, strict=True):
            if expected != got:
                break
            alike += 1
        return cls(
            tokens=first.tokens,
            passes=alike,
            then_tokens=schedule.then_tokens,
            then_rows=schedule.then_rows,
        )

    @classmethod
    def usual(cls, seen: Sequence[Schedule]) -> Schedule:
        """What to deal for next: steps as most had them, and as many as three in four did with.

        Args:
            seen: of sessions with the same first pass; not empty.
        """
        steps = Counter((each.then_tokens, each.then_rows) for each in seen if each.passes > 1)
        if not steps:
            return cls(tokens=seen[0].tokens)
        (tokens, rows), _ = steps.most_common(1)[0]
        lengths = sorted(each.passes for each in seen if (each.then_tokens, each.then_rows) == (tokens, rows))
        enough = lengths[(3 * len(lengths) - 1) // 4]
        return cls(tokens=seen[0].tokens, passes=enough, then_tokens=tokens, then_rows=rows)


class Stock(ABC):
    """A dealer's store, for one session."""

    @abstractmethod
    def take(self, suite: str, program: Mapping[str, Any], tokens: int) -> Path | None:
        """A bundle that is this session's alone from now on, whatever happens; None where there is none.

        Args:
            program: what the session runs, as plain values, the same for the same program.
            tokens: of the first pass.

        Returns:
            Its folder, for the suite to open and to remove.
        """

    @abstractmethod
    def live(self) -> None:
        """What follows is dealt while the parties wait: it counts towards the client's quota."""

    @abstractmethod
    def ran(self, run: Pass) -> None:
        """A pass was dealt: what sessions want is learned from it."""

    @abstractmethod
    def report(self, problem: str) -> None:
        """Something that the operator should know; the session goes on."""
