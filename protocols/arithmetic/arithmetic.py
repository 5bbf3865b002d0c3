"""The interface to additive shares: local steps, written once, and interactive primitives.

Composite protocols (softmax, GELU, norms) are written against this class alone. An executor supplies the
primitives: over CrypTen, in cleartext fixed point (tests), or on shapes (bills).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager

import torch

from parties.errors import ConfigError, RangeError
from parties.meter import SERVER, Meter
from protocols.arithmetic.lines import Lines
from protocols.arithmetic.weight import Weight
from protocols.share import Share

Public = float | torch.Tensor
RING_BITS = 64
"""Of an executor that says nothing else."""
PRODUCT_SLACK_BITS = 3
"""A product that is at most 2^b lies in a ring of so many bits more: a sign, and truncation's slack."""


class Arithmetic(ABC):
    """Fixed-point arithmetic on shares of Z_2^ring_bits.

    Args:
        rank: 0 server, 1 client.
        meter: its spans label what happens.
        frac_bits: fraction bits of every non-integer result.
        ring_bits: of all shares; values are int64 whose higher bits mean nothing.

    Attributes:
        choice_frac_bits: fraction bits of one-hot rows that choose from a table. With none a product with
            them needs no truncation; with some it is computed in a ring as wide as the table's entries.
    """

    choice_frac_bits = 0

    def __init__(self, rank: int, meter: Meter, frac_bits: int, ring_bits: int = RING_BITS) -> None:
        self.rank, self.meter, self.frac_bits, self.ring_bits = rank, meter, frac_bits, ring_bits
        self._largest: float | None = None

    @contextmanager
    def within(self, largest: float) -> Generator[None]:
        """A public promise that products inside, of two numbers with fractions, are at most so large.

        An executor may then multiply in a narrower ring; where the promise is broken the result is wrong, and
        the cleartext executor raises RangeError.
        """
        before, self._largest = self._largest, largest
        try:
            yield
        finally:
            self._largest = before

    def product_bits(self, a: Share, b: Share) -> int:
        """Of the ring in which a product has to be computed: all, or fewer inside of `within`."""
        if self._largest is None or not (a.frac_bits and b.frac_bits):
            return self.ring_bits
        largest = max(self._largest * 2.0 ** (a.frac_bits + b.frac_bits), 1.0)
        return min(self.ring_bits, math.ceil(math.log2(largest)) + PRODUCT_SLACK_BITS)

    # -- local: no message --------------------------------------------------------------------------------

    def add(self, a: Share, b: Share) -> Share:
        """a + b; broadcasts. Both must have the same fraction bits."""
        _same_point(a, b)
        return Share(a.value + b.value, a.frac_bits)

    def sub(self, a: Share, b: Share) -> Share:
        """a - b; broadcasts. Both must have the same fraction bits."""
        _same_point(a, b)
        return Share(a.value - b.value, a.frac_bits)

    def neg(self, a: Share) -> Share:
        """-a."""
        return Share(-a.value, a.frac_bits)

    def add_public(self, a: Share, value: Public) -> Share:
        """a plus a public number or tensor, rounded to a's fraction bits."""
        if self.rank != SERVER:
            zero = torch.zeros_like(value, dtype=torch.int64) if isinstance(value, torch.Tensor) else 0
            return Share(a.value + (zero if isinstance(zero, int) else zero.to(a.value.device)), a.frac_bits)
        return Share(a.value + self._constant(value, a.frac_bits, a.value), a.frac_bits)

    def mul_public(self, a: Share, value: Public) -> Share:
        """a times a public number or tensor, then one truncation back to a's fraction bits."""
        product = Share(
            a.value * self._constant(value, self.frac_bits, a.value), a.frac_bits + self.frac_bits
        )
        return self.truncate(product, a.frac_bits)

    def mul_integer(self, a: Share, value: int | torch.Tensor) -> Share:
        """a times public integers: exact, nothing is truncated."""
        factor = value.to(a.value.device) if isinstance(value, torch.Tensor) else value
        return Share(a.value * factor, a.frac_bits)

    def combination(self, terms: Sequence[tuple[Share, float]], constant: float = 0.0) -> Share:
        """constant + the sum of public numbers times shares, all of one binary point: one truncation."""
        return self.combinations([(terms, constant)])[0]

    def combinations(self, sums: Sequence[tuple[Sequence[tuple[Share, float]], float]]) -> list[Share]:
        """Several combinations of one shape and binary point, truncated together."""
        frac_bits = sums[0][0][0][0].frac_bits
        totals: list[Share] = []
        for terms, constant in sums:
            total = self.scaled(*terms[0], frac_bits + self.frac_bits)
            for share, factor in terms[1:]:
                total = self.add(total, self.scaled(share, factor, frac_bits + self.frac_bits))
            totals.append(self.add_public(total, constant))
        if len(totals) == 1:
            return [self.truncate(totals[0], frac_bits)]
        together = self.truncate(self.stack(totals), frac_bits)
        return [self.rearrange(together, lambda value, i=i: value[i]) for i in range(len(totals))]

    def scaled(self, a: Share, value: float, frac_bits: int) -> Share:
        """a times a public number at `frac_bits` fraction bits (at least a's): nothing is truncated."""
        factor = self.encode(torch.tensor(value, dtype=torch.float64), frac_bits - a.frac_bits)
        return Share(a.value * factor.to(a.value.device), frac_bits)

    def shift_down(self, a: Share, bits: int) -> Share:
        """a / 2^bits: one truncation of a number no larger than a (none for 0 bits)."""
        return a if bits == 0 else self.truncate(Share(a.value, a.frac_bits + bits), a.frac_bits)

    def sum(self, a: Share, axis: int) -> Share:
        """Sum over an axis, kept with length 1."""
        return Share(a.value.sum(axis, keepdim=True), a.frac_bits)

    def rearrange(self, a: Share, change: Callable[[torch.Tensor], torch.Tensor]) -> Share:
        """Applies reshapes, transposes, slices, gathers: whatever only moves elements."""
        return Share(change(a.value), a.frac_bits)

    def concat(self, parts: Sequence[Share], axis: int) -> Share:
        """Joins shares of the same fraction bits along an axis."""
        for part in parts[1:]:
            _same_point(parts[0], part)
        return Share(torch.cat([part.value for part in parts], dim=axis), parts[0].frac_bits)

    def stack(self, parts: Sequence[Share]) -> Share:
        """Joins shares of one shape and binary point along a new first axis."""
        for part in parts[1:]:
            _same_point(parts[0], part)
        return Share(torch.stack([part.value for part in parts]), parts[0].frac_bits)

    def mul_together(self, pairs: Sequence[tuple[Share, Share]]) -> list[Share]:
        """Several products of equal-shaped factors in the rounds of one; all with the same fraction bits."""
        left = self.concat([self.rearrange(a, torch.flatten) for a, _ in pairs], 0)
        right = self.concat([self.rearrange(b, torch.flatten) for _, b in pairs], 0)
        product = self.mul(left, right)
        pieces = torch.split(product.value, [math.prod(a.shape) for a, _ in pairs])
        return [
            Share(piece.reshape(a.shape), product.frac_bits)
            for piece, (a, _) in zip(pieces, pairs, strict=True)
        ]

    def rescaled(self, product: torch.Tensor, a: Share, b: Share, bits: int = RING_BITS) -> Share:
        """The product of two factors' ring elements: truncated to `frac_bits` where both have fractions.

        Args:
            bits: of the product's ring, where it is narrower than others'.
        """
        exact = Share(product, a.frac_bits + b.frac_bits, bits)
        return self.truncate(exact, self.frac_bits) if a.frac_bits and b.frac_bits else exact

    def with_bias(self, product: torch.Tensor, x: Share, weight: Weight, bias: Share | None) -> torch.Tensor:
        """A product's ring elements plus a bias, before anything is truncated."""
        if bias is None or product.is_meta:
            return product
        return product + bias.value * 2 ** (x.frac_bits + weight.share.frac_bits - bias.frac_bits)

    # -- interactive: an executor's own ---------------------------------------------------------------------

    @abstractmethod
    def truncate(self, a: Share, frac_bits: int) -> Share:
        """Drops fraction bits down to `frac_bits`; the executor says how exactly."""

    @abstractmethod
    def mul(self, a: Share, b: Share) -> Share:
        """Elementwise product, broadcasting; truncated to `frac_bits` when both factors have fractions."""

    @abstractmethod
    def square(self, a: Share) -> Share:
        """Elementwise square, truncated."""

    @abstractmethod
    def matmul(self, a: Share, b: Share) -> Share:
        """Batched matrix product of two secrets, truncated."""

    def attention_factors(
        self, name: str, q: Share, k: Share, v: Share, start: int, bits: tuple[int, int]
    ) -> tuple[Share, Share, Share]:
        """Queries [..., H, T, K], keys and values [..., H_kv, T, K] of tokens after `start` others, as later
        matrix products take them: those of each query with the keys up to its own, and those of weights with
        values. An executor may have keys and values stay as what products of later tokens reuse.

        Args:
            name: of the layer.
            bits: of the rings of products with keys and with values.
        """
        return q, k, v

    def take_heads(self, a: Share, numbers: Sequence[int]) -> Share:
        """Some heads of [..., H, T, K], in this order; a number may come again. Sends nothing."""
        return self.rearrange(a, lambda value: value[..., list(numbers), :, :])

    @abstractmethod
    def less_than_zero(self, a: Share, largest: float | None = None, tolerance: float = 0.0) -> Share:
        """1 where a < 0, else 0, as integers (no fraction bits).

        Args:
            a: any numbers.
            largest: a public promise that no |a| is larger. An executor may then compare fewer bits; where
                the promise is broken the result may be wrong, and the cleartext executor raises RangeError.
            tolerance: numbers from 0 to below it may count as less than zero; an executor may then look at
                fewer bits.
        """

    def select(self, a: Share, bit: Share) -> Share:
        """a times bits, integers that are 0 or 1, of a shape that broadcasts; nothing is truncated.

        An executor may make use of it that the factor is a bit.
        """
        return self.mul(a, bit)

    def positive_part(self, a: Share, largest: float, tolerance: float = 0.0) -> Share:
        """a where it is positive, else 0; nothing is truncated. `largest` as for `less_than_zero`.

        Args:
            tolerance: of numbers from 0 to below it the result may be 0, and of negative ones above minus it
                the number itself.
        """
        negative = self.less_than_zero(self.neg(a), largest, tolerance)
        return self.select(a, negative)

    def lines(self, x: Share, *tables: Lines) -> Share:
        """The sum of functions of x that are made of lines, looked up by an index that nobody learns.

        x lies within each table's domain; of a number the piece, or the one before it, is found. The tables'
        lower digits, slopes and intercepts have the same bits.

        Raises:
            ConfigError: this executor looks nothing up.
        """
        raise ConfigError("this suite looks no lines up: take another protocol for it")

    @abstractmethod
    def share_from(
        self, owner: int, value: torch.Tensor | None, shape: Sequence[int], frac_bits: int | None = None
    ) -> Share:
        """Shares `owner`'s float tensor of a public shape; `value` is None at the other party.

        `frac_bits` defaults to the executor's; 0 shares integers, such as one-hot rows.
        """

    @abstractmethod
    def weight(self, name: str, value: torch.Tensor | None, shape: Sequence[int]) -> Weight:
        """Brings in one of the server's weights, once a session. `value` is None at the client."""

    @abstractmethod
    def linear(
        self, x: Share, weight: Weight, *, transposed: bool = False, bias: Share | None = None
    ) -> Share:
        """x [..., in] times a weight [in, out] (or its transpose) plus a bias [out], truncated."""

    @abstractmethod
    def open_to(self, receiver: int, a: Share) -> torch.Tensor | None:
        """The secret in float64 at `receiver`; None at the other party. Reveals exactly that."""

    def native(
        self,
        name: str,
        *operands: Share,
        within: tuple[float, float] | None = None,
        settings: Mapping[str, object] | None = None,
        **options: object,
    ) -> Share:
        """A composition that the library under the executor brings itself, where there is such a library.

        Raises:
            ConfigError: there is none of that name.
        """
        raise ConfigError(f"this executor has no {name} of its own")

    # -- encoding -----------------------------------------------------------------------------------------

    def encode(self, value: torch.Tensor, frac_bits: int | None = None) -> torch.Tensor:
        """Float tensor to ring elements, rounded to nearest.

        Raises:
            RangeError: a value is not finite or does not fit the ring with a bit to spare.
        """
        scaled = value.to(torch.float64) * 2.0 ** (self.frac_bits if frac_bits is None else frac_bits)
        most = self.ring_bits - 2
        if scaled.numel() and not bool((scaled.abs() < 1 << most).all()):
            raise RangeError(f"{self.meter.label}: a value of magnitude over 2^{most} cannot be encoded")
        return torch.round(scaled).to(torch.int64)

    def decode(self, ring: torch.Tensor, frac_bits: int) -> torch.Tensor:
        """Ring elements to float64."""
        unused = RING_BITS - self.ring_bits
        signed = (ring << unused) >> unused if unused else ring
        return signed.to(torch.float64) / 2.0**frac_bits

    def sign_bits(self, a: Share, largest: float | None) -> int:
        """How many low bits of a decide its sign: all, or fewer where no |a| is larger than `largest`."""
        if largest is None:
            return self.ring_bits
        return max(2, min(self.ring_bits, math.ceil(largest * 2.0**a.frac_bits).bit_length() + 1))

    def ignored_bits(self, a: Share, tolerance: float) -> int:
        """How many low bits of a may be left out of a comparison with zero."""
        units = tolerance * 2.0**a.frac_bits
        return math.floor(math.log2(units)) if units >= 2.0 else 0

    def _constant(self, value: Public, frac_bits: int, like: torch.Tensor) -> torch.Tensor:
        tensor = value if isinstance(value, torch.Tensor) else torch.tensor(value, dtype=torch.float64)
        return self.encode(tensor, frac_bits).to(like.device)


def _same_point(a: Share, b: Share) -> None:
    assert a.frac_bits == b.frac_bits, f"binary points differ: {a.frac_bits} and {b.frac_bits}"
