"""Oblivious transfer between two parties and correlations that are made of it: what protocols call."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from parties.link import Link
from parties.randomness import Randomness
from protocols.two_party.ot import arithmetic, bit_products, choose
from protocols.two_party.ot.masks import Masks, take_masks
from protocols.two_party.ot.session import Session, set_up
from protocols.two_party.ot.stream import CotStream

Words = NDArray[np.uint64]
Bits = NDArray[np.uint8]


class TwoPartyOt:
    """One party's side: both call the same methods, in the same order, with the same public arguments.

    Everything is sent over the link, under the meter's current label and phase. `sender` is the rank of the
    party that sends COTs in a call; the other's bits choose. `protocols.two_party.ot.costs` counts what calls
    cost.

    Attributes:
        session: what conversions share; `streams` are the COTs by the rank of their sender.
    """

    def __init__(self, session: Session) -> None:
        self.session = session

    @classmethod
    def set_up(cls, link: Link, randomness: Randomness) -> TwoPartyOt:
        """Runs the base OTs: see `session.set_up`."""
        return cls(set_up(link, randomness))

    def reserve(self, sender: int, count: int) -> None:
        """Announces COTs that calls will take: few at a time cost 127 bits each, many below one."""
        self.stream(sender).reserve(count)

    def stream(self, sender: int) -> CotStream:
        """The COTs that a party sends."""
        return self.session.streams[sender]

    def random_ots(self, sender: int, count: int, words: int = 1) -> Masks:
        """Random OTs of masks: see `masks.take_masks`."""
        return take_masks(self.session, sender, count, words)

    def bit_products(self, mine: Bits, count: int, *, sender: int = 0) -> Bits:
        """XOR shares of a & b, packed: see `bit_products.bit_products`."""
        return bit_products.bit_products(self.session, mine, count, sender)

    def bit_triples(self, count: int) -> tuple[Bits, Bits, Bits]:
        """Random XOR-shared a, b and a & b, packed: see `bit_products.bit_triples`."""
        return bit_products.bit_triples(self.session, count)

    def additive_bit_products(self, mine: Bits, ring_bits: int, *, sender: int = 0) -> Words:
        """Additive shares of a & b: see `arithmetic.additive_bit_products`."""
        return arithmetic.additive_bit_products(self.session, mine, ring_bits, sender)

    def bit_products_by_width(self, mine: Bits, widths: list[int], *, sender: int = 0) -> Words:
        """Additive shares of rows of a & b: see `arithmetic.bit_products_by_width`."""
        return arithmetic.bit_products_by_width(self.session, mine, widths, sender)

    def bit_times_value(
        self, mine: Words | Bits, shape: tuple[int, ...], ring_bits: int, *, sender: int = 0
    ) -> Words:
        """Additive shares of b v: see `arithmetic.bit_times_value`."""
        return arithmetic.bit_times_value(self.session, mine, shape, ring_bits, sender)

    def dabits(self, count: int, ring_bits: int, *, sender: int = 0) -> tuple[Bits, Words]:
        """Random bits, XOR-shared and additively shared: see `arithmetic.dabits`."""
        return arithmetic.dabits(self.session, count, ring_bits, sender)

    def products(
        self, mine: Words, ring_bits: int, *, sender: int = 0, receiver_bits: int | None = None
    ) -> Words:
        """Additive shares of x y: see `arithmetic.products`."""
        return arithmetic.products(self.session, mine, ring_bits, sender, receiver_bits)

    def send_chosen(self, messages: Words, message_bits: int) -> None:
        """1-of-N OT, this party sending: see `choose.send_chosen`."""
        choose.send_chosen(self.session, messages, message_bits, self.session.rank)

    def receive_chosen(self, choices: Words, options: int, message_bits: int) -> Words:
        """1-of-N OT, the other party sending: see `choose.receive_chosen`."""
        return choose.receive_chosen(self.session, choices, options, message_bits, 1 - self.session.rank)

    def random_messages(self, count: int, options: int, message_bits: int) -> Words:
        """Random 1-of-N OT, this party sending: see `choose.random_messages`."""
        return choose.random_messages(self.session, count, options, message_bits, self.session.rank)

    def random_message(self, count: int, options: int, message_bits: int) -> tuple[Words, Words]:
        """Random 1-of-N OT, the other party sending: see `choose.random_message`."""
        return choose.random_message(self.session, count, options, message_bits, 1 - self.session.rank)
