"""What a plan can replace in the FSS suite: one base class an operation, and what is registered for it.

A protocol is a small program on an executor: it runs one gate or strings several together, and holds no
    state.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

from protocols.fss.executors.executor import Executor
from protocols.fss.gates.coarse_maximum import MAX_RING_BITS, CoarseMaximum
from protocols.fss.gates.embedding import TokensToServerHeld
from protocols.fss.gates.exact_truncation import TruncateExactly
from protocols.fss.gates.linear import Linear
from protocols.fss.gates.public_rows import OwnTokens, PublicRows
from protocols.fss.gates.range_reduction import RangeReduction, line_error
from protocols.fss.gates.square import Square
from protocols.fss.operations.activation_protocols import ActivationProtocol
from protocols.fss.operations.cap_protocols import CapProtocol
from protocols.fss.operations.exponential_protocols import ExponentialProtocol
from protocols.fss.operations.powers import PowerFormats, even_power, power_error
from protocols.fss.operations.protocol import FssProtocol
from protocols.fss.operations.tree_maximum import row_maximum
from protocols.fss.preprocessing.matrix import Matrix
from protocols.fss.tables.binade_cells import Function
from protocols.share import Share


class MaximumProtocol(FssProtocol):
    """A row's maximum, or a value so close to it that exp of the difference stays small.

    Attributes:
        coarse: it reads scores rounded to a public step; otherwise the scores themselves.
    """

    coarse: ClassVar[bool]

    def for_bits(self, ring_bits: int) -> MaximumProtocol:
        """What finds maxima of values of so many bits: this, or what it leaves wider ones to."""
        return self

    @abstractmethod
    def __call__(self, executor: Executor, x: Share, lengths: tuple[int, ...]) -> Share:
        """The maximum of every row of masked x [..., sum(lengths)], additive, in x's ring and scale."""


@final
class HistogramMaximum(MaximumProtocol):
    """Histograms of coarse scores, and a zero test of each count.

    Values too wide for a histogram are left to `TreeMaximum`. How wide a layer's are is public.

    Source: this project's own.
    """

    based_on = (CoarseMaximum,)
    coarse = True

    def for_bits(self, ring_bits: int) -> MaximumProtocol:
        return self if ring_bits <= MAX_RING_BITS else TreeMaximum()

    def __call__(self, executor: Executor, x: Share, lengths: tuple[int, ...]) -> Share:
        return executor.one(CoarseMaximum(lengths), x)


@final
class TreeMaximum(MaximumProtocol):
    """A knock-out tree of comparisons, exact to the last bit of the scores.

    Source: the usual tree, on comparisons by prefix parity as in Grotto (CCS 2023).
    """

    based_on = (row_maximum,)
    coarse = False

    def __call__(self, executor: Executor, x: Share, lengths: tuple[int, ...]) -> Share:
        return row_maximum(executor, x, lengths)


class PowerProtocol(FssProtocol):
    """An even power of a masked value."""

    @abstractmethod
    def __call__(self, executor: Executor, formats: PowerFormats, x: Share) -> Share:
        """x^power, additive, as the formats say."""

    @abstractmethod
    def max_abs_error(self, formats: PowerFormats, largest: float) -> float:
        """Bound on what it is off for |x| <= largest, rounding of x as it is read included."""


@final
class SquaringPower(PowerProtocol):
    """Squarings, each read from an opened value with fewer fraction bits: no table, no comparison.

    Source: Power-Softmax (arXiv 2410.09457) computes its powers so.
    """

    polynomial = True
    based_on = (Square, even_power)

    def __call__(self, executor: Executor, formats: PowerFormats, x: Share) -> Share:
        return even_power(executor, formats, x)

    def max_abs_error(self, formats: PowerFormats, largest: float) -> float:
        return power_error(formats, largest)


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeReductionFormats:
    """Range and result of a function of numbers of any order of magnitude; see `RangeReduction` for each.

    `ring_bits` holds the result with `frac_bits` fraction bits, two bits to spare.

    Attributes:
        unit, added: the function is a power of s / unit + added.
    """

    low: float
    high: float
    cells_bits: int
    ring_bits: int
    frac_bits: int
    exact_truncation: bool
    unit: float
    added: float = 0.0

    def of_gate(self) -> dict[str, Any]:
        """What the gate of a look-up takes."""
        fields = dataclasses.asdict(self)
        del fields["unit"], fields["added"]
        return fields


class RangeReductionProtocol(FssProtocol):
    """A power of a masked positive integer of any order of magnitude: 1 / s, 1 / sqrt(s)."""

    @abstractmethod
    def __call__(
        self, executor: Executor, function: Function, formats: RangeReductionFormats, s: Share
    ) -> Share:
        """function(s), additive, as the formats say, or with more fraction bits in a ring as much wider; in a
        narrower one where that holds it."""

    @abstractmethod
    def max_rel_error(self, power: float, formats: RangeReductionFormats) -> float:
        """Bound on the relative error of s^-power, rounding of the table aside."""


@final
class RangeReductionLookup(RangeReductionProtocol):
    """Lines over cells whose width grows with the number, read relative to the mask; nothing is sent."""

    based_on = (RangeReduction,)

    def __call__(
        self, executor: Executor, function: Function, formats: RangeReductionFormats, s: Share
    ) -> Share:
        return executor.one(RangeReduction(function, **formats.of_gate()), s)

    def max_rel_error(self, power: float, formats: RangeReductionFormats) -> float:
        if formats.exact_truncation:
            return (1.0 + 2.0 ** -(formats.cells_bits + 1)) ** power - 1.0
        return line_error(power, formats.cells_bits)


class LinearProtocol(FssProtocol):
    """Products with the server's weights, wherever the model has some: layers, gains, a private embedding,
    the head.

    Attributes:
        encrypted: the client's masks are multiplied under encryption; weights are brought in nowhere.
    """

    polynomial = True
    based_on = (Linear,)
    encrypted: ClassVar[bool]


@final
class DealtLinear(LinearProtocol):
    """Products with masked weights, which the client gets once a session, and the dealer's with their masks.

    Source: the offline product of Delphi (USENIX Security 2020), with a dealer for homomorphic encryption.
    """

    encrypted = False


@final
class EncryptedLinear(LinearProtocol):
    """The client's masks, encrypted, times the weights: without the dealer, and without bringing weights in.

    Refused: rows that are multiplied by learned numbers of their own; weights whose entries have a root mean
    square above 2.

    Source: Delphi (USENIX Security 2020); coefficients are packed as in Cheetah (USENIX Security 2022).
    """

    encrypted = True


class EmbeddingProtocol(FssProtocol):
    """Rows of the server's token table at the client's tokens.

    Attributes:
        public_table: the client gets the table in the clear, in the setup.
    """

    public_table: ClassVar[bool] = False

    @abstractmethod
    def tokens(
        self,
        executor: Executor,
        ids: Sequence[int] | None,
        count: int,
        vocabulary: int,
        ring_bits: int,
        batch: int = 1,
        types: int = 1,
    ) -> Share:
        """The client's ids, `count` of each of `batch` sequences, None elsewhere, as `rows` wants them.

        Args:
            vocabulary: V.
            types: of tokens (`protocols.typed_tokens`).
        """

    @abstractmethod
    def rows(self, executor: Executor, tokens: Share, table: Matrix, types: int = 1) -> Share:
        """The rows [B, T, D], whole and masked at the server."""


@final
class PrivateEmbedding(EmbeddingProtocol):
    """One-hot rows times the table, a linear layer of the server's: neither side learns the other's.

    Source: the offline product of Delphi (USENIX Security 2020), with a dealer for homomorphic encryption.
    """

    based_on = (TokensToServerHeld, Linear)

    def tokens(
        self,
        executor: Executor,
        ids: Sequence[int] | None,
        count: int,
        vocabulary: int,
        ring_bits: int,
        batch: int = 1,
        types: int = 1,
    ) -> Share:
        return executor.one(TokensToServerHeld(ids, count, vocabulary, ring_bits, batch, types))

    def rows(self, executor: Executor, tokens: Share, table: Matrix, types: int = 1) -> Share:
        return executor.one(Linear(table), tokens)


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
        self,
        executor: Executor,
        ids: Sequence[int] | None,
        count: int,
        vocabulary: int,
        ring_bits: int,
        batch: int = 1,
        types: int = 1,
    ) -> Share:
        return executor.one(OwnTokens(ids, count, vocabulary * types, batch))

    def rows(self, executor: Executor, tokens: Share, table: Matrix, types: int = 1) -> Share:
        return executor.one(PublicRows(table, types), tokens)


class TruncationProtocol(FssProtocol):
    """Division by powers of two, everywhere in the model.

    Attributes:
        exact_truncation: exact, by gates. The executor that runs a plan knows it, too.
        max_units_off: of the last place, from the exact quotient.
    """

    exact_truncation: ClassVar[bool]
    max_units_off: ClassVar[float] = 1.0


@final
class ProbabilisticTruncation(TruncationProtocol):
    """Value and mask are shifted, each by itself: rounded up with the probability of what is cut off.

    Source: stochastic truncation of masked values, as in Orca (S&P 2024).
    """

    exact_truncation = False


@final
class ExactTruncation(TruncationProtocol):
    """Rounded alike whatever the mask is: a private run equals the fixed-point reference bit by bit.

    Source: shifts by function secret sharing of Boyle et al. (EUROCRYPT 2021), with a point function's key.
    """

    based_on = (TruncateExactly,)
    exact_truncation = True


@dataclass(frozen=True, slots=True, kw_only=True)
class FssSuite:
    """A plan's protocols, ready for the backend.

    Attributes:
        activations: by a model's name for them: `gelu_tanh` is a `gelu`; tanh has one protocol in every
            plan.
        cap: of scores, one for plans with exact truncation and one for others.
        polynomial: every function of a model without softmax is additions and products alone.
    """

    activations: dict[str, ActivationProtocol]
    cap: CapProtocol
    maximum: MaximumProtocol
    exponential: ExponentialProtocol
    power: PowerProtocol
    reciprocal: RangeReductionProtocol
    inverse_sqrt: RangeReductionProtocol
    linear: LinearProtocol
    embedding: EmbeddingProtocol
    truncation: TruncationProtocol
    polynomial: bool
