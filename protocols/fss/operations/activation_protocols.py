"""Protocols for GELU, SiLU and ReLU: what a plan can name for them; and the one for tanh and erf."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, final

from protocols.fss.executors.executor import Executor
from protocols.fss.gates.line_activation import GatedLineActivation, LineActivation
from protocols.fss.gates.lookup_activation import Activation, GatedActivation
from protocols.fss.gates.lookup_tanh import TanhLookup
from protocols.fss.operations.protocol import FssProtocol
from protocols.share import Share


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationFormats:
    """Rings and fraction bits around an activation; see `Activation` for each.

    Attributes:
        largest: how large x gets, margin included; tables hold on all that `index_bits` do.
    """

    largest: float
    ring_bits: int
    frac_bits: int
    index_bits: int
    index_frac: int
    table_frac: int
    centred: bool

    def of_gates(self) -> dict[str, Any]:
        """What the gates of a look-up take."""
        fields = dataclasses.asdict(self)
        del fields["largest"]
        return fields


class ActivationProtocol(FssProtocol):
    """GELU, SiLU or ReLU of a masked value, alone or times others.

    Attributes:
        finer_bits: fraction bits that its table has beyond the model's default.
        indexed: it reads an index; otherwise it is given the value again.
    """

    finer_bits: ClassVar[int] = 0
    indexed: ClassVar[bool] = True

    def reach(self, formats: ActivationFormats) -> float:
        """The largest |x| for which the stated error holds."""
        return 2.0 ** (formats.index_bits - formats.index_frac - 1) - 1.0

    def index_frac(self, default: int, frac_bits: int) -> int:
        """Fraction bits of its index: the model's default and `finer_bits`, of a value of `frac_bits`."""
        return default + self.finer_bits

    @abstractmethod
    def __call__(
        self,
        executor: Executor,
        kind: str,
        formats: ActivationFormats,
        x: Share,
        index: Share,
        *factors: Share,
    ) -> Share:
        """f(x) of a masked x, times masked factors, additive.

        The scale is x's and the factors' together, or finer, in a ring as much wider.
        """

    @abstractmethod
    def max_abs_error(self, kind: str, formats: ActivationFormats) -> float:
        """Bound on what f(x) is off, rounding of the index included."""


class _LookupActivations(ActivationProtocol):
    """What all look-ups of an activation have in common.

    Source: the difference to ReLU in a table, as in SIGMA (PETS 2024); signs by prefix parity, as in Grotto
    (CCS 2023); both from one key is this project's own.
    """

    based_on: ClassVar[tuple[object, ...]] = (Activation, GatedActivation)

    def __call__(
        self,
        executor: Executor,
        kind: str,
        formats: ActivationFormats,
        x: Share,
        index: Share,
        *factors: Share,
    ) -> Share:
        make = GatedActivation if factors else Activation
        gate = make(kind, **formats.of_gates())
        return executor.one(gate, executor.view(x), index, *map(executor.view, factors))

    def max_abs_error(self, kind: str, formats: ActivationFormats) -> float:
        return Activation(kind, **formats.of_gates()).max_abs_error


@final
class LookupActivation(_LookupActivations):
    """One look-up of value and sign, from one key of a point function and one opening."""


@final
class FineLookupActivation(_LookupActivations):
    """Two more bits of index, and of table where the value has them: less error for a larger key."""

    finer_bits = 2


class _LineActivations(ActivationProtocol):
    """What all activations on lines have in common.

    Attributes:
        cell_frac, value_bits, slope_bits: see `LineActivation`.

    Source: the difference to ReLU in a table, as in SIGMA (PETS 2024); signs by prefix parity, as in Grotto
    (CCS 2023); a line in every cell, relative to the mask, is this project's own.
    """

    cell_frac: ClassVar[int]
    value_bits: ClassVar[int]
    slope_bits: ClassVar[int]
    MAX_REST_BITS: ClassVar[int] = 9
    """Largest number of bits of a place in a cell: a table has a row for each place."""
    based_on: ClassVar[tuple[object, ...]] = (LineActivation, GatedLineActivation)

    def index_frac(self, default: int, frac_bits: int) -> int:
        return min(frac_bits, self.cell_frac + self.MAX_REST_BITS)

    def __call__(
        self,
        executor: Executor,
        kind: str,
        formats: ActivationFormats,
        x: Share,
        index: Share,
        *factors: Share,
    ) -> Share:
        make = GatedLineActivation if factors else LineActivation
        gate = make(kind, **self.fields(formats))
        return executor.one(gate, index, executor.view(x), *map(executor.view, factors))

    def max_abs_error(self, kind: str, formats: ActivationFormats) -> float:
        return LineActivation(kind, **self.fields(formats)).max_abs_error

    def fields(self, formats: ActivationFormats) -> dict[str, int]:
        """What its gates take."""
        return {
            "ring_bits": formats.ring_bits,
            "frac_bits": formats.frac_bits,
            "index_bits": formats.index_bits,
            "index_frac": formats.index_frac,
            "cell_frac": min(self.cell_frac, formats.index_frac - 1),
            "value_bits": self.value_bits,
            "slope_bits": self.slope_bits,
        }


@final
class LinesActivation(_LineActivations):
    """One look-up of a line and the sign: cells 16 times as wide as those of `lookup`, with less error."""

    cell_frac, value_bits, slope_bits = 3, 9, 6
    exact_form = "lookup"


@final
class FineLinesActivation(_LineActivations):
    """Cells half as wide, and lines of five bits more: as little error as that of `fine`."""

    cell_frac, value_bits, slope_bits = 4, 11, 7
    exact_form = "fine"


@final
class LookupTanh(ActivationProtocol):
    """tanh, or erf, from a table over all indices: of a pooled row, where numbers are few.

    Source: a table read with a point function's key, as in Pika (PETS 2022).
    """

    finer_bits = 2
    based_on: ClassVar[tuple[object, ...]] = (TanhLookup,)

    def __call__(
        self,
        executor: Executor,
        kind: str,
        formats: ActivationFormats,
        x: Share,
        index: Share,
        *factors: Share,
    ) -> Share:
        assert not factors
        return executor.one(self._gate(kind, formats), index)

    def max_abs_error(self, kind: str, formats: ActivationFormats) -> float:
        return self._gate(kind, formats).max_abs_error

    def _gate(self, kind: str, formats: ActivationFormats) -> TanhLookup:
        return TanhLookup(
            ring_bits=formats.ring_bits,
            frac_bits=formats.frac_bits,
            index_bits=formats.index_bits,
            index_frac=formats.index_frac,
            kind=kind,
            centred=formats.centred,
        )
