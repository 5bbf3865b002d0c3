"""Products of vectors: exact at random and extreme numbers, at the bytes that are counted."""

from __future__ import annotations

import numpy as np
import pytest

from protocols.rlwe.costs import key_bytes, vector_answer_bytes, vector_query_bytes
from protocols.rlwe.elementwise import evaluator_products, holder_products
from protocols.rlwe.keys import receive_keys, send_keys
from protocols.rlwe.slot_parameters import slot_parameters
from tests.protocols.rlwe.sessions import both, offline_bytes


@pytest.mark.parametrize("bits", [1, 20, 37, 48])
@pytest.mark.parametrize("count", [9, 5 * 16384 + 1])
def test_shares_add_up_to_the_products(bits: int, count: int) -> None:
    if count > 9 and bits != 37:
        pytest.skip("one ring shows how messages are cut")
    p = slot_parameters(bits)
    x, y = np.random.default_rng(4).integers(0, 1 << bits, (2, count)).astype(np.uint64)
    ends = np.array([1 << (bits - 1), (1 << (bits - 1)) - 1, (1 << bits) - 1], np.uint64)
    x[:9], y[:9] = np.tile(ends, 3), np.repeat(ends, 3)
    client, server, meter = both(
        lambda link, stream: holder_products(link, send_keys(link, p, stream), x, stream),
        lambda link, stream: evaluator_products(link, receive_keys(link, p), y, stream),
    )
    low = np.uint64((1 << bits) - 1)
    assert np.array_equal((client + server) & low, (x * y) & low)
    assert client.max() <= low
    assert server.max() <= low
    counted = key_bytes(p) + vector_query_bytes(p, count), vector_answer_bytes(p, count)
    assert offline_bytes(meter) == counted
