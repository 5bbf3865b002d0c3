"""Products of two private vectors, number by number, by encryption; few of them by oblivious transfer."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from parties.link import Link
from parties.meter import CLIENT, SERVER
from parties.randomness import Randomness
from protocols.rlwe.costs import key_bytes, vector_answer_bytes, vector_query_bytes
from protocols.rlwe.elementwise import chunks, evaluator_products, holder_products
from protocols.rlwe.keys import EvaluationKeys, SecretKey, receive_keys, send_keys
from protocols.rlwe.slot_parameters import SlotParameters, slot_parameters
from protocols.two_party.ot.costs import OtCosts
from protocols.two_party.ot.two_party_ot import TwoPartyOt
from protocols.two_party.primitives import MOST_ANSWERS

Words = NDArray[np.uint64]
_KeyId = tuple[int, tuple[int, ...]]
FEWEST, MOST_BITS = 1 << 13, 58
"""A ciphertext has room for 2^14 numbers: fewer than half of that are multiplied by oblivious transfer, which
takes more computation, and in rings above 34 bits more bytes; so are numbers of more bits than that."""


def encrypted(count: int, bits: int) -> bool:
    """Whether so many products modulo 2^bits are made by encryption."""
    return count >= FEWEST and bits <= MOST_BITS


def _key_id(parameters: SlotParameters) -> _KeyId:
    return parameters.degree, parameters.primes


class Vectors:
    """One party's side of products of private vectors. Keys are sent when they are first needed.

    Args:
        link: to the other party.
        ot: with it.
        random: this party's own.
    """

    def __init__(self, link: Link, ot: TwoPartyOt, random: Randomness) -> None:
        assert link.rank is not None
        self._link, self._rank, self._ot, self._random = link, link.rank, ot, random
        self._own: dict[_KeyId, SecretKey[SlotParameters]] = {}
        self._theirs: dict[_KeyId, EvaluationKeys[SlotParameters]] = {}

    def products(self, mine: Words, bits: int, evaluator: int) -> Words:
        """This party's share modulo 2^bits of the products with the other's numbers, [n].

        Args:
            mine: below 2^bits.
            evaluator: the party that multiplies what the other encrypted; the sender of transfers.
        """
        if not encrypted(len(mine), bits):
            return self._ot.products(mine, bits, sender=evaluator)
        parameters = slot_parameters(bits, MOST_ANSWERS)
        identity = _key_id(parameters)
        if self._rank == evaluator:
            if identity not in self._theirs:
                self._theirs[identity] = receive_keys(self._link, parameters)
            keys = dataclasses.replace(self._theirs[identity], parameters=parameters)
            return evaluator_products(self._link, keys, mine, self._random)
        if identity not in self._own:
            self._own[identity] = send_keys(self._link, parameters, self._random)
        key = dataclasses.replace(self._own[identity], parameters=parameters)
        return holder_products(self._link, key, mine, self._random)


@dataclass(slots=True)
class VectorCosts:
    """What `Vectors` sends by encryption, without a run.

    Attributes:
        ot: what it sends by transfer.
        sent: so far, to the server and to the client.
    """

    ot: OtCosts
    sent: list[int] = field(default_factory=lambda: [0, 0])
    _known: set[tuple[int, _KeyId]] = field(default_factory=set[tuple[int, _KeyId]])

    def products(self, count: int, bits: int, evaluator: int) -> None:
        """As `Vectors.products`."""
        if not encrypted(count, bits):
            self.ot.products(count, bits, sender=evaluator)
            return
        parameters = slot_parameters(bits, MOST_ANSWERS)
        holder = CLIENT if evaluator == SERVER else SERVER
        if (holder, _key_id(parameters)) not in self._known:
            self._known.add((holder, _key_id(parameters)))
            self.sent[evaluator] += key_bytes(parameters)
        self.sent[evaluator] += vector_query_bytes(parameters, count)
        self.sent[holder] += vector_answer_bytes(parameters, count)
        self.ot.flights.answered(holder, len(chunks(parameters, count)))
