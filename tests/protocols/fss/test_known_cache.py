"""Keys and values that the server knows: products with them, alone and beside others, on all sides."""

from __future__ import annotations

import pytest
import torch

from parties.meter import SERVER
from parties.randomness import InsecureTestRandom
from protocols.fss.executors.clear import Clear
from protocols.fss.executors.dealing import Dealing
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import Shares
from protocols.fss.executors.party import Party
from protocols.fss.gates.cached import CachedShare, to_cached
from protocols.fss.gates.causal import CausalBlocks, CausalMix, CausalProduct
from protocols.fss.gates.known_cache import (
    known_at_client,
    known_at_dealer,
    known_at_server,
    known_in_clear,
    known_shape,
)
from protocols.share import Share
from tests.protocols.fss.harness import Program, Secret, Weight, run
from tests.protocols.fss.test_causal import numbers, packed, shown

BITS = 64
"""The harness draws masks in the ring at hand, a session in 64 bits; whole models have narrower rings."""
KNOWN, QUERIES = 5, 3


def known(executor: Executor, weight: Weight) -> CachedShare:
    """What an executor's party has of it."""
    matrix = weight.at(executor)
    if isinstance(executor, Clear):
        return known_in_clear(matrix)
    if isinstance(executor, Dealing):
        return known_at_dealer(matrix, weight.mask)
    if not isinstance(executor, Party):
        return known_shape(matrix)
    if executor.rank != SERVER:
        return known_at_client(matrix)
    stream = InsecureTestRandom(sum(weight.name.encode()) + (1 << 64))
    return known_at_server(matrix, stream)


def product(weight: Weight, blocks: CausalBlocks) -> Program:
    """Queries times known keys and others after them."""

    def program(executor: Executor, q: Share, *more: Share) -> Shares:
        k = known(executor, weight)
        for each in more:
            k = k.appended(to_cached(executor, each))
        return executor.apply(CausalProduct(blocks), q, k, k.summand)

    return program


@pytest.mark.parametrize("more", [0, QUERIES])
@pytest.mark.parametrize("window", [0, 4])
def test_queries_times_known_keys(more: int, window: int) -> None:
    weight = Weight("keys", numbers(2, KNOWN, 4), 2, BITS)
    blocks = CausalBlocks(QUERIES, KNOWN + more, (0, QUERIES), window)
    q, others = numbers(2, QUERIES, 4), [numbers(2, more, 4)] if more else []
    secrets = [Secret(q, 3, BITS), *(Secret(each, 2, BITS) for each in others)]
    done = run(product(weight, blocks), secrets, weights=[weight])
    done.check_bill()
    (expected,) = packed(blocks, q @ torch.cat([weight.value, *others], -2).transpose(-1, -2))
    assert torch.equal(done.secret(), expected)
    assert torch.equal(done.clear[0].value, expected)
    assert done.frames == done.offline_frames == []
    dealt = q.numel() + 2 * sum(blocks.lengths) + 2 * more * 4  # A, A B^T, and what private keys take
    assert done.counted.offline_bytes_to_server == dealt * BITS // 8


@pytest.mark.parametrize("more", [0, QUERIES])
def test_weights_times_known_values(more: int) -> None:
    weight = Weight("values", numbers(2, KNOWN, 4), 2, BITS)
    blocks = CausalBlocks(QUERIES, KNOWN + more, (0, QUERIES))
    weights = shown(blocks, numbers(2, QUERIES, KNOWN + more))
    others = [numbers(2, more, 4)] if more else []

    def program(executor: Executor, w: Share, *private: Share) -> Shares:
        v = known(executor, weight)
        for each in private:
            v = v.appended(to_cached(executor, each))
        return executor.apply(CausalMix(blocks), w, v, v.summand)

    secrets = [Secret(packed(blocks, weights)[0], 1, BITS), *(Secret(each, 2, BITS) for each in others)]
    done = run(program, secrets, weights=[weight])
    done.check_bill()
    assert torch.equal(done.secret(), weights @ torch.cat([weight.value, *others], -2))
    assert done.frames == []


def test_the_client_needs_what_the_set_up_brings() -> None:
    """The control: with the mask in place of the weight minus the mask, products are others."""
    weight = Weight("keys", numbers(2, KNOWN, 4), 2, BITS)
    other = Weight("keys", numbers(2, KNOWN, 4) + 1, 2, BITS)
    blocks = CausalBlocks(QUERIES, KNOWN, (0, QUERIES))
    q = numbers(2, QUERIES, 4)

    def program(executor: Executor, x: Share) -> Shares:
        at_client = isinstance(executor, Party) and executor.rank != SERVER
        k = known(executor, other if at_client else weight)
        return executor.apply(CausalProduct(blocks), x, k, k.summand)

    (expected,) = packed(blocks, q @ weight.value.transpose(-1, -2))
    assert not torch.equal(run(program, [Secret(q, 3, BITS)]).secret(), expected)
