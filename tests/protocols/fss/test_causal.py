"""Causal products of secret matrices, packed, in blocks and groups of rows."""

from __future__ import annotations

import pytest
import torch

from parties.errors import RangeError
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import Shares
from protocols.fss.gates.causal import CausalBlocks, CausalMix, CausalProduct
from protocols.fss.gates.polynomial import Product
from protocols.kernels.rows import pack_rows, sum_rows, unpack_rows
from protocols.share import Share
from tests.protocols.fss.harness import Program, Secret, clear, run

BLOCKS = [
    CausalBlocks(1, 1, (0, 1)),
    CausalBlocks(1, 7, (0, 1)),
    CausalBlocks(7, 7, (0, 7)),
    CausalBlocks(5, 9, (0, 1, 2, 5)),
    CausalBlocks(6, 6, (0, 2, 4, 6)),
    CausalBlocks(7, 7, (0, 7), window=3),
    CausalBlocks(6, 11, (0, 2, 4, 6), window=4),
    CausalBlocks(3, 9, (0, 1, 3), window=1),
    CausalBlocks(5, 8, (0, 5), window=20),
    CausalBlocks(6, 6, (0, 1, 3, 6), causal=False),
    CausalBlocks(3, 7, (0, 3), causal=False),
]


@pytest.fixture(params=[1, 2, 3, 128])
def _groups(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups of so many rows or more."""
    monkeypatch.setattr("protocols.fss.gates.causal.GROUP_ROWS", request.param)


def product(blocks: CausalBlocks) -> Program:
    def program(executor: Executor, q: Share, k: Share) -> Shares:
        return executor.apply(CausalProduct(blocks), q, k, executor.one(Product(k.ring_bits), k))

    return program


def mix(blocks: CausalBlocks) -> Program:
    def program(executor: Executor, *inputs: Share) -> Shares:
        own = executor.one(Product(inputs[-1].ring_bits), inputs[-1])
        return executor.apply(CausalMix(blocks), *inputs, own)

    return program


def numbers(*shape: int, limit: int = 40) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randint(-limit, limit, shape, generator=generator)


def packed(blocks: CausalBlocks, matrix: torch.Tensor) -> list[torch.Tensor]:
    """What can be seen of a matrix, entry by entry."""
    return [
        torch.stack([matrix[..., i, j] for i in range(rows.start, rows.stop) for j in seen(blocks, i)], -1)
        for rows in blocks.blocks
    ]


def seen(blocks: CausalBlocks, row: int) -> range:
    """The keys that a row sees."""
    if not blocks.causal:
        return range(blocks.keys)
    own = blocks.keys - blocks.queries + row
    return range(max(0, own + 1 - blocks.window) if blocks.window else 0, own + 1)


def shown(blocks: CausalBlocks, matrix: torch.Tensor) -> torch.Tensor:
    """A matrix with zeros where nothing can be seen."""
    mask = torch.zeros(blocks.queries, blocks.keys, dtype=torch.int64)
    for row in range(blocks.queries):
        mask[row, list(seen(blocks, row))] = 1
    return matrix * mask


@pytest.mark.usefixtures("_groups")
@pytest.mark.parametrize("blocks", BLOCKS, ids=str)
@pytest.mark.parametrize("ring_bits", [20, 44, 64])
def test_products_of_queries_and_keys(blocks: CausalBlocks, ring_bits: int) -> None:
    q, k = numbers(2, blocks.queries, 3), numbers(2, blocks.keys, 3)
    done = run(product(blocks), [Secret(q, 3, ring_bits), Secret(k, 2, ring_bits)])
    done.check_bill()
    assert done.frames == []
    for place, expected in enumerate(packed(blocks, q @ k.transpose(-1, -2))):
        assert torch.equal(done.secret(place), expected)
        assert torch.equal(done.clear[place].value, expected)
        assert done.server[place].frac_bits == 5
    entries = q.numel() + k.numel() + 2 * sum(blocks.lengths)
    assert done.counted.offline_bytes_to_server <= (entries * ring_bits + 7) // 8 + len(blocks.blocks) + 1
    assert done.counted.offline_bytes_to_client == 0


@pytest.mark.usefixtures("_groups")
@pytest.mark.parametrize("blocks", BLOCKS, ids=str)
@pytest.mark.parametrize("ring_bits", [20, 44, 64])
def test_weights_times_values(blocks: CausalBlocks, ring_bits: int) -> None:
    weights = shown(blocks, numbers(2, blocks.queries, blocks.keys))
    v = numbers(2, blocks.keys, 3)
    inputs = [*packed(blocks, weights), v]
    done = run(mix(blocks), [Secret(x, 1, ring_bits) for x in inputs])
    done.check_bill()
    assert done.frames == []
    assert torch.equal(done.secret(), weights @ v)
    assert torch.equal(done.clear[0].value, weights @ v)


@pytest.mark.parametrize("blocks", [each for each in BLOCKS if each.causal and not each.window], ids=str)
def test_rows_are_packed_and_unpacked(blocks: CausalBlocks) -> None:
    matrix = numbers(2, 3, blocks.queries, blocks.keys, limit=2**62)
    seen = matrix.tril(blocks.keys - blocks.queries)
    (expected,) = packed(CausalBlocks.whole(blocks.queries, blocks.keys), matrix)
    got = pack_rows(matrix, blocks.lengths)
    assert torch.equal(got, expected)
    assert torch.equal(unpack_rows(got, blocks.lengths, blocks.keys), seen)
    assert torch.equal(sum_rows(got, blocks.lengths), seen.sum(-1))


@pytest.mark.parametrize(
    ("queries", "keys", "heads"), [(1, 1, 9), (200, 200, 12), (70, 3000, 3), (33, 40, 1)]
)
@pytest.mark.parametrize("causal", [True, False])
def test_blocks_are_whole_rows_of_bounded_size(queries: int, keys: int, heads: int, causal: bool) -> None:
    blocks = CausalBlocks.of(queries, keys, heads, causal=causal)
    assert (blocks.cuts[0], blocks.cuts[-1]) == (0, queries)
    assert sorted(set(blocks.cuts)) == list(blocks.cuts)
    for rows, (size,) in zip(blocks.blocks, blocks.shapes(()), strict=True):
        assert rows.stop - rows.start <= 16 or heads * size <= 1 << 17
        assert size % 8 == 0 or rows.stop == queries
    groups = [(group.start, group.stop) for group, _ in blocks.groups()]
    assert [start for start, _ in groups] == [0, *(stop for _, stop in groups[:-1])]
    assert [number for _, members in blocks.groups() for number in members] == list(range(len(blocks.blocks)))


def test_the_reference_refuses_sums_that_do_not_fit() -> None:
    blocks, x = CausalBlocks.whole(2, 2), torch.full((2, 8), 100)
    with pytest.raises(RangeError):
        clear(product(blocks), [Secret(x, 0, 17), Secret(x, 0, 17)])
    far = torch.tensor([[100] * 8, [0] * 8])
    narrow = CausalBlocks.whole(2, 2, window=1)
    clear(product(narrow), [Secret(far.flip(0), 0, 17), Secret(far, 0, 17)])  # what is too large is not seen
    with pytest.raises(RangeError):
        clear(mix(blocks), [Secret(torch.full((3,), 255), 0, 17), Secret(torch.full((2, 1), 255), 0, 17)])
    large = torch.full((2, 8), 1 << 40)
    with pytest.raises(RangeError):
        clear(product(blocks), [Secret(large, 0, 64), Secret(large, 0, 64)])
