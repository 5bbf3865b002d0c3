"""Speculative decoding: drafts of the tokens to come, made in the clear by whoever holds the text.

One pass over a token and N drafts costs as many rounds as one over the token alone, and gives as many tokens
as the model's own choices confirm, and the one after them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from parties.errors import ConfigError

Draft = Callable[[Sequence[int], int], Sequence[int]]
"""Token ids so far, and the most that are wanted -> guesses of those to come, or none."""

MOST_DRAFTS = 64
LONGEST, SHORTEST = 8, 2

NO_FOLDER = (
    "correlations from a folder are for passes that were scheduled, one token after the other; with drafts "
    "nobody foresees the passes: let a dealer make the correlations (--dealer and --dealer-key instead of "
    "--correlations), or leave --speculate out"
)


def look_up(text: Sequence[int], count: int) -> list[int]:
    """What followed the last time that the text went as it does at its end; empty where it never did.

    The longest ending of `SHORTEST` to `LONGEST` tokens that came before decides, its last occurrence if
    there are several. Where that reaches into the drafts, they go on with themselves: of "1 2 1 2" the next
    are "1 2 1 2 1 ...".

    Source: prompt look-up decoding (Saxena 2023).
    """
    places = range(len(text) - 1, 0, -1)  # where a repetition would go on, the last one first
    best = max(places, key=lambda place: _alike(text, place), default=0)
    if _alike(text, best) < SHORTEST:
        return []
    drafted = list(text)
    for place in range(best, best + count):
        drafted.append(drafted[place])
    return drafted[len(text) :]


def _alike(text: Sequence[int], place: int) -> int:
    """How many tokens before a place are those at the end, up to `LONGEST`."""
    same = 0
    while same < min(place, LONGEST) and text[place - 1 - same] == text[-1 - same]:
        same += 1
    return same


@dataclass(slots=True, kw_only=True)
class Speculation:
    """How the token loop drafts, and what came of it.

    Attributes:
        most: drafts a pass, 0 to 64.
        draft: makes them.
        passes: passes that had drafts.
        drafted, accepted: tokens, of all of them.
    """

    most: int
    draft: Draft = look_up
    passes: int = 0
    drafted: int = 0
    accepted: int = 0

    def to_json(self) -> dict[str, int]:
        """What came of it."""
        return {"passes": self.passes, "drafted": self.drafted, "accepted": self.accepted}

    def __post_init__(self) -> None:
        if not 0 <= self.most <= MOST_DRAFTS:
            raise ConfigError(f"a pass has from 0 to {MOST_DRAFTS} drafts, not {self.most}")

    def drafts(self, text: Sequence[int], room: int, stop: Collection[int]) -> list[int]:
        """The next pass's drafts: at most `room`, and none from a stop token on, which needs no pass."""
        wanted = min(self.most, room)
        found = list(self.draft(text, wanted))[:wanted] if wanted > 0 else []
        ends = next((place for place, token in enumerate(found) if token in stop), len(found))
        drafts = found[:ends]
        self.passes += bool(drafts)
        self.drafted += len(drafts)
        return drafts


def speculation(most: int, draft: Draft = look_up) -> Speculation | None:
    """With `most` drafts a pass; None for 0.

    Raises:
        ConfigError: less than 0, or more than 64.
    """
    return Speculation(most=most, draft=draft) if most else None
