"""Protocols for exp(-z) of a masked index: what a plan can name for `exponential`."""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import final

from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import Shares
from protocols.fss.gates.lookup import MAX_INDEX_BITS
from protocols.fss.gates.lookup_exponential import Exponential
from protocols.fss.gates.split_exponential import SplitExponential
from protocols.fss.operations.protocol import FssProtocol
from protocols.share import Share


@dataclass(frozen=True, slots=True, kw_only=True)
class ExponentialFormats:
    """Rings and fraction bits around exp; see `Exponential` for each."""

    ring_bits: int
    frac_bits: int
    index_bits: int
    index_frac: int
    low: float
    centred: bool


class ExponentialProtocol(FssProtocol):
    """exp(-z) of a masked index."""

    def index_frac(self, frac_bits: int, integer_bits: int) -> int:
        """Fraction bits of the index, of those that scores have, beside so many integer bits."""
        return frac_bits

    @abstractmethod
    def __call__(self, executor: Executor, formats: ExponentialFormats, *indices: Share) -> Shares:
        """Of every index, additive, as the formats say, or with more fraction bits in a ring as much wider.

        What several indices open travels in one message.
        """

    @abstractmethod
    def max_rel_error(self, formats: ExponentialFormats) -> float:
        """Bound on the relative error, rounding of the index included and of the table aside."""


@final
class LookupExponential(ExponentialProtocol):
    """One look-up in a table that ends where the result rounds to zero. An index that would be too wide for a
    table has fewer fraction bits.

    Source: the look-up of the activations, without the sign.
    """

    based_on = (Exponential,)

    def index_frac(self, frac_bits: int, integer_bits: int) -> int:
        return max(min(frac_bits, MAX_INDEX_BITS - integer_bits), 0)

    def __call__(self, executor: Executor, formats: ExponentialFormats, *indices: Share) -> Shares:
        return executor.apply(Exponential(**dataclasses.asdict(formats)), *indices)

    def max_rel_error(self, formats: ExponentialFormats) -> float:
        return Exponential(**dataclasses.asdict(formats)).max_relative_error


@final
class SplitExponentialProtocol(ExponentialProtocol):
    """A look-up in cells of width 1, times exp of the rest: a public number less one that the dealer knows.

    The result has more fraction bits than was asked for, in a ring as much wider.

    Source: this project's own.
    """

    based_on = (SplitExponential,)
    exact_form = "lookup"

    def __call__(self, executor: Executor, formats: ExponentialFormats, *indices: Share) -> Shares:
        return executor.apply(self.gate(formats), *indices)

    def max_rel_error(self, formats: ExponentialFormats) -> float:
        return self.gate(formats).max_relative_error + math.expm1(2.0**-formats.index_frac)

    def gate(self, formats: ExponentialFormats) -> SplitExponential:
        """The gate with these formats."""
        return SplitExponential(
            ring_bits=formats.ring_bits,
            frac_bits=formats.frac_bits,
            index_bits=formats.index_bits,
            index_frac=formats.index_frac,
            low=formats.low,
        )
