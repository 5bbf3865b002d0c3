"""What OTs cost, from public arguments alone: the calls of `TwoPartyOt`, with bytes in place of results.

Extensions are counted where they happen in a run, as both follow one schedule (`schedule.py`). In parts that
are closed forms:

    base OTs                 8192 + 4096 bytes each way
    extension, direct        127 bits a COT to the sender, in words of 64 COTs
    extension, silent        `Stage.sent_bytes` to the receiver
    bit product              1 bit each way
    bit triple, random OTs   nothing
    bit times m values       1 bit to the sender, m k to the receiver
    daBit                    k - 1 bits to the receiver
    product of k by w bits   w bits to the sender, sum of k - i, i below w, to the receiver
    chosen 1-of-N            log2 N bits to the sender, N times the message to the receiver

each array rounded up to whole bytes, of which a message of `chunk_rows` rows has one a width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from parties.flights import Flights
from parties.wire import spec_of
from protocols.two_party.ot import arithmetic, bit_products, choose
from protocols.two_party.ot.base import COUNT, POINT_BYTES
from protocols.two_party.ot.schedule import ExtensionSchedule
from protocols.two_party.ot.session import PIECE, pieces

_WORDS = 2


@dataclass(frozen=True, slots=True)
class Traffic:
    """Payload between the parties.

    Attributes:
        to_server, to_client: bytes.
        rounds: messages of which each waits for the one before, as the meter counts them.
    """

    to_server: int = 0
    to_client: int = 0
    rounds: int = 0


BASE = Traffic(3 * COUNT * POINT_BYTES, 3 * COUNT * POINT_BYTES, 2)
"""Base OTs of both directions."""


class OtCosts:
    """Counts the calls of a session.

    Args:
        flights: of all that the session sends in its phase.

    Attributes:
        total: of all calls so far, without base OTs.
    """

    def __init__(self, flights: Flights | None = None) -> None:
        self.total, self.flights = Traffic(), flights or Flights()
        self._schedules = (ExtensionSchedule(), ExtensionSchedule())

    def reserve(self, sender: int, count: int) -> None:
        """As `TwoPartyOt.reserve`."""
        self._schedules[sender].reserve(count)

    def random_ots(self, sender: int, count: int, words: int = 1) -> None:
        """As `TwoPartyOt.random_ots`."""
        self._take_masks(sender, count, words)

    def bit_products(self, count: int, *, sender: int = 0) -> None:
        """As `TwoPartyOt.bit_products`."""
        for start, stop in pieces(count, bit_products.CHUNK):
            self._take_masks(sender, stop - start, of=count - start)
            self._products(sender, stop - start, 1, [1])

    def bit_triples(self, count: int) -> None:
        """As `TwoPartyOt.bit_triples`."""
        for start, stop in pieces(count, bit_products.CHUNK):
            for sender in range(2):
                self._take_masks(sender, stop - start, of=count - start)

    def additive_bit_products(self, count: int, ring_bits: int, *, sender: int = 0) -> None:
        """As `TwoPartyOt.additive_bit_products`."""
        self.bit_times_value((count,), ring_bits, sender=sender)

    def bit_products_by_width(self, count: int, widths: list[int], *, sender: int = 0) -> None:
        """As `TwoPartyOt.bit_products_by_width`."""
        for start, stop in pieces(count, arithmetic.wide_chunk_rows(len(widths))):
            self._take_masks(sender, len(widths) * (stop - start))
            self._products(sender, len(widths) * (stop - start), 1, widths)

    def bit_times_value(self, shape: tuple[int, ...], ring_bits: int, *, sender: int = 0) -> None:
        """As `TwoPartyOt.bit_times_value`."""
        rows, columns = shape[0], shape[1] if len(shape) == 2 else 1
        for start, stop in pieces(rows, arithmetic.chunk_rows(columns)):
            self._take_masks(sender, stop - start, columns, of=rows - start)
            self._products(sender, stop - start, columns, [ring_bits])

    def dabits(self, count: int, ring_bits: int, *, sender: int = 0) -> None:
        """As `TwoPartyOt.dabits`."""
        for start, stop in pieces(count, arithmetic.CHUNK_WORDS):
            self._take_masks(sender, stop - start, of=count - start)
            if ring_bits > 1:
                self._send(1 - sender, spec_of(ring_bits - 1, (stop - start,)).packed_bytes)

    def products(
        self, count: int, ring_bits: int, *, sender: int = 0, receiver_bits: int | None = None
    ) -> None:
        """As `TwoPartyOt.products`."""
        width = receiver_bits or ring_bits
        for start, stop in pieces(count, arithmetic.chunk_rows(width)):
            self._take_masks(sender, width * (stop - start), of=width * (count - start))
            self._products(sender, width * (stop - start), 1, [ring_bits - i for i in range(width)])

    def chosen(self, count: int, options: int, message_bits: int, *, sender: int) -> None:
        """As `TwoPartyOt.send_chosen` and `receive_chosen`."""
        bits = choose.index_bits(options)
        for start, stop in pieces(count, choose.chunk_rows(options)):
            self.random_messages(stop - start, options, sender=sender, of=count - start)
            self._send(sender, spec_of(bits, (stop - start,)).packed_bytes)
            self._send(1 - sender, spec_of(message_bits, (stop - start, options)).packed_bytes)

    def random_messages(self, count: int, options: int, *, sender: int, of: int = 0) -> None:
        """As `TwoPartyOt.random_messages` and `random_message`."""
        bits = choose.index_bits(options)
        self._take(sender, bits * count, bits * of)

    def message(self, receiver: int, *arrays: tuple[int, int]) -> None:
        """One message of arrays of so many elements and bits, which a caller sends itself."""
        self._send(receiver, sum(spec_of(bits, (count,)).packed_bytes for count, bits in arrays))

    def exchange(self, *arrays: tuple[int, int]) -> None:
        """As `message`, of both parties to each other at once."""
        payload = sum(spec_of(bits, (count,)).packed_bytes for count, bits in arrays)
        total, before = self.total, self.flights.deepest
        self.flights.exchange()
        self.total = Traffic(
            total.to_server + payload, total.to_client + payload, total.rounds + self.flights.deepest - before
        )

    def _products(self, sender: int, rows: int, columns: int, widths: list[int]) -> None:
        self._send(sender, spec_of(1, (rows,)).packed_bytes)
        groups = rows // len(widths)
        self._send(1 - sender, sum(spec_of(width, (groups, columns)).packed_bytes for width in widths))

    def _take_masks(self, sender: int, count: int, words: int = 1, of: int = 0) -> None:
        blocks = -(-words // _WORDS)
        for start, stop in pieces(count, max(1, PIECE // blocks)):
            self._take(sender, stop - start, max(of, count) - start)

    def _take(self, sender: int, count: int, of: int) -> None:
        for step in self._schedules[sender].take(count, of):
            self._send(sender, step.bytes_to_sender)
            self._send(1 - sender, step.bytes_to_receiver)

    def _send(self, receiver: int, payload: int) -> None:
        """One message; nothing where it is empty."""
        if not payload:
            return
        total = self.total
        if receiver == 0:
            total = replace(total, to_server=total.to_server + payload)
        else:
            total = replace(total, to_client=total.to_client + payload)
        before = self.flights.deepest
        self.flights.message(receiver)
        self.total = replace(total, rounds=total.rounds + self.flights.deepest - before)
