"""A function of numbers of any order of magnitude, such as 1 / s, from one look-up relative to the mask."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from typing import ClassVar, final

import torch

from parties.errors import ConfigError, RangeError
from protocols.fss.executors.clear_side import ClearSide, Rounding
from protocols.fss.executors.dealer_side import DealerSide
from protocols.fss.executors.gate import Gate, Shares, shape_only
from protocols.fss.executors.party_side import PartySide
from protocols.fss.preprocessing.correlations import Correlations, Idpf
from protocols.fss.preprocessing.point_keys import PrefixKeys
from protocols.fss.ring import low as residue
from protocols.fss.tables.binade_cells import REST_BITS, Function, octave_cells
from protocols.share import Held, Share
from protocols.tensors import to_words

MAX_RING_BITS = 62
_POINTS = 64
"""Boundaries that are compared together: what they take of memory."""


def line_error(power: float, cells_bits: int) -> float:
    """Bound on the relative error of s^-power, read on lines, rounding of the tables aside.

    Around g >= 2^m u, u a cell's width, and |d| < u, by Taylor's series: the second derivative c gives less
    than c u^2 / 2, what is added for its mean has the other sign, and that the slope is a chord's adds the
    third times u^3 / 6. Derivatives are taken at the least argument, g - u, and divided by f(g + u). Of d,
    2^-REST_BITS u is unknown.
    """
    cell = 2.0**-cells_bits
    below, ratio = 1.0 - cell, (1.0 + cell) ** power
    bend = power * (power + 1) / 2 * cell**2 * below ** -(power + 2)
    chord = power * (power + 1) * (power + 2) / 6 * cell**3 * below ** -(power + 3)
    unknown = 2.0**-REST_BITS * power * cell * below ** -(power + 1)
    return (bend + chord + unknown) * ratio


@final
class RangeReduction(Gate):
    """f(s) of a masked integer s >= 0, by 2^m cells a binade; additive shares, nothing is sent.

    1. The dealer hands out keys of an incremental point function at -1 - r: additive shares of 1, and of r
       mod 2^j, at those of its prefixes that are read. The cell of s at width 2^j is i where the prefix of
       n - j bits is i - 1 - (xh >> j).
    2. For every j each party adds up what its shares give on the lines of window j's cells, at (xh mod 2^j) -
       (r mod 2^j). `octave_cells` shows that exactly one window has the cell of s.

    The cell is s / 2^j rounded at random, as probabilistic truncation does, and its line says what f is at s.

    Exactly (`exact_truncation`): keys at r, shares at all prefixes. 1{s >= p} = C(xh - p) - C(xh) + 1{p <=
    xh}, with C(z) = 1{r <= z}, for the start p of every cell; f is taken at the mean of the cell's integers.
    That is 2 n hashes a cell instead of 2.

    Args:
        function: f of float64 arrays of s; finite from the cell of `low` to the end of the cell after that of
            `high`.
        low: what is smaller, even a little below 0 (not below -2^(j+1), the first j), has the value of its
            cell.
        high: bound on s, below 2^(n-1). More than that gives zero, or values of other cells.
        cells_bits: m.
        ring_bits, frac_bits: of the tables, and of the result where it is exact. On lines it has `REST_BITS`
            more of both.
        exact_truncation: exact cells.

    Error: none for low <= s < 2^m. For other s from `low` to `high` and f = s^-p, 0 < p <= 2, in units of
        f(s): what `line_error` says, about p (p + 1) / 2 4^-m; `exact_truncation`: at most (1 + 2^-(m+1))^p -
        1. Rounding of tables adds a unit of the last of `frac_bits`; half a unit where `exact_truncation`.
    Cost: no round. Key to each party: 16 (n - j) bytes, j being the first, and for every j twice the result's
        bits; `exact_truncation`: 16 n bytes and n ring_bits.
    Reveals: nothing.
    Source: keys are those of Boneh et al. (S&P 2021) on the half-tree of Guo et al. (EUROCRYPT 2023); reading
        cells relative to the mask, and the tiling of binades, are this project's own.
    """

    reason: ClassVar[str] = "range reduction"

    def __init__(
        self,
        function: Function,
        low: int | float,
        high: int | float,
        *,
        cells_bits: int,
        ring_bits: int,
        frac_bits: int,
        exact_truncation: bool = False,
    ) -> None:
        self._cells = octave_cells(function, low, high, cells_bits, frac_bits)
        self._ring_bits, self._frac_bits, self._exact_truncation = ring_bits, frac_bits, exact_truncation

    def correlations(self, *inputs: Share) -> Correlations:
        (s,) = inputs
        n = s.ring_bits
        if n > MAX_RING_BITS or self._cells.high >> (n - 1):
            raise ConfigError(f"numbers up to {self._cells.high} do not fit {n} bits, of {MAX_RING_BITS}")
        shifts = self._cells.shifts
        if self._exact_truncation:
            return {"prefixes": Idpf(s.shape, n, tuple(range(1, n + 1)), self._ring_bits)}
        depths = tuple(n - j for j in reversed(shifts))
        return {"prefixes": Idpf(s.shape, n, depths, self._ring_bits + REST_BITS, payload=True)}

    def outputs(self, *inputs: Share) -> Shares:
        (s,) = inputs
        more = 0 if self._exact_truncation else REST_BITS
        return (shape_only(s.shape, self._frac_bits + more, self._ring_bits + more),)

    def run(self, party: PartySide, *inputs: Share) -> Shares:
        (s,) = inputs
        assert s.held is Held.MASKED, f"{s!r} is not masked"
        keys = party.prefix_keys(self.correlations(s)["prefixes"])
        masked = residue(s.value.reshape(-1), s.ring_bits)
        read = self._compare if self._exact_truncation else self._read_lines
        return (self._result(s, read(party, keys, masked, s.ring_bits).reshape(s.shape)),)

    def _result(self, s: Share, value: torch.Tensor) -> Share:
        (shape,) = self.outputs(s)
        return Share(value, shape.frac_bits, shape.ring_bits)

    def _read_lines(
        self, party: PartySide, keys: PrefixKeys, masked: torch.Tensor, ring_bits: int
    ) -> torch.Tensor:
        """Sums over all windows."""
        return torch.from_numpy(keys.line_lookup(self._cells.lines(masked, ring_bits)))

    def _compare(
        self, party: PartySide, keys: PrefixKeys, masked: torch.Tensor, ring_bits: int
    ) -> torch.Tensor:
        """Sum over all cells but the first of 1{s >= start} times the step in value."""
        starts, values = self._cells.exact
        steps, above = values[1:] - values[:-1], starts[1:]
        lifted = residue(masked - self._cells.least, ring_bits)  # s may be a little below 0

        def at_most(points: torch.Tensor) -> torch.Tensor:
            words = to_words(residue(points, ring_bits))
            return torch.from_numpy(keys.prefix_sum(words))

        total = -steps.sum() * at_most(lifted.unsqueeze(0))[0] + party.first * values[0]
        for start in range(0, len(above), _POINTS):
            part, step = above[start : start + _POINTS, None], steps[start : start + _POINTS, None]
            no_wrap = (part - self._cells.least <= lifted).to(torch.int64)
            total += (step * (at_most(masked - part) + party.first * no_wrap)).sum(0)
        return total

    def deal(self, dealing: DealerSide, *inputs: Share) -> Shares:
        (s,) = inputs
        item, mask = self.correlations(s)["prefixes"], s.value.reshape(-1)
        if self._exact_truncation:
            dealing.prefix_keys(item, residue(mask, s.ring_bits))
        else:
            rests = torch.stack([window.rest(mask) for window in reversed(self._cells.windows)])
            dealing.prefix_keys(item, residue(-1 - mask, s.ring_bits), rests)
        return self.outputs(s)

    def clear(self, clear: ClearSide, *inputs: Share) -> Shares:
        (s,) = inputs
        self._check_range(clear, s)
        if self._exact_truncation or clear.rounding is Rounding.FLOOR:
            more = 0 if self._exact_truncation else REST_BITS
            return (self._result(s, self._cells.at_cell(s.value) << more),)
        mask = clear.mask(s.shape, s.ring_bits)
        return (self._result(s, self._cells.at_random_cell(s.value, mask, s.ring_bits)),)

    def _check_range(self, clear: ClearSide, s: Share) -> None:
        """Outside, a private run would give zero, or the value of another cell."""
        if s.value.numel():
            least, most = int(s.value.min()), int(s.value.max())
            if least < self._cells.least or most > self._cells.high:
                bounds = f"{self._cells.least} to {self._cells.high}"
                raise RangeError(f"{clear.meter.label}: binades hold {bounds}, got {least} to {most}")
