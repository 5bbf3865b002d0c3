"""Key patterns as masks: which keys each query of each head sees."""

from __future__ import annotations

from functools import lru_cache

import torch

from protocols.key_pattern import KeyPattern


@lru_cache(maxsize=128)
def pattern_mask(patterns: tuple[KeyPattern, ...], start: int, count: int) -> torch.Tensor:
    """Which of start + count keys each query of each head sees: bool [H, count, start + count]."""
    return torch.stack([_mask(pattern, start, count) for pattern in patterns])


@lru_cache(maxsize=256)
def _mask(pattern: KeyPattern, start: int, count: int) -> torch.Tensor:
    seen = torch.zeros(count, start + count, dtype=torch.bool)
    if not pattern.dropped:
        for row in range(count):
            seen[row, pattern.keys(start + row)] = True
    return seen
