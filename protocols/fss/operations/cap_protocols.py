"""Protocols for caps of scores, h tanh(s / h), and for norms that are such functions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

from protocols.fss.executors.executor import Executor
from protocols.fss.gates.line_tanh import RESULT_FRAC, TanhOnLines
from protocols.fss.gates.lookup import MAX_INDEX_BITS
from protocols.fss.gates.lookup_tanh import TanhLookup
from protocols.fss.operations.protocol import FssProtocol
from protocols.share import Share


@dataclass(frozen=True, slots=True, kw_only=True)
class CapFormats:
    """Rings and fraction bits around a cap.

    Attributes:
        height: h.
        kind: of a cap, `tanh`; a norm may be `erf`.
        index_bits, index_frac: of scores as they are read.
        ring_bits, frac_bits: of capped scores, one bit to spare.
    """

    height: float
    kind: str = "tanh"
    index_bits: int
    index_frac: int
    ring_bits: int
    frac_bits: int


class CapProtocol(FssProtocol):
    """h tanh(s / h) of masked scores, or h erf(s / h) of other numbers."""

    @abstractmethod
    def index_frac(self, frac_bits: int, integer_bits: int) -> int:
        """Fraction bits of scores as they are read, of so many, beside so many integer bits."""

    @abstractmethod
    def __call__(
        self, executor: Executor, formats: CapFormats, indices: Sequence[Share]
    ) -> tuple[Share, ...]:
        """Additive shares of capped scores, as the formats say or with more fraction bits in a ring as much
        wider."""

    @abstractmethod
    def max_abs_error(self, formats: CapFormats) -> float:
        """Bound on what a capped score is off, rounding of the index included."""


@final
class LinesCap(CapProtocol):
    """A line in every cell.

    Source: see `TanhOnLines`.
    """

    based_on: ClassVar[tuple[object, ...]] = (TanhOnLines,)

    def index_frac(self, frac_bits: int, integer_bits: int) -> int:
        return frac_bits

    def __call__(
        self, executor: Executor, formats: CapFormats, indices: Sequence[Share]
    ) -> tuple[Share, ...]:
        return executor.apply(self._gate(formats), *indices)

    def max_abs_error(self, formats: CapFormats) -> float:
        return self._gate(formats).max_abs_error

    def _gate(self, formats: CapFormats) -> TanhOnLines:
        return TanhOnLines(
            ring_bits=formats.ring_bits + RESULT_FRAC - formats.frac_bits,
            index_bits=formats.index_bits,
            index_frac=formats.index_frac,
            height=formats.height,
            kind=formats.kind,
        )


@final
class LookupCap(CapProtocol):
    """A table over all indices, which were rounded down: where truncation is exact. An index that would be
    too wide for a table has fewer fraction bits.

    Source: see `TanhLookup`.
    """

    INDEX_FRAC: ClassVar[int] = 8
    based_on: ClassVar[tuple[object, ...]] = (TanhLookup,)

    def index_frac(self, frac_bits: int, integer_bits: int) -> int:
        return max(min(self.INDEX_FRAC, frac_bits, MAX_INDEX_BITS - integer_bits), 0)

    def __call__(
        self, executor: Executor, formats: CapFormats, indices: Sequence[Share]
    ) -> tuple[Share, ...]:
        return executor.apply(self._gate(formats), *indices)

    def max_abs_error(self, formats: CapFormats) -> float:
        return self._gate(formats).max_abs_error

    def _gate(self, formats: CapFormats) -> TanhLookup:
        return TanhLookup(
            ring_bits=formats.ring_bits,
            frac_bits=formats.frac_bits,
            index_bits=formats.index_bits,
            index_frac=formats.index_frac,
            height=formats.height,
            kind=formats.kind,
            centred=True,
        )
