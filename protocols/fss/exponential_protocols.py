"""Protocols for exp(-z) of a masked index: what a plan can name for `exponential`."""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import final

from protocols.fss.gate import Shares
from protocols.fss.lookup_exponential import Exponential
from protocols.fss.machine import Machine
from protocols.fss.protocol import FssProtocol
from protocols.fss.split_exponential import SplitExponential
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
    def __call__(self, machine: Machine, wires: ExponentialWires, *indices: Share) -> Shares:
        """Of every index, additive, as the wires say, or with more fraction bits in a ring as much wider.

        What several indices open travels in one message.
        """

    @abstractmethod
    def max_rel_error(self, wires: ExponentialWires) -> float:
        """Bound on the relative error, rounding of the index included and of the table aside."""


@final
class LookupExponential(ExponentialProtocol):
    """One look-up in a table that ends where the result rounds to zero.

    Source: the look-up of the activations, without the sign.
    """

    based_on = (Exponential,)

    def __call__(self, machine: Machine, wires: ExponentialWires, *indices: Share) -> Shares:
        return machine.apply(Exponential(**dataclasses.asdict(wires)), *indices)

    def max_rel_error(self, wires: ExponentialWires) -> float:
        return Exponential(**dataclasses.asdict(wires)).max_relative_error


@final
class SplitExponentialProtocol(ExponentialProtocol):
    """A look-up in cells of width 1, times exp of the rest: a public number less one that the dealer knows.

    The result has more fraction bits than was asked for, in a ring as much wider.

    Source: this project's own.
    """

    based_on = (SplitExponential,)
    exact_form = "lookup"

    def __call__(self, machine: Machine, wires: ExponentialWires, *indices: Share) -> Shares:
        return machine.apply(self.gate(wires), *indices)

    def max_rel_error(self, wires: ExponentialWires) -> float:
        return self.gate(wires).max_relative_error + math.expm1(2.0**-wires.index_frac)

    def gate(self, wires: ExponentialWires) -> SplitExponential:
        """The gate with these wires."""
        return SplitExponential(
            ring_bits=wires.ring_bits,
            frac_bits=wires.frac_bits,
            index_bits=wires.index_bits,
            index_frac=wires.index_frac,
            low=wires.low,
        )
