"""Sums over products of pairs of masked numbers: what keys leave in a state, and what queries read from it.

Pairs are x_a x_b, a <= b, of a row x of K: R = K (K + 1) / 2. With xh = x + r and sh = s + m,

    x_a x_b s  =  xh_a xh_b s  -  (xh_a r_b + r_a xh_b) sh  +  r_a r_b sh  +  xh_a (r_b m) + xh_b (r_a m)
                  - r_a r_b m,

where a party has a summand of s, and the dealer shares r, r_a r_b, and what has m in it, added up as far as
its public factors are the same. Pairs are opened nowhere.

Source: a Beaver triple (CRYPTO '91) of three factors, one a matrix; derived here.
"""

from __future__ import annotations

from typing import ClassVar, final

import torch

from protocols.fss.executors.clear_side import ClearSide
from protocols.fss.executors.dealer_side import DealerSide
from protocols.fss.executors.gate import Gate, Shares, shape_only
from protocols.fss.executors.party_side import PartySide
from protocols.fss.preprocessing.correlations import Correlations, Shape, Shared
from protocols.kernels.ring_products import ring_bmm
from protocols.share import Share


def pair_count(width: int) -> int:
    """R."""
    return width * (width + 1) // 2


def pairs_of(x: torch.Tensor) -> torch.Tensor:
    """x_a x_b of rows [.., K], a <= b, row by row of the triangle: [.., R]."""
    first, second = torch.triu_indices(x.shape[-1], x.shape[-1])
    return x[..., first] * x[..., second]


@final
class ReadPairs(Gate):
    """Pairs of masked rows [.., T, K] times a masked matrix [.., R, C]: additive [.., T, C].

    Inputs: rows, the matrix, and additive shares of it, all in one ring.
    Cost: no round, nothing online. Key, to the server: ring_bits an element of rows, pairs, T K C and of
        the result.
    Reveals: nothing.
    """

    reason: ClassVar[str] = "pairs"

    def correlations(self, *inputs: Share) -> Correlations:
        x, s, own = inputs
        ring, rows, columns = x.ring_bits, x.shape[:-1], s.shape[-1]
        assert ring == s.ring_bits == own.ring_bits
        assert s.shape[-2] == pair_count(x.shape[-1])
        assert s.shape[:-2] == x.shape[:-2]
        return {
            "rows": Shared(x.shape, ring),
            "pairs": Shared((*rows, s.shape[-2]), ring),
            "both": Shared((*rows, x.shape[-1] * columns), ring),
            "all": Shared((*rows, columns), ring),
        }

    def outputs(self, *inputs: Share) -> Shares:
        x, s, _ = inputs
        return (shape_only((*x.shape[:-1], s.shape[-1]), 2 * x.frac_bits + s.frac_bits, x.ring_bits),)

    def run(self, party: PartySide, *inputs: Share) -> Shares:
        x, s, own = inputs
        rows, pairs, both, rest = (party.shared(item) for item in self.correlations(*inputs).values())
        result = ring_bmm(pairs_of(x.value), own.value, x.ring_bits)
        result += ring_bmm(pairs - _mixed(x.value, rows), s.value, x.ring_bits)
        both = both.reshape(*x.shape, s.shape[-1])
        result += (x.value.unsqueeze(-1) * both).sum(-2)
        return (Share(result + rest, 2 * x.frac_bits + s.frac_bits, x.ring_bits),)

    def deal(self, dealing: DealerSide, *inputs: Share) -> Shares:
        x, s, _ = inputs
        width = x.shape[-1]
        symmetric = s.value[..., _places(width), :] * (1 + torch.eye(width, dtype=torch.int64)).unsqueeze(-1)
        values = (
            x.value,
            pairs_of(x.value),
            ring_bmm(x.value, symmetric.flatten(-2), x.ring_bits),
            -ring_bmm(pairs_of(x.value), s.value, x.ring_bits),
        )
        for item, value in zip(self.correlations(*inputs).values(), values, strict=True):
            dealing.share(item, value)
        return self.outputs(*inputs)

    def clear(self, clear: ClearSide, *inputs: Share) -> Shares:
        x, s, _ = inputs
        frac_bits = 2 * x.frac_bits + s.frac_bits
        sizes = pairs_of(x.value.double()) @ s.value.double()
        clear.check_magnitude(sizes, x.ring_bits, frac_bits)
        return (Share(ring_bmm(pairs_of(x.value), s.value, 64), frac_bits, x.ring_bits),)


@final
class SumOfPairs(Gate):
    """Sums over rows j of pairs of x_j, both orders of two numbers counted, times v_j: of masked rows
    [.., J, K] and [.., J, C], additive [.., R, C]. Products with `pairs_of` queries are squares of scores.

    Inputs: rows, values, and additive shares of the values, all in one ring.
    Cost: no round, nothing online. Key, to the server: ring_bits an element of rows, pairs, J K C and of
        the result.
    Reveals: nothing.
    """

    reason: ClassVar[str] = "sum of pairs"

    def correlations(self, *inputs: Share) -> Correlations:
        x, v, own = inputs
        ring, rows, pairs = x.ring_bits, x.shape[:-1], pair_count(x.shape[-1])
        assert ring == v.ring_bits == own.ring_bits
        assert v.shape[:-1] == rows
        return {
            "rows": Shared(x.shape, ring),
            "pairs": Shared((*rows, pairs), ring),
            "both": Shared((*rows, x.shape[-1] * v.shape[-1]), ring),
            "all": Shared(self._shape(x, v), ring),
        }

    def outputs(self, *inputs: Share) -> Shares:
        x, v, _ = inputs
        return (shape_only(self._shape(x, v), 2 * x.frac_bits + v.frac_bits, x.ring_bits),)

    def run(self, party: PartySide, *inputs: Share) -> Shares:
        x, v, own = inputs
        rows, pairs, both, rest = (party.shared(item) for item in self.correlations(*inputs).values())
        result = ring_bmm(pairs_of(x.value).transpose(-1, -2), own.value, x.ring_bits)
        result += ring_bmm((pairs - _mixed(x.value, rows)).transpose(-1, -2), v.value, x.ring_bits)
        cross = ring_bmm(x.value.transpose(-1, -2), both, x.ring_bits)
        cross = cross.reshape(*x.shape[:-2], x.shape[-1], x.shape[-1], v.shape[-1])
        first, second = torch.triu_indices(x.shape[-1], x.shape[-1])
        result += cross[..., first, second, :] + cross[..., second, first, :]
        return (self._twice(result + rest, *inputs),)

    def deal(self, dealing: DealerSide, *inputs: Share) -> Shares:
        x, v, _ = inputs
        pairs = pairs_of(x.value)
        values = (
            x.value,
            pairs,
            (x.value.unsqueeze(-1) * v.value.unsqueeze(-2)).flatten(-2),
            -ring_bmm(pairs.transpose(-1, -2), v.value, x.ring_bits),
        )
        for item, value in zip(self.correlations(*inputs).values(), values, strict=True):
            dealing.share(item, value)
        return self.outputs(*inputs)

    def clear(self, clear: ClearSide, *inputs: Share) -> Shares:
        x, v, _ = inputs
        sizes = 2 * (pairs_of(x.value.double()).transpose(-1, -2) @ v.value.double())
        clear.check_magnitude(sizes, x.ring_bits, 2 * x.frac_bits + v.frac_bits)
        return (self._twice(ring_bmm(pairs_of(x.value).transpose(-1, -2), v.value, 64), *inputs),)

    def _shape(self, x: Share, v: Share) -> Shape:
        return (*x.shape[:-2], pair_count(x.shape[-1]), v.shape[-1])

    def _twice(self, sums: torch.Tensor, x: Share, v: Share, own: Share) -> Share:
        """Pairs of two different numbers count twice."""
        first, second = torch.triu_indices(x.shape[-1], x.shape[-1])
        times = torch.where(first == second, 1, 2).unsqueeze(-1)
        return Share(sums * times, 2 * x.frac_bits + v.frac_bits, x.ring_bits)


def _mixed(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """x_a r_b + r_a x_b."""
    first, second = torch.triu_indices(x.shape[-1], x.shape[-1])
    return x[..., first] * mask[..., second] + mask[..., first] * x[..., second]


def _places(width: int) -> torch.Tensor:
    """Where the pair of a and b lies, in either order: [K, K]."""
    first, second = torch.triu_indices(width, width)
    places = torch.empty(width, width, dtype=torch.int64)
    numbers = torch.arange(len(first))
    places[first, second], places[second, first] = numbers, numbers
    return places
