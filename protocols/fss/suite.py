"""What a plan can replace in the FSS suite: one base class an operation, and what is registered for it.

A protocol here says which gates compute an operation, or how they are strung together; it holds no state.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

from protocols.fss.activation import Activation, GatedActivation
from protocols.fss.embedding import HoldTokens
from protocols.fss.exponential import Exponential
from protocols.fss.gate import Gate
from protocols.fss.linear import Linear, Matrix
from protocols.fss.machine import Machine
from protocols.fss.maximum import CoarseMaximum
from protocols.fss.octave_cells import Function
from protocols.fss.octaves import Octaves
from protocols.fss.tree_maximum import row_maximum
from protocols.fss.truncation import FaithfulTruncation
from protocols.operation import Security
from protocols.share import Share


class FssProtocol(ABC):  # noqa: B024 - what it declares has defaults
    """Anything registered for the FSS engine.

    Attributes:
        based_on: gates or functions that compute it, whose documentation has costs and sources.
        reveals: what somebody learns by design, for everybody who chooses it to read; empty where nothing is.
    """

    security: ClassVar[Security] = Security.SEMI_HONEST_DEALER
    based_on: ClassVar[tuple[object, ...]] = ()
    reveals: ClassVar[str] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationWires:
    """Rings and fraction bits around an activation; see `Activation` for each."""

    ring_bits: int
    frac_bits: int
    index_bits: int
    index_frac: int
    table_frac: int
    centred: bool


class ActivationProtocol(FssProtocol):
    """GELU, SiLU or ReLU of a masked value, alone or times another.

    Attributes:
        finer_bits: fraction bits that its index and table have beyond the model's default.
    """

    finer_bits: ClassVar[int] = 0

    @abstractmethod
    def gate(self, kind: str, wires: ActivationWires) -> Gate:
        """Takes the masked value and its index; the result is additive."""

    @abstractmethod
    def gated(self, kind: str, wires: ActivationWires) -> Gate:
        """Takes another masked factor, too."""

    @abstractmethod
    def max_abs_error(self, kind: str, wires: ActivationWires) -> float:
        """Bound on what `gate` is off, rounding of the index included."""


class _LookupActivations(ActivationProtocol):
    """What all look-ups of an activation have in common.

    Source: the difference to ReLU in a table, as in SIGMA (PETS 2024); signs by prefix parity, as in Grotto
    (CCS 2023); both from one key is this project's own.
    """

    based_on: ClassVar[tuple[object, ...]] = (Activation, GatedActivation)

    def gate(self, kind: str, wires: ActivationWires) -> Activation:
        return Activation(
            kind,
            ring_bits=wires.ring_bits,
            frac_bits=wires.frac_bits,
            index_bits=wires.index_bits,
            index_frac=wires.index_frac,
            table_frac=wires.table_frac,
            centred=wires.centred,
        )

    def gated(self, kind: str, wires: ActivationWires) -> GatedActivation:
        return GatedActivation(
            kind,
            ring_bits=wires.ring_bits,
            frac_bits=wires.frac_bits,
            index_bits=wires.index_bits,
            index_frac=wires.index_frac,
            table_frac=wires.table_frac,
            centred=wires.centred,
        )

    def max_abs_error(self, kind: str, wires: ActivationWires) -> float:
        return self.gate(kind, wires).max_abs_error


@final
class LookupActivation(_LookupActivations):
    """One look-up of value and sign, from one key of a point function and one opening."""


@final
class FineLookupActivation(_LookupActivations):
    """Two more bits of index, and of table where the value has them: less error for a larger key."""

    finer_bits = 2


class MaximumProtocol(FssProtocol):
    """A row's maximum, or a value so close to it that exp of the difference stays small.

    Attributes:
        coarse: it reads scores rounded to a public step; otherwise the scores themselves.
    """

    coarse: ClassVar[bool]

    @abstractmethod
    def __call__(self, machine: Machine, x: Share, lengths: tuple[int, ...]) -> Share:
        """The maximum of every row of masked x [..., sum(lengths)], additive, in x's ring and scale."""


@final
class HistogramMaximum(MaximumProtocol):
    """Histograms of coarse scores, and a zero test of each count.

    Source: this project's own.
    """

    based_on = (CoarseMaximum,)
    coarse = True

    def __call__(self, machine: Machine, x: Share, lengths: tuple[int, ...]) -> Share:
        return machine.one(CoarseMaximum(lengths), x)


@final
class TreeMaximum(MaximumProtocol):
    """A knock-out tree of comparisons, exact to the last bit of the scores.

    Source: the usual tree, on comparisons by prefix parity as in Grotto (CCS 2023).
    """

    based_on = (row_maximum,)
    coarse = False

    def __call__(self, machine: Machine, x: Share, lengths: tuple[int, ...]) -> Share:
        return row_maximum(machine, x, lengths)


class ExponentialProtocol(FssProtocol):
    """exp(-z) of a masked index."""

    @abstractmethod
    def gate(
        self, *, ring_bits: int, frac_bits: int, index_bits: int, index_frac: int, low: float, centred: bool
    ) -> Gate:
        """See `Exponential` for the arguments."""

    @abstractmethod
    def max_errors(self, *, frac_bits: int, index_frac: int, centred: bool) -> tuple[float, float]:
        """Largest relative error, and what rounding of the table adds to it."""


@final
class LookupExponential(ExponentialProtocol):
    """One look-up in a table that ends where the result rounds to zero.

    Source: the look-up of the activations, without the sign.
    """

    based_on = (Exponential,)

    def gate(
        self, *, ring_bits: int, frac_bits: int, index_bits: int, index_frac: int, low: float, centred: bool
    ) -> Exponential:
        return Exponential(
            ring_bits=ring_bits,
            frac_bits=frac_bits,
            index_bits=index_bits,
            index_frac=index_frac,
            low=low,
            centred=centred,
        )

    def max_errors(self, *, frac_bits: int, index_frac: int, centred: bool) -> tuple[float, float]:
        gate = self.gate(
            ring_bits=frac_bits + 2,
            frac_bits=frac_bits,
            index_bits=index_frac + 5,
            index_frac=index_frac,
            low=0.0,
            centred=centred,
        )
        return gate.max_relative_error, gate.max_rounding_error


class OctaveProtocol(FssProtocol):
    """A power of a masked positive integer of any order of magnitude: 1 / s, 1 / sqrt(s)."""

    @abstractmethod
    def gate(
        self,
        function: Function,
        *,
        low: float,
        high: float,
        cells_bits: int,
        ring_bits: int,
        frac_bits: int,
        faithful: bool,
    ) -> Gate:
        """See `Octaves` for the arguments."""

    @abstractmethod
    def max_rel_error(self, power: float, *, cells_bits: int, faithful: bool) -> float:
        """Bound on the relative error of s^-power, rounding of the table aside."""


@final
class OctaveLookup(OctaveProtocol):
    """A table of cells whose width grows with the number, read relative to the mask; nothing is sent."""

    based_on = (Octaves,)

    def gate(
        self,
        function: Function,
        *,
        low: float,
        high: float,
        cells_bits: int,
        ring_bits: int,
        frac_bits: int,
        faithful: bool,
    ) -> Octaves:
        return Octaves(
            function,
            low=low,
            high=high,
            cells_bits=cells_bits,
            ring_bits=ring_bits,
            frac_bits=frac_bits,
            faithful=faithful,
        )

    def max_rel_error(self, power: float, *, cells_bits: int, faithful: bool) -> float:
        if faithful:
            return (1.0 + 2.0 ** -(cells_bits + 1)) ** power - 1.0
        return (1.0 - 2.0**-cells_bits) ** -power - 1.0


class EmbeddingProtocol(FssProtocol):
    """Rows of the server's token table at the client's tokens."""

    @abstractmethod
    def tokens(
        self, machine: Machine, ids: Sequence[int] | None, count: int, vocabulary: int, ring_bits: int
    ) -> Share:
        """The client's ids, None elsewhere, as `rows` wants them."""

    @abstractmethod
    def rows(self, machine: Machine, tokens: Share, table: Matrix) -> Share:
        """The rows [1, T, D], whole and masked at the server."""


@final
class PrivateEmbedding(EmbeddingProtocol):
    """One-hot rows times the table, a linear layer of the server's: neither side learns the other's.

    Source: the offline product of Delphi (USENIX Security 2020), with a dealer for homomorphic encryption.
    """

    based_on = (HoldTokens, Linear)

    def tokens(
        self, machine: Machine, ids: Sequence[int] | None, count: int, vocabulary: int, ring_bits: int
    ) -> Share:
        return machine.one(HoldTokens(ids, count, vocabulary, ring_bits))

    def rows(self, machine: Machine, tokens: Share, table: Matrix) -> Share:
        return machine.one(Linear(table), tokens)


class TruncationProtocol(FssProtocol):
    """Division by powers of two, everywhere in the model.

    Attributes:
        faithful: exact, by gates. The machine that runs a plan knows it, too.
        max_units_off: of the last place, from the exact quotient.
    """

    faithful: ClassVar[bool]
    max_units_off: ClassVar[float] = 1.0


@final
class FreeTruncation(TruncationProtocol):
    """Value and mask are shifted, each by itself: rounded up with the probability of what is cut off.

    Source: stochastic truncation of masked values, as in Orca (S&P 2024).
    """

    faithful = False


@final
class ExactTruncation(TruncationProtocol):
    """Rounded alike whatever the mask is: a private run equals the fixed-point reference bit by bit.

    Source: shifts by function secret sharing of Boyle et al. (EUROCRYPT 2021), with a point function's key.
    """

    based_on = (FaithfulTruncation,)
    faithful = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FssSuite:
    """A plan's protocols, ready for the backend.

    Attributes:
        activations: by a model's name for them: `gelu_tanh` is a `gelu`.
    """

    activations: dict[str, ActivationProtocol]
    maximum: MaximumProtocol
    exponential: ExponentialProtocol
    reciprocal: OctaveProtocol
    inverse_sqrt: OctaveProtocol
    embedding: EmbeddingProtocol
    truncation: TruncationProtocol
