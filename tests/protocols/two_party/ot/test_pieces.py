"""Long calls go in pieces, with extensions between them: the same results, and costs as counted."""

from __future__ import annotations

import numpy as np
import pytest

from parties.meter import Phase
from parties.randomness import InsecureTestRandom
from protocols.two_party.ot import arithmetic, bit_products, choose, costs, masks, schedule
from protocols.two_party.ot.costs import OtCosts
from protocols.two_party.ot.two_party_ot import TwoPartyOt
from tests.protocols.two_party.ot.digest import SMALL
from tests.protocols.two_party.ot.pair import run

COUNT = 300
BITS = InsecureTestRandom(3).uint8((2, COUNT)) & 1
FACTORS = InsecureTestRandom(4).uint64((2, COUNT))
MESSAGES = InsecureTestRandom(5).ring((COUNT, 4), 5).astype(np.uint64)


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "STAGES", SMALL)
    monkeypatch.setattr(bit_products, "CHUNK", 128)
    monkeypatch.setattr(arithmetic, "CHUNK_WORDS", 256)
    monkeypatch.setattr(choose, "CHUNK_WORDS", 256)
    for module in (masks, costs):
        monkeypatch.setattr(module, "PIECE", 32)


def calls(ot: TwoPartyOt) -> list[np.ndarray]:
    """All conversions, both ways."""
    rank = ot.session.rank
    bits, factors = BITS[rank], FACTORS[rank]
    made: list[np.ndarray] = []
    for sender in range(2):
        packed = np.packbits(bits, bitorder="little")
        made.append(ot.bit_products(packed, COUNT, sender=sender))
        own = factors if rank == sender else bits
        made.append(ot.bit_times_value(own, (COUNT,), 40, sender=sender))
        made.append(ot.products(factors % np.uint64(256), 16, sender=sender, receiver_bits=8))
        bit, value = ot.dabits(COUNT, 20, sender=sender)
        made += [bit, value]
        if rank == sender:
            ot.send_chosen(MESSAGES, 5)
            made.append(np.zeros(COUNT, np.uint64))
        else:
            made.append(ot.receive_chosen(bits.astype(np.uint64) + np.uint64(2), 4, 5))
    return made


def count(counted: OtCosts) -> None:
    """The same calls."""
    for sender in range(2):
        counted.bit_products(COUNT, sender=sender)
        counted.bit_times_value((COUNT,), 40, sender=sender)
        counted.products(COUNT, 16, sender=sender, receiver_bits=8)
        counted.dabits(COUNT, 20, sender=sender)
        counted.chosen(COUNT, 4, 5, sender=sender)


def test_pieces_together_are_right_and_cost_what_is_counted() -> None:
    made = run(calls)
    wide = BITS.astype(np.uint64)
    for sender in range(2):
        first, second = (result[6 * sender : 6 * sender + 6] for result in made.results)
        product, value, both, bit, number, chosen = (a + b for a, b in zip(first, second, strict=True))
        product, bit = first[0] ^ second[0], first[3] ^ second[3]
        assert np.array_equal(np.unpackbits(product, count=COUNT, bitorder="little"), BITS[0] & BITS[1])
        assert np.array_equal(value % (1 << 40), FACTORS[sender] * wide[1 - sender] % (1 << 40))
        assert np.array_equal(both % (1 << 16), (FACTORS[0] % 256) * (FACTORS[1] % 256) % (1 << 16))
        assert np.array_equal(number % (1 << 20), bit)
        wanted = BITS[1 - sender].astype(np.int64) + 2
        assert np.array_equal(chosen, MESSAGES[np.arange(COUNT), wanted])
    counted = OtCosts()
    count(counted)
    assert (made.bill.online_bytes_to_server, made.bill.online_bytes_to_client, made.bill.rounds) == (
        counted.total.to_server,
        counted.total.to_client,
        counted.total.rounds,
    )


def test_an_offline_phase_has_the_same_bytes_and_no_rounds() -> None:
    def offline(ot: TwoPartyOt) -> None:
        with ot.session.link.meter.phase(Phase.OFFLINE):
            calls(ot)

    bill, counted = run(offline).bill, OtCosts()
    count(counted)
    assert bill.rounds == bill.online_bytes_to_server == bill.online_bytes_to_client == 0
    assert bill.offline_bytes_to_server == counted.total.to_server
    assert bill.offline_bytes_to_client == counted.total.to_client


def test_what_is_reserved_changes_the_bill_and_not_the_results() -> None:
    def reserved(ot: TwoPartyOt) -> list[np.ndarray]:
        ot.reserve(0, 9000)
        return [ot.bit_products(np.packbits(BITS[ot.session.rank], bitorder="little"), COUNT)]

    made, counted = run(reserved), OtCosts()
    counted.reserve(0, 9000)
    counted.bit_products(COUNT)
    assert made.bill.online_bytes_to_client == counted.total.to_client > COUNT // 8 + 1
    assert made.bill.online_bytes_to_server == counted.total.to_server
    product = np.unpackbits(made.results[0][0] ^ made.results[1][0], count=COUNT, bitorder="little")
    assert np.array_equal(product, BITS[0] & BITS[1])
