"""What a plan can replace in the FSS suite: one base class an operation, and what is registered for it.

A protocol is a small program on a machine: it runs one gate or strings several together, and holds no state.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

from protocols.fss.activation_protocols import ActivationProtocol
from protocols.fss.coarse_maximum import CoarseMaximum
from protocols.fss.embedding import HoldTokens
from protocols.fss.exponential_protocols import ExponentialProtocol
from protocols.fss.faithful_truncation import FaithfulTruncation
from protocols.fss.linear import Linear
from protocols.fss.machine import Machine
from protocols.fss.matrix import Matrix
from protocols.fss.octave_cells import Function
from protocols.fss.octaves import Octaves, line_error
from protocols.fss.powers import PowerWires, even_power, power_error
from protocols.fss.protocol import FssProtocol
from protocols.fss.public_rows import OwnTokens, PublicRows
from protocols.fss.square import Square
from protocols.fss.tree_maximum import row_maximum
from protocols.share import Share


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


class PowerProtocol(FssProtocol):
    """An even power of a masked value."""

    @abstractmethod
    def __call__(self, machine: Machine, wires: PowerWires, x: Share) -> Share:
        """x^power, additive, as the wires say."""

    @abstractmethod
    def max_abs_error(self, wires: PowerWires, largest: float) -> float:
        """Bound on what it is off for |x| <= largest, rounding of x as it is read included."""


@final
class SquaringPower(PowerProtocol):
    """Squarings, each read from an opened value with fewer fraction bits: no table, no comparison.

    Source: Power-Softmax (arXiv 2410.09457) computes its powers so.
    """

    based_on = (Square, even_power)

    def __call__(self, machine: Machine, wires: PowerWires, x: Share) -> Share:
        return even_power(machine, wires, x)

    def max_abs_error(self, wires: PowerWires, largest: float) -> float:
        return power_error(wires, largest)


@dataclass(frozen=True, slots=True, kw_only=True)
class OctaveWires:
    """Range and result of a function of numbers of any order of magnitude; see `Octaves` for each.

    `ring_bits` holds the result with `frac_bits` fraction bits, two bits to spare.
    """

    low: float
    high: float
    cells_bits: int
    ring_bits: int
    frac_bits: int
    faithful: bool


class OctaveProtocol(FssProtocol):
    """A power of a masked positive integer of any order of magnitude: 1 / s, 1 / sqrt(s)."""

    @abstractmethod
    def __call__(self, machine: Machine, function: Function, wires: OctaveWires, s: Share) -> Share:
        """function(s), additive, as the wires say, or with more fraction bits in a ring as much wider."""

    @abstractmethod
    def max_rel_error(self, power: float, wires: OctaveWires) -> float:
        """Bound on the relative error of s^-power, rounding of the table aside."""


@final
class OctaveLookup(OctaveProtocol):
    """Lines over cells whose width grows with the number, read relative to the mask; nothing is sent."""

    based_on = (Octaves,)

    def __call__(self, machine: Machine, function: Function, wires: OctaveWires, s: Share) -> Share:
        return machine.one(Octaves(function, **dataclasses.asdict(wires)), s)

    def max_rel_error(self, power: float, wires: OctaveWires) -> float:
        if wires.faithful:
            return (1.0 + 2.0 ** -(wires.cells_bits + 1)) ** power - 1.0
        return line_error(power, wires.cells_bits)


class EmbeddingProtocol(FssProtocol):
    """Rows of the server's token table at the client's tokens.

    Attributes:
        public_table: the client gets the table in the clear, in the setup.
    """

    public_table: ClassVar[bool] = False

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


@final
class PublicEmbedding(EmbeddingProtocol):
    """The client has the table and looks its rows up itself; it sends them masked.

    With a tied head the table is the head's matrix, too. The server learns nothing.

    Source: as models whose embedding is public; the masking is that of the linear layers.
    """

    based_on = (OwnTokens, PublicRows)
    reveals = "gives the server's whole token table to the client, in the clear (and a tied head with it)"
    public_table = True

    def tokens(
        self, machine: Machine, ids: Sequence[int] | None, count: int, vocabulary: int, ring_bits: int
    ) -> Share:
        return machine.one(OwnTokens(ids, count, vocabulary))

    def rows(self, machine: Machine, tokens: Share, table: Matrix) -> Share:
        return machine.one(PublicRows(table), tokens)


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
    power: PowerProtocol
    reciprocal: OctaveProtocol
    inverse_sqrt: OctaveProtocol
    embedding: EmbeddingProtocol
    truncation: TruncationProtocol
