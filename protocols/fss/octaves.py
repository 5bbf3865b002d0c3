"""A function of numbers of any order of magnitude, such as 1 / s, from one look-up relative to the mask."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from typing import ClassVar, final

import torch

from parties.errors import ConfigError, RangeError
from protocols.fss.clear import Clear, Rounding
from protocols.fss.dealing import Dealing
from protocols.fss.gate import Gate, Shares, shape_only
from protocols.fss.material import Idpf, Items, PrefixKeys
from protocols.fss.octave_cells import Function, OctaveCells
from protocols.fss.party import Party
from protocols.fss.ring import low as residue
from protocols.fss.ring import shift_right
from protocols.kernels import idpf
from protocols.share import Held, Share
from protocols.tensors import to_words

MAX_RING_BITS = 62
_POINTS = 64
"""Boundaries that are compared together: what they take of memory."""


@final
class Octaves(Gate):
    """f(s) of a masked integer s >= 0, by a table of 2^m cells an octave; additive shares, nothing is sent.

    1. The dealer hands out keys of an incremental point function at -1 - r: additive shares of 1 at those of
       its prefixes that are read. The cell of s at width 2^j is i where the prefix of n - j bits is
       i - 1 - (xh >> j).
    2. For every j each party adds up its shares at the cells of window j times the cells' values.
       `octave_cells` shows that exactly one window has the cell of s.

    The cell is s / 2^j rounded at random, as free truncation does: the result is f at one of two neighbours g
    of s on a grid, and unbiased but for the curvature of f between them.

    Exactly (`faithful`): keys at r, shares at all prefixes. 1{s >= p} = C(xh - p) - C(xh) + 1{p <= xh}, with
    C(z) = 1{r <= z}, for the start p of every cell; f is taken at the mean of the cell's integers. That is
    2 n hashes a cell instead of 2.

    Args:
        function: f of float64 arrays of s; finite from the cell of `low` to the end of the cell after that of
            `high`.
        low: what is smaller, even a little below 0 (not below -2^(j+1), the first j), has the value of its
            cell.
        high: bound on s, below 2^(n-1). More than that gives zero, or values of other cells.
        cells_bits: m.
        ring_bits: of the result.
        frac_bits: of the result.
        faithful: exact cells.

    Error: none for low <= s < 2^m. For other s from `low` to `high` and f = s^-p, 0 < p <= 2, in units of
        f(s): below (1 - 2^-m)^-p - 1, about p 2^-m; of the mean over masks at most p (p + 1) / 8 4^-m
        (1 + 2^(3-m)). `faithful`: at most (1 + 2^-(m+1))^p - 1, the same for every mask. Rounding of the
        table adds half a unit of the result's last place.
    Cost: no round. Key to each party: 16 (n - j) bytes, j being the first, and ring_bits for every j;
        `faithful`: 16 n bytes and n ring_bits.
    Reveals: nothing.
    Source: keys are those of Boneh et al. (S&P 2021) on the half-tree of Guo et al. (EUROCRYPT 2023); reading
        cells relative to the mask, and the tiling of octaves, are this project's own.
    """

    reason: ClassVar[str] = "octaves"

    def __init__(
        self,
        function: Function,
        low: int | float,
        high: int | float,
        *,
        cells_bits: int,
        ring_bits: int,
        frac_bits: int,
        faithful: bool = False,
    ) -> None:
        self._cells = OctaveCells(function, low, high, cells_bits, frac_bits)
        self._ring_bits, self._frac_bits, self._faithful = ring_bits, frac_bits, faithful

    def items(self, *inputs: Share) -> Items:
        (s,) = inputs
        n = s.ring_bits
        if n > MAX_RING_BITS or self._cells.high >> (n - 1):
            raise ConfigError(f"numbers up to {self._cells.high} do not fit {n} bits, of {MAX_RING_BITS}")
        shifts = self._cells.shifts
        depths = tuple(range(1, n + 1)) if self._faithful else tuple(n - j for j in reversed(shifts))
        return {"prefixes": Idpf(s.shape, n, depths, self._ring_bits)}

    def outputs(self, *inputs: Share) -> Shares:
        (s,) = inputs
        return (shape_only(s.shape, self._frac_bits, self._ring_bits),)

    def run(self, party: Party, *inputs: Share) -> Shares:
        (s,) = inputs
        assert s.held is Held.MASKED, f"{s!r} is not masked"
        keys = party.prefix_keys(self.items(s)["prefixes"])
        masked = residue(s.value.reshape(-1), s.ring_bits)
        read = self._compare if self._faithful else self._look_up
        value = read(party, keys, masked, s.ring_bits).reshape(s.shape)
        return (Share(value, self._frac_bits, self._ring_bits),)

    def _look_up(self, party: Party, keys: PrefixKeys, masked: torch.Tensor, ring_bits: int) -> torch.Tensor:
        """Sums over all windows."""
        root = to_words(keys.root)
        total = torch.zeros_like(masked)
        for window in self._cells.windows:
            first = window.first - 1 - shift_right(masked, window.shift, ring_bits)
            total += torch.from_numpy(
                idpf.range_lookup(
                    party.rank,
                    keys.common,
                    root,
                    ring_bits - window.shift,
                    to_words(first),
                    window.counts(masked).numpy(),
                    window.table.numpy(),
                    party.hash,
                )
            )
        return total

    def _compare(self, party: Party, keys: PrefixKeys, masked: torch.Tensor, ring_bits: int) -> torch.Tensor:
        """Sum over all cells but the first of 1{s >= start} times the step in value."""
        starts, values = self._cells.exact
        steps, above = values[1:] - values[:-1], starts[1:]
        lifted = residue(masked - self._cells.least, ring_bits)  # s may be a little below 0

        def at_most(points: torch.Tensor) -> torch.Tensor:
            words = to_words(residue(points, ring_bits))
            sums = idpf.prefix_sum(party.rank, keys.common, to_words(keys.root), words, party.hash)
            return torch.from_numpy(sums)

        total = -steps.sum() * at_most(lifted.unsqueeze(0))[0] + party.first * values[0]
        for start in range(0, len(above), _POINTS):
            part, step = above[start : start + _POINTS, None], steps[start : start + _POINTS, None]
            no_wrap = (part - self._cells.least <= lifted).to(torch.int64)
            total += (step * (at_most(masked - part) + party.first * no_wrap)).sum(0)
        return total

    def deal(self, dealing: Dealing, *inputs: Share) -> Shares:
        (s,) = inputs
        point = s.value if self._faithful else -1 - s.value
        dealing.prefix_keys(self.items(s)["prefixes"], residue(point, s.ring_bits))
        return self.outputs(s)

    def clear(self, clear: Clear, *inputs: Share) -> Shares:
        (s,) = inputs
        self._check_range(clear, s)
        if self._faithful or clear.rounding is Rounding.FLOOR:
            value = self._cells.at_cell(s.value)
        else:
            mask = clear.mask(s.shape, s.ring_bits)
            value = self._cells.at_random_cell(s.value, mask, s.ring_bits)
        return (Share(value, self._frac_bits, self._ring_bits),)

    def _check_range(self, clear: Clear, s: Share) -> None:
        """Outside, a private run would give zero, or the value of another cell."""
        if s.value.numel():
            least, most = int(s.value.min()), int(s.value.max())
            if least < self._cells.least or most > self._cells.high:
                bounds = f"{self._cells.least} to {self._cells.high}"
                raise RangeError(f"{clear.meter.label}: octaves hold {bounds}, got {least} to {most}")
