"""Protocols for exp(-z) of a masked index: what a plan can name for `exponential`."""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

from protocols.fss.exponential import Exponential
from protocols.fss.machine import Machine
from protocols.fss.protocol import FssProtocol
from protocols.share import Share


@dataclass(frozen=True, slots=True, kw_only=True)
class ExponentialWires:
    """Rings and fraction bits around exp; see `Exponential` for each."""

    ring_bits: int
    frac_bits: int
    index_bits: int
    index_frac: int
    low: float
    centred: bool


class ExponentialProtocol(FssProtocol):
    """exp(-z) of a masked index."""

    @abstractmethod
    def __call__(self, machine: Machine, wires: ExponentialWires, index: Share) -> Share:
        """Additive, as the wires say, or with more fraction bits in a ring as much wider."""

    @abstractmethod
    def max_rel_error(self, wires: ExponentialWires) -> float:
        """Bound on the relative error, rounding of the index included and of the table aside."""


@final
class LookupExponential(ExponentialProtocol):
    """One look-up in a table that ends where the result rounds to zero.

    Source: the look-up of the activations, without the sign.
    """

    based_on = (Exponential,)

    def __call__(self, machine: Machine, wires: ExponentialWires, index: Share) -> Share:
        return machine.one(Exponential(**dataclasses.asdict(wires)), index)

    def max_rel_error(self, wires: ExponentialWires) -> float:
        return Exponential(**dataclasses.asdict(wires)).max_relative_error


@final
class TangentExponential(ExponentialProtocol):
    """A look-up with few bits, times 1 less the rest: a short table that is read to first order.

    1. The index is cut to h, which has `CELL_FRAC` fraction bits, and the rest d: z = h + d.
    2. exp(-z) = exp(-h) (1 - d), but for d^2 / 2 of it. The factor needs no opening: d is a public number
       less one that the dealer knows.

    The result has the index's fraction bits beyond the table's, in a ring as much wider.

    Source: this project's own.
    """

    CELL_FRAC: ClassVar[int] = 5
    based_on = (Exponential,)
    exact_form = "lookup"

    def __call__(self, machine: Machine, wires: ExponentialWires, index: Share) -> Share:
        cell = machine.truncate(index, wires.index_frac - self._cell_frac(wires))
        rest = machine.remainder(index, cell)
        factor = machine.add_public(machine.mul_integer(rest, -1), 1 << rest.frac_bits)
        return machine.one(self._gate(wires), cell, factor)

    def max_rel_error(self, wires: ExponentialWires) -> float:
        unit, rounding = 2.0 ** -self._cell_frac(wires), 2.0**-wires.index_frac
        return (1.0 - (1.0 - unit) * math.exp(unit)) + math.expm1(rounding)

    def _cell_frac(self, wires: ExponentialWires) -> int:
        return min(self.CELL_FRAC, wires.index_frac)

    def _gate(self, wires: ExponentialWires) -> Exponential:
        cell_frac = self._cell_frac(wires)
        return Exponential(
            ring_bits=wires.ring_bits + wires.index_frac,
            frac_bits=wires.frac_bits,
            index_bits=wires.index_bits - (wires.index_frac - cell_frac),
            index_frac=cell_frac,
            low=wires.low - 2.0**-cell_frac,
        )
