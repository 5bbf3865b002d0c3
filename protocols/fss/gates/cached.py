"""Cached keys and values: each later token multiplies with them, and nothing is dealt for them twice.

The additive shares of a kept value are one sharing, used in many products. Nobody learns from that: a party's
summand is uniform, and it never leaves the party but in results of products, each of which the dealer has
shared afresh (`both` in `causal.py`), and which are opened under masks of their own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from protocols.fss.executors.executor import Executor
from protocols.fss.gates.polynomial import Product
from protocols.meta_tensors import end_to_end
from protocols.share import Share

_MORE_ROWS = 64
"""Room for so many more rows, or a quarter of those that there are, is made at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class CachedShare(Share):
    """A masked value [.., S, K], with additive shares of it.

    Attributes:
        own: this party's summand, int64 of the same shape; no data at the dealer.
        buffers: longer arrays of which `value` and `own` are the first S rows, or none. Rows behind them may
            be
            written by whoever appends: of what was appended to the same value twice only the later is valid.
    """

    own: torch.Tensor = field(kw_only=True)
    buffers: tuple[torch.Tensor, torch.Tensor] | None = field(kw_only=True, default=None)

    @property
    def summand(self) -> Share:
        """The additive share."""
        return Share(self.own, self.frac_bits, self.ring_bits)

    def first_rows(self, count: int) -> CachedShare:
        return dataclasses.replace(self, value=self.value[..., :count, :], own=self.own[..., :count, :])

    def reduced(self, ring_bits: int) -> CachedShare:
        """The same in a narrower ring, for products in it."""
        assert ring_bits <= self.ring_bits
        return dataclasses.replace(self, ring_bits=ring_bits, buffers=None)

    def arranged(self, arrange: Callable[[torch.Tensor], torch.Tensor]) -> CachedShare:
        """Its elements moved about, as `Executor.map` does."""
        return dataclasses.replace(self, value=arrange(self.value), own=arrange(self.own), buffers=None)

    def appended(self, more: CachedShare) -> CachedShare:
        """With more rows, written behind these where there is room."""
        assert (self.frac_bits, self.ring_bits) == (more.frac_bits, more.ring_bits)
        pairs = list(
            zip(self.buffers or (None, None), (self.value, self.own), (more.value, more.own), strict=True)
        )
        buffers = [_buffer(buffer, rows, new.shape[-2]) for buffer, rows, new in pairs]
        value, own = (
            _written(buffer, rows, new) for buffer, (_, rows, new) in zip(buffers, pairs, strict=True)
        )
        return dataclasses.replace(self, value=value, own=own, buffers=(buffers[0], buffers[1]))


def to_cached(executor: Executor, x: Share) -> CachedShare:
    """A masked value with additive shares of it.

    Cost: no round, nothing online; ring_bits an element of key, once.
    """
    own = executor.one(Product(x.ring_bits), x)
    return CachedShare(x.value, x.frac_bits, x.ring_bits, x.held, own=own.value)


def _buffer(buffer: torch.Tensor | None, rows: torch.Tensor, more: int) -> torch.Tensor:
    """An array that begins with these rows and has room for more."""
    count = rows.shape[-2]
    if rows.is_meta or (buffer is not None and buffer.shape[-2] >= count + more):
        return rows if buffer is None else buffer
    spare = more + max(_MORE_ROWS, count // 4)
    larger = rows.new_empty((*rows.shape[:-2], count + spare, rows.shape[-1]))
    larger[..., :count, :] = rows
    return larger


def _written(buffer: torch.Tensor, rows: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    if new.is_meta or rows.is_meta:
        return end_to_end([rows, new], -2)
    end = rows.shape[-2] + new.shape[-2]
    buffer[..., rows.shape[-2] : end, :] = new
    return buffer[..., :end, :]
