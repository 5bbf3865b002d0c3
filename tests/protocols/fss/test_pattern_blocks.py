"""Products of secret matrices where every head has a pattern: entry by entry what the patterns say."""

from __future__ import annotations

import pytest
import torch

from parties.errors import RangeError
from protocols.fss.gates.causal import CausalBlocks
from protocols.fss.gates.pattern_blocks import PatternBlocks
from protocols.key_pattern import KeyPattern
from tests.protocols.fss.harness import Secret, clear, run
from tests.protocols.fss.test_causal import mix, numbers, product

ALL, FEW, SPREAD = KeyPattern(), KeyPattern(1.0, 0.5, 1), KeyPattern(1.5, 0.6, 1, 0.5)
BLOCKS = [
    PatternBlocks((FEW,), 1, 1),
    PatternBlocks((ALL, FEW), 5, 9),
    PatternBlocks((SPREAD, FEW, ALL), 12, 12),
    PatternBlocks((FEW, SPREAD), 1, 20),
]


def entries(blocks: PatternBlocks) -> tuple[list[int], list[int]]:
    """Row and column of what is packed, from the patterns alone."""
    rows, columns = list[int](), list[int]()
    for head, pattern in enumerate(blocks.patterns):
        for query in range(blocks.tokens):
            for key in pattern.keys(blocks.positions - blocks.tokens + query):
                rows.append(head * blocks.tokens + query)
                columns.append(head * blocks.positions + key)
    return rows, columns


@pytest.fixture(params=[2, 3, 128])
def _groups(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of so many rows."""
    from protocols.fss.gates import pattern_blocks

    monkeypatch.setattr(pattern_blocks, "_GROUP_ROWS", request.param)
    pattern_blocks._groups.cache_clear()


@pytest.mark.usefixtures("_groups")
@pytest.mark.parametrize("blocks", BLOCKS, ids=str)
@pytest.mark.parametrize("ring_bits", [20, 64])
def test_products_are_those_of_keys_that_are_seen(blocks: PatternBlocks, ring_bits: int) -> None:
    q, k = numbers(2, blocks.queries, 3), numbers(2, blocks.keys, 3)
    done = run(product(blocks), [Secret(q, 3, ring_bits), Secret(k, 2, ring_bits)])
    done.check_bill()
    assert done.frames == []
    rows, columns = entries(blocks)
    expected = (q @ k.transpose(-1, -2))[..., rows, columns]
    assert torch.equal(done.secret(), expected)
    assert torch.equal(done.clear[0].value, expected)
    dealt = q.numel() + k.numel() + 2 * sum(blocks.lengths)
    assert done.counted.offline_bytes_to_server <= (dealt * ring_bits + 7) // 8 + 2


@pytest.mark.usefixtures("_groups")
@pytest.mark.parametrize("blocks", BLOCKS, ids=str)
@pytest.mark.parametrize("ring_bits", [20, 64])
def test_mixes_are_of_keys_that_are_seen(blocks: PatternBlocks, ring_bits: int) -> None:
    weights, v = numbers(2, sum(blocks.lengths)), numbers(2, blocks.keys, 3)
    done = run(mix(blocks), [Secret(weights, 1, ring_bits), Secret(v, 1, ring_bits)])
    done.check_bill()
    rows, columns = entries(blocks)
    matrix = torch.zeros(2, blocks.queries, blocks.keys, dtype=torch.int64)
    matrix[..., rows, columns] = weights
    assert torch.equal(done.secret(), matrix @ v)
    assert torch.equal(done.clear[0].value, matrix @ v)


def test_heads_that_see_all_are_causal_blocks() -> None:
    blocks, causal = PatternBlocks((ALL, ALL), 5, 9), CausalBlocks.whole(5, 9)
    assert blocks.lengths == causal.lengths * 2
    assert blocks.per_head() == (sum(causal.lengths),) * 2


def test_what_is_not_seen_may_be_of_any_size() -> None:
    """A product beyond the ring is an error where it is seen, and there alone."""
    few, whole = PatternBlocks((KeyPattern(1e-9, 0.5),), 2, 2), PatternBlocks((ALL,), 2, 2)
    q = torch.tensor([[0, 0], [4000, 0]])
    k = torch.tensor([[4000, 0], [0, 1]])
    inputs = [Secret(q, 0, 20), Secret(k, 0, 20)]
    clear(product(few), inputs)
    with pytest.raises(RangeError):
        clear(product(whole), inputs)
