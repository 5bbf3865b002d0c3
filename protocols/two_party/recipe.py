"""How correlations of one kind are made of oblivious transfers: many at once, and what that costs."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from parties.meter import SERVER
from parties.randomness import Randomness
from protocols.tensors import to_tensor, to_words
from protocols.two_party.ot.costs import OtCosts
from protocols.two_party.ot.two_party_ot import TwoPartyOt
from protocols.two_party.vectors import VectorCosts, Vectors

Words = NDArray[np.uint64]
Bits = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Maker:
    """A party, as a recipe sees it.

    Attributes:
        rank: 0 server, 1 client.
        ot: with the other party.
        vectors: likewise.
        random: this party's own.
    """

    rank: int
    ot: TwoPartyOt
    vectors: Vectors
    random: Randomness

    def words(self, count: int, bits: int) -> Words:
        """Uniform elements below 2^bits."""
        return self.random.words((count,), bits).view(np.uint64)

    def bits(self, count: int) -> Bits:
        """Uniform bits."""
        return self.random.words((count,), 1).astype(np.uint8)


@dataclass(slots=True)
class Costs:
    """What makers send, as a recipe counts it.

    Attributes:
        ot, vectors: as of `Maker`.
    """

    ot: OtCosts
    vectors: VectorCosts

    @property
    def sent(self) -> tuple[int, int]:
        """Bytes so far, to the server and to the client."""
        to_server, to_client = self.vectors.sent
        return self.ot.total.to_server + to_server, self.ot.total.to_client + to_client


class Recipe(ABC):
    """Makes correlations of a kind that need nothing but a number of elements and a ring."""

    @abstractmethod
    def make(self, maker: Maker, count: int, bits: int) -> tuple[torch.Tensor, ...]:
        """This party's parts, [count, ...] each, as `Correlations.take` has them."""

    @abstractmethod
    def count(self, costs: Costs, count: int, bits: int) -> None:
        """Charges what `make` sends."""


class Wrap(Recipe):
    """A bit each, and additive shares of their product: one COT, whose sender is the server."""

    def make(self, maker: Maker, count: int, bits: int) -> tuple[torch.Tensor, ...]:
        own = maker.bits(count)
        product = maker.ot.additive_bit_products(own, bits, sender=SERVER)
        return torch.from_numpy(own), to_tensor(product)

    def count(self, costs: Costs, count: int, bits: int) -> None:
        costs.ot.additive_bit_products(count, bits, sender=SERVER)


class Bit(Recipe):
    """A bit shared both ways: one COT."""

    def make(self, maker: Maker, count: int, bits: int) -> tuple[torch.Tensor, ...]:
        xor, additive = maker.ot.dabits(count, bits, sender=SERVER)
        return torch.from_numpy(xor), to_tensor(additive)

    def count(self, costs: Costs, count: int, bits: int) -> None:
        costs.ot.dabits(count, bits, sender=SERVER)


class Select(Recipe):
    """A bit shared both ways, a number, and their product: three COTs.

    With b = b_0 ^ b_1 and s = s_0 + s_1: b s is the sum of b_0 s_0, b_1 s_1, and of what each party's bit
    adds of the other's number: b_1 (1 - 2 b_0) s_0 and b_0 (1 - 2 b_1) s_1.
    """

    def make(self, maker: Maker, count: int, bits: int) -> tuple[torch.Tensor, ...]:
        xor, additive = maker.ot.dabits(count, bits, sender=SERVER)
        number = maker.words(count, bits)
        own = xor.astype(np.uint64)
        turned = number * (np.uint64(1) - np.uint64(2) * own)
        product = own * number
        for sender in (0, 1):
            mine = turned if sender == maker.rank else xor
            product += maker.ot.bit_times_value(mine, (count,), bits, sender=sender)
        return torch.from_numpy(xor), to_tensor(additive), to_tensor(number), to_tensor(product)

    def count(self, costs: Costs, count: int, bits: int) -> None:
        costs.ot.dabits(count, bits, sender=SERVER)
        for sender in (0, 1):
            costs.ot.bit_times_value((count,), bits, sender=sender)


class And(Recipe):
    """Bit triples: two COTs."""

    def make(self, maker: Maker, count: int, bits: int) -> tuple[torch.Tensor, ...]:
        return tuple(
            torch.from_numpy(np.unpackbits(packed, count=count, bitorder="little"))
            for packed in maker.ot.bit_triples(count)
        )

    def count(self, costs: Costs, count: int, bits: int) -> None:
        costs.ot.bit_triples(count)


class Square(Recipe):
    """r and r^2 modulo 2^k: products of both parties' summands, modulo 2^(k - 1), count twice."""

    def make(self, maker: Maker, count: int, bits: int) -> tuple[torch.Tensor, ...]:
        own = maker.words(count, bits)
        cross = maker.vectors.products(own & np.uint64((1 << (bits - 1)) - 1), bits - 1, evaluator=SERVER)
        return to_tensor(own), to_tensor(own * own + cross * np.uint64(2))

    def count(self, costs: Costs, count: int, bits: int) -> None:
        costs.vectors.products(count, bits - 1, evaluator=SERVER)


def cross_products(maker: Maker, a: torch.Tensor, b: torch.Tensor, bits: int) -> torch.Tensor:
    """Shares of (a_0 + a_1)(b_0 + b_1) from this party's summands, flat and equally long."""
    own_a, own_b = to_words(a), to_words(b)
    mask = np.uint64((1 << bits) - 1)
    total = own_a * own_b
    for evaluator in (0, 1):
        own = own_a if evaluator == maker.rank else own_b
        total += maker.vectors.products(own & mask, bits, evaluator)
    return to_tensor(total)


def count_cross_products(costs: Costs, count: int, bits: int) -> None:
    """What `cross_products` sends."""
    for evaluator in (0, 1):
        costs.vectors.products(count, bits, evaluator)
