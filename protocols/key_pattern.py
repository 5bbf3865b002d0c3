"""Which keys the queries of a head see, as a public function of their positions.

A query at position i, which would see n = i + 1 keys, sees budget(n) = ceil(alpha n^C) of them: the first
(sinks), the last (a local window, its own key among them) and, where a part of the budget is for these, keys
that are evenly spread between. Nothing depends on data, so that keys which are not seen are neither computed
with, opened, nor dealt for; and none depends on later tokens, so that keys and values can be kept.

Source: ceil(alpha n^C) after Deng, Song, Xiong and Yang (arXiv 2404.02690); sinks and a local window as in
    StreamingLLM (Xiao et al., arXiv 2309.17453). Keys spread between them are this project's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from parties.errors import ConfigError

MOST_ALPHA = 2.0**24
"""More than any context has keys."""
_SLACK = 2.0**-20
"""Taken off alpha n^C before it is rounded up: machines need not agree on its last bit."""


@dataclass(frozen=True, slots=True)
class KeyPattern:
    """What a head's queries see.

    Attributes:
        alpha, exponent: alpha > 0 and 0 < C <= 1 of the budget; 1 and 1 for all keys.
        sinks: so many of the first keys are seen, where the budget holds them and a query's own.
        strided: the share of the rest of the budget, 0 to below 1, that is spread between sinks and window.
        dropped: the head sees nothing, and its output is zero.

    Raises:
        ConfigError: numbers outside of these.
    """

    alpha: float = 1.0
    exponent: float = 1.0
    sinks: int = 0
    strided: float = 0.0
    dropped: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= MOST_ALPHA:
            raise ConfigError(
                f"a key pattern's alpha is {self.alpha}: above 0, or its queries see no key, up to 2^24"
            )
        if not 0 < self.exponent <= 1:
            raise ConfigError(f"a key pattern's exponent is {self.exponent}: above 0 and at most 1")
        if self.sinks < 0:
            raise ConfigError(f"a key pattern has {self.sinks} sinks: 0 or more")
        if not 0 <= self.strided < 1:
            raise ConfigError(f"a key pattern's strided share is {self.strided}: from 0 to below 1")

    def budget(self, seen: int) -> int:
        """How many of `seen` keys a query sees, from 1 to all."""
        return min(seen, max(1, math.ceil(self.alpha * seen**self.exponent - _SLACK)))

    def keys(self, position: int) -> list[int]:
        """The keys that the query at a position sees, in order, its own last."""
        seen = position + 1
        return keys_within(seen, self.budget(seen), self.sinks, self.strided)


def keys_within(seen: int, budget: int, sinks: int, strided: float) -> list[int]:
    """`budget` of the first `seen` keys, 1 to all: the first, the last, and some spread between."""
    if budget >= seen:
        return list(range(seen))
    first = min(sinks, budget - 1)
    spread = math.floor(strided * (budget - first))
    local = budget - first - spread
    gap = seen - first - local
    between = [first + (2 * i + 1) * gap // (2 * spread) for i in range(spread)]
    return [*range(first), *between, *range(seen - local, seen)]


@lru_cache(maxsize=4096)
def pattern_lengths(pattern: KeyPattern, start: int, count: int) -> tuple[int, ...]:
    """How many keys each of `count` queries from position `start` on sees."""
    return tuple(pattern.budget(seen) for seen in range(start + 1, start + count + 1))


def all_lengths(patterns: Sequence[KeyPattern], start: int, count: int) -> tuple[int, ...]:
    """`pattern_lengths` of all heads, one after the other."""
    return tuple(length for each in patterns for length in pattern_lengths(each, start, count))
