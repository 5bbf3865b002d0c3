"""Every conversion gives shares of the right result, at every width, and costs what is counted."""

from __future__ import annotations

import numpy as np
import pytest

from parties.randomness import InsecureTestRandom
from protocols.two_party.ot.costs import BASE, OtCosts
from tests.protocols.two_party.ot.pair import Run, run

RANDOM = InsecureTestRandom(99)
RINGS = (1, 2, 7, 8, 31, 37, 63, 64)


def same_as_counted(made: Run, costs: OtCosts) -> None:
    """The meter's bytes and rounds are those that were counted."""
    total, bill = costs.total, made.bill
    assert (bill.online_bytes_to_server, bill.online_bytes_to_client) == (total.to_server, total.to_client)
    assert bill.rounds == total.rounds


def modulo(values: np.ndarray, bits: int) -> np.ndarray:
    return values & np.uint64((1 << bits) - 1)


@pytest.mark.parametrize("sender", [0, 1])
@pytest.mark.parametrize("count", [1, 64, 1003])
def test_bit_products(count: int, sender: int) -> None:
    bits = RANDOM.uint8((2, count)) & 1
    a, b = (np.packbits(row, bitorder="little") for row in bits)
    made = run(*(lambda ot, own=own: ot.bit_products(own, count, sender=sender) for own in (a, b)))
    assert np.array_equal(made.results[0] ^ made.results[1], a & b)
    costs = OtCosts()
    costs.bit_products(count, sender=sender)
    same_as_counted(made, costs)


@pytest.mark.parametrize("count", [1, 1003])
def test_bit_triples(count: int) -> None:
    made = run(lambda ot: ot.bit_triples(count))
    a, b, c = (first ^ second for first, second in zip(*made.results, strict=True))
    assert np.array_equal(a & b, c)
    assert count < 100 or min(np.unpackbits(a).mean(), np.unpackbits(b).mean()) > 0.4
    costs = OtCosts()
    costs.bit_triples(count)
    same_as_counted(made, costs)


@pytest.mark.parametrize("sender", [0, 1])
@pytest.mark.parametrize("ring", RINGS)
def test_additive_bit_products(ring: int, sender: int) -> None:
    bits = RANDOM.uint8((2, 101)) & 1
    made = run(*(lambda ot, own=own: ot.additive_bit_products(own, ring, sender=sender) for own in bits))
    assert np.array_equal(modulo(made.results[0] + made.results[1], ring), bits[0] & bits[1])
    costs = OtCosts()
    costs.additive_bit_products(101, ring, sender=sender)
    same_as_counted(made, costs)


@pytest.mark.parametrize("sender", [0, 1])
@pytest.mark.parametrize("shape", [(77,), (33, 1), (20, 5)])
@pytest.mark.parametrize("ring", [1, 37, 64])
def test_bit_times_value(ring: int, shape: tuple[int, ...], sender: int) -> None:
    values, bits = RANDOM.uint64(shape), RANDOM.uint8(shape[:1]) & 1
    inputs = (values, bits) if sender == 0 else (bits, values)
    made = run(*(lambda ot, own=own: ot.bit_times_value(own, shape, ring, sender=sender) for own in inputs))
    expected = modulo(values * bits.astype(np.uint64).reshape(-1, *[1] * (len(shape) - 1)), ring)
    assert np.array_equal(modulo(made.results[0] + made.results[1], ring), expected)
    costs = OtCosts()
    costs.bit_times_value(shape, ring, sender=sender)
    same_as_counted(made, costs)


@pytest.mark.parametrize("sender", [0, 1])
@pytest.mark.parametrize("ring", RINGS)
def test_dabits(ring: int, sender: int) -> None:
    made = run(lambda ot: ot.dabits(500, ring, sender=sender))
    (bits, values), (more_bits, more_values) = made.results
    assert np.array_equal(bits ^ more_bits, modulo(values + more_values, ring))
    assert 0.4 < (bits ^ more_bits).mean() < 0.6
    costs = OtCosts()
    costs.dabits(500, ring, sender=sender)
    same_as_counted(made, costs)


@pytest.mark.parametrize("sender", [0, 1])
@pytest.mark.parametrize(("ring", "width"), [(1, None), (8, None), (37, None), (64, None), (37, 12), (64, 1)])
def test_products(ring: int, width: int | None, sender: int) -> None:
    x, y = RANDOM.uint64((57,)), RANDOM.ring((57,), width or ring).astype(np.uint64)
    x[:2], y[:2] = (1 << ring) - 1, (1 << (width or ring)) - 1
    inputs = (x, y) if sender == 0 else (y, x)
    made = run(
        *(lambda ot, own=own: ot.products(own, ring, sender=sender, receiver_bits=width) for own in inputs)
    )
    assert np.array_equal(modulo(made.results[0] + made.results[1], ring), modulo(x * y, ring))
    costs = OtCosts()
    costs.products(57, ring, sender=sender, receiver_bits=width)
    same_as_counted(made, costs)


@pytest.mark.parametrize("sender", [0, 1])
@pytest.mark.parametrize("options", [2, 4, 16, 64, 256])
@pytest.mark.parametrize("bits", [1, 9, 64])
def test_chosen_messages(bits: int, options: int, sender: int) -> None:
    messages = RANDOM.ring((options + 3, options), bits).astype(np.uint64)
    choices = np.arange(options + 3, dtype=np.uint64) % np.uint64(options)
    sides = [
        lambda ot: ot.send_chosen(messages, bits),
        lambda ot: ot.receive_chosen(choices, options, bits),
    ]
    made = run(*(sides if sender == 0 else sides[::-1]))
    got = made.results[1 - sender]
    assert np.array_equal(got, messages[np.arange(len(choices)), choices.astype(np.int64)])
    costs = OtCosts()
    costs.chosen(options + 3, options, bits, sender=sender)
    same_as_counted(made, costs)


@pytest.mark.parametrize("options", [2, 16])
def test_random_messages(options: int) -> None:
    made = run(
        lambda ot: ot.random_messages(300, options, 20), lambda ot: ot.random_message(300, options, 20)
    )
    keys, (choices, chosen) = made.results
    assert keys.max() < 1 << 20
    assert np.array_equal(keys[np.arange(300), choices.astype(np.int64)], chosen)
    assert len(np.unique(choices)) == options


def test_base_costs_what_is_stated() -> None:
    base = run(lambda ot: None).base
    assert (base.online_bytes_to_server, base.online_bytes_to_client) == (BASE.to_server, BASE.to_client)
    assert base.rounds == BASE.rounds
