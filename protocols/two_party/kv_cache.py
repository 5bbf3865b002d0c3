"""Keys and values that stay: opened once under masks that stay too, and multiplied by all later queries.

With d = k - r opened once, and e = q - s for each query: q k = e k + s d + s r, where the first two terms are
each party's own, and shares of s r are made ahead: a linear layer of r's owner, not a product of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from parties.errors import ConfigError, CorrelationExhausted
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.kernels.ring_products import ring_bmm
from protocols.meta_tensors import end_to_end
from protocols.share import Share


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """A left factor's mask, and its product with the masks of a right one.

    Attributes:
        mask: this party's summand of s [..., H, T, n].
        product: its share of s r [..., H, T, m].
    """

    mask: torch.Tensor
    product: torch.Tensor
    _used: list[bool] = dataclasses.field(default_factory=lambda: [False], init=False)

    def use(self) -> None:
        """Marks the mask as used: another number under it would tell of both.

        Raises:
            CorrelationExhausted: it was used before.
        """
        if self._used[0]:
            raise CorrelationExhausted("masks of attention weights serve once")
        self._used[0] = True


@dataclass(frozen=True, slots=True, eq=False)
class Queries(Share):
    """Queries [..., H, T, K] that were opened minus their masks.

    Attributes:
        opened: e.
        factor: s, and s r.
    """

    opened: torch.Tensor = dataclasses.field(kw_only=True)
    factor: Factor = dataclasses.field(kw_only=True)


@dataclass(frozen=True, slots=True, eq=False)
class Cached(Share):
    """Keys or values [..., H_kv, S, K] that were opened minus their masks.

    Attributes:
        opened: d, of the same shape.
        bits: of the ring of products with them.
        factor: of the weights that multiply values next; None for keys.
    """

    opened: torch.Tensor = dataclasses.field(kw_only=True)
    bits: int = dataclasses.field(kw_only=True)
    factor: Factor | None = dataclasses.field(kw_only=True, default=None)

    def first_rows(self, count: int) -> Cached:
        """Without what multiplies them next, which was of tokens that are forgotten."""
        rows = self.arranged(lambda value: value[..., :count, :])
        return dataclasses.replace(rows, factor=None)

    def arranged(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Cached:
        """With its elements moved about."""
        return dataclasses.replace(self, value=change(self.value), opened=change(self.opened))

    def appended(self, more: Cached) -> Cached:
        """With more rows; what multiplies all of them next is theirs."""
        value, opened = end_to_end([self.value, more.value], -2), end_to_end([self.opened, more.opened], -2)
        return dataclasses.replace(more, value=value, opened=opened)


class CachingArithmetic(Arithmetic):
    """Local steps that know of cached factors."""

    def rearrange(self, a: Share, change: Callable[[torch.Tensor], torch.Tensor]) -> Share:
        """See `Arithmetic.rearrange`."""
        return a.arranged(change) if isinstance(a, Cached) else super().rearrange(a, change)

    def take_heads(self, a: Share, numbers: Sequence[int]) -> Share:
        """See `Arithmetic.take_heads`.

        Raises:
            ConfigError: of cached factors, whose masks have been multiplied for as many queries each.
        """
        if isinstance(a, Cached):
            raise ConfigError(
                "patterns: two-party keeps keys under masks for groups of heads, so that as many heads must "
                "be left for each head of keys; drop as many of every group, or take a plan with a dealer"
            )
        return super().take_heads(a, numbers)

    def concat(self, parts: Sequence[Share], axis: int) -> Share:
        """See `Arithmetic.concat`; of cached factors along the axis before the last."""
        if not isinstance(parts[0], Cached):
            return super().concat(parts, axis)
        joined = parts[0]
        for part in parts[1:]:
            assert axis == -2
            assert isinstance(part, Cached)
            joined = joined.appended(part)
        return joined


def product_share(opened: torch.Tensor, factor: Factor, right: Cached) -> torch.Tensor:
    """This party's share of a left factor times a cached one [..., H, n, m]."""
    return factor.product + ring_bmm(opened, right.value) + ring_bmm(factor.mask, right.opened)
