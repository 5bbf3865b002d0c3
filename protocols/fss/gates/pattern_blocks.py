"""Which keys the queries of every head see, where each head has a pattern of its own.

Heads see different keys, so that their rows lie end to end in one axis: queries [.., H T, K] and keys
[.., H S, K], and what is packed of all of them is a vector. `CausalProduct` and `CausalMix` run on it as on
`CausalBlocks`. Products are made for some rows of a head at once, with the keys that any of these sees.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch

from protocols.fss.executors.gate import Shape
from protocols.kernels.ring_products import ring_bmm
from protocols.key_masks import pattern_mask
from protocols.key_pattern import KeyPattern, all_lengths

_GROUP_ROWS = 128
"""As `causal.GROUP_ROWS`."""


@dataclass(frozen=True)
class PatternBlocks:
    """The last T of S positions, for H heads, in a single block.

    Attributes:
        patterns: a head's each; none of them drops it.
        tokens: T.
        positions: S.
    """

    patterns: tuple[KeyPattern, ...]
    tokens: int
    positions: int

    @property
    def queries(self) -> int:
        """H T."""
        return len(self.patterns) * self.tokens

    @property
    def keys(self) -> int:
        """H S."""
        return len(self.patterns) * self.positions

    @cached_property
    def lengths(self) -> tuple[int, ...]:
        """How many keys each query sees."""
        return all_lengths(self.patterns, self.positions - self.tokens, self.tokens)

    @property
    def blocks(self) -> tuple[slice, ...]:
        """Rows of the block."""
        return (slice(0, self.queries),)

    def shapes(self, leading: Sequence[int]) -> list[Shape]:
        """Of what is packed."""
        return [(*leading, sum(self.lengths))]

    def per_head(self) -> tuple[int, ...]:
        """How many packed elements are each head's."""
        heads = range(0, self.queries, self.tokens)
        return tuple(sum(self.lengths[first : first + self.tokens]) for first in heads)

    def products(self, q: torch.Tensor, k: torch.Tensor, ring_bits: int) -> Iterator[torch.Tensor]:
        """q k^T of [.., H T, K] and [.., H S, K], packed."""
        parts: list[torch.Tensor] = []
        for rows, seen, entries in self._groups:
            matrix = ring_bmm(q[..., rows, :], k[..., seen, :].transpose(-1, -2), ring_bits)
            parts.append(matrix.flatten(-2)[..., entries])
        yield torch.cat(parts, -1)

    def sizes(self, q: torch.Tensor, k: torch.Tensor) -> Iterator[torch.Tensor]:
        """What `products` has, in floating point, in parts."""
        for rows, seen, entries in self._groups:
            matrix = q[..., rows, :].double() @ k[..., seen, :].double().transpose(-1, -2)
            yield matrix.flatten(-2)[..., entries]

    def unpacked(self, packed: Sequence[torch.Tensor]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The rows of what is packed, group by group, with zeros, and the keys that a group sees: [.., rows,
        keys]."""
        (whole,) = packed
        first = 0
        for rows, seen, entries in self._groups:
            count, columns = rows.stop - rows.start, len(seen)
            matrix = whole.new_zeros((*whole.shape[:-1], count * columns))
            matrix[..., entries] = whole[..., first : first + len(entries)]
            yield matrix.unflatten(-1, (count, columns)), seen
            first += len(entries)

    @property
    def _groups(self) -> list[tuple[slice, torch.Tensor, torch.Tensor]]:
        return _groups(self.patterns, self.tokens, self.positions)


@lru_cache(maxsize=64)
def _groups(
    patterns: tuple[KeyPattern, ...], tokens: int, positions: int
) -> list[tuple[slice, torch.Tensor, torch.Tensor]]:
    """Rows whose products are made at once, the keys that any of them sees, and of the matrix of both, row
    after row, the entries that are seen."""
    groups: list[tuple[slice, torch.Tensor, torch.Tensor]] = []
    for head, visible in enumerate(pattern_mask(patterns, positions - tokens, tokens)):
        for first in range(0, tokens, _GROUP_ROWS):
            shown = visible[first : first + _GROUP_ROWS]
            seen = shown.any(0).nonzero().squeeze(1)
            entries = shown[:, seen].flatten().nonzero().squeeze(1)
            start = head * tokens + first
            groups.append((slice(start, start + len(shown)), seen + head * positions, entries))
    return groups
