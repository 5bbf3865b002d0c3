"""The carry tree: its gates by truth table, on masked inputs, its sizes, and what the dealer makes for it."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch

from parties.randomness import InsecureTestRandom
from protocols.additive.correlations import Kind, Request, Stream, corrections
from protocols.arithmetic.bits import Slices, from_slice, stretch
from protocols.arithmetic.carry import Level, leaf_gate, leaf_level, levels, node_gate, node_level
from protocols.arithmetic.masked_gate import Gate, Products, numbered

Truth = Callable[[tuple[int, ...]], tuple[int, ...]]


def added(bits: int) -> Truth:
    """G and P of two words, from their sum."""

    def truth(inputs: tuple[int, ...]) -> tuple[int, ...]:
        x, y = (sum(bit << i for i, bit in enumerate(half)) for half in (inputs[:bits], inputs[bits:]))
        return int(x + y >= 1 << bits), int(x + y == (1 << bits) - 1)

    return truth


def chained(fan_in: int) -> Truth:
    """G and P of blocks, passing a carry from one to the next; the topmost one generates none."""

    def truth(inputs: tuple[int, ...]) -> tuple[int, ...]:
        last = fan_in - 1
        p_first = inputs[2 * last] if len(inputs) > 2 * last else 0
        p, g = (p_first, *inputs[:last]), (*inputs[last : 2 * last], 0)
        carry = 0
        for generate, propagate in zip(g, p, strict=True):
            carry = generate ^ (propagate & carry)
        return carry, int(all(p))

    return truth


GATES: dict[str, tuple[Gate, Truth]] = {
    **{f"leaf of {n}": (leaf_gate(n, propagate=True), added(n)) for n in (1, 2, 3)},
    **{f"low leaf of {n}": (leaf_gate(n, propagate=False), added(n)) for n in (1, 2)},
    **{f"node of {n}": (node_gate(n, propagate=True), chained(n)) for n in (2, 4, 5, 6)},
    **{f"low node of {n}": (node_gate(n, propagate=False), chained(n)) for n in (2, 3, 4, 5, 6)},
}


@pytest.mark.parametrize("name", GATES)
def test_a_gate_is_its_truth_table(name: str) -> None:
    gate, truth = GATES[name]
    for inputs in itertools.product((0, 1), repeat=gate.inputs):
        point = sum(bit << i for i, bit in enumerate(inputs))
        values = tuple(sum(monomial & ~point == 0 for monomial in f) % 2 for f in gate.outputs)
        assert values == truth(inputs)[: len(values)]


@pytest.mark.parametrize("name", GATES)
def test_a_gate_on_masked_inputs_is_its_truth_table(name: str) -> None:
    """Every input, each under random masks; both parties' shares of every product are random."""
    gate, truth = GATES[name]
    points = list(itertools.product((0, 1), repeat=gate.inputs))
    inputs = np.array(points, np.uint8).T
    random = InsecureTestRandom(3)
    masks = random.ring(inputs.shape, 1)
    opened = Products(numbered(inputs ^ masks))
    whole = Products(numbered(masks))
    theirs: dict[int, Slices] = {}
    mine: dict[int, Slices] = {}
    for subset in {s for terms in gate.terms for s in terms if s}:
        if alone(gate, subset, server=True):
            mine[subset] = whole[subset]
        elif alone(gate, subset, server=False):
            theirs[subset] = whole[subset]
        else:
            assert subset in gate.products or subset.bit_count() == 1
            mine[subset] = random.ring((len(points),), 1)
            theirs[subset] = whole[subset] ^ mine[subset]
    out = np.zeros((2, len(gate.outputs), len(points)), np.uint8)
    gate.evaluate(opened, mine, list(out[0]), public=True)
    gate.evaluate(opened, theirs, list(out[1]), public=False)
    expected = np.array([truth(point)[: len(gate.outputs)] for point in points], np.uint8).T
    assert np.array_equal(out[0] ^ out[1], expected)


def alone(gate: Gate, subset: int, *, server: bool) -> bool:
    """Whether one party knows all masks of a set: those of a leaf's own inputs."""
    low = (1 << gate.server_inputs) - 1
    return bool(gate.server_inputs) and not subset & (~low if server else low)


SIZES = {
    2: [(1, 1)],
    3: [(2, 6)],
    8: [(7, 19), (6, 15)],
    16: [(15, 43), (13, 37), (2, 1)],
    32: [(31, 91), (27, 81), (6, 15)],
    33: [(32, 96), (27, 81), (6, 15)],
    40: [(39, 115), (35, 193), (6, 15)],
    64: [(63, 187), (57, 571), (10, 83)],
}
"""Bits to compare: what every level opens, and what is dealt for it, in bits an element."""


@pytest.mark.parametrize("bits", SIZES)
def test_sizes(bits: int) -> None:
    assert [(level.opened, level.products) for level in levels(bits - 1)] == SIZES[bits]


def test_no_tree_has_more_than_three_levels_or_loses_a_block() -> None:
    for bits in range(1, 64):
        tree = levels(bits)
        assert len(tree) <= 3
        assert tree[-1].blocks == 1
        entering = [bits, *(level.blocks for level in tree)]
        for level, blocks in zip(tree, entering, strict=False):
            assert level.low_width + level.width * level.count == blocks


REQUESTS = [
    *(Request(Kind.CARRY_LEAF, ((count,),), bits=bits) for count in (1, 9, 64) for bits in (1, 2, 7, 31, 63)),
    *(
        Request(Kind.CARRY_NODE, ((count,),), bits=blocks)
        for count in (1, 9, 64)
        for blocks in (2, 5, 16, 32)
    ),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda r: f"{r.kind} {r.shapes[0][0]} {r.bits}")
def test_the_dealt_products_are_those_of_the_masks(request_: Request) -> None:
    [count], level = request_.shapes[0], request_.level
    ours, theirs, products = dealt(request_)
    masks = [ours, theirs] if request_.kind is Kind.CARRY_LEAF else [ours ^ theirs]
    owned = zip(*(level.by_gate(slices) for slices in masks), strict=True)
    for (gate, _), parts, rows in zip(
        level.groups, owned, level.by_gate(products, products=True), strict=True
    ):
        inputs = [bits_of(row, count) for part in parts for row in part]
        assert len(inputs) == gate.inputs
        for subset, row in zip(gate.products, rows, strict=True):
            chosen = [inputs[i] for i in range(gate.inputs) if subset >> i & 1]
            assert torch.equal(bits_of(row, count), torch.stack(chosen).prod(0))


def dealt(request: Request) -> tuple[Slices, Slices, Slices]:
    """Both parties' masks, and the products that both parties' shares amount to."""
    [count], level = request.shapes[0], request.level
    seeds = bytes(range(16)), bytes(range(16, 32))
    (server, client), dealer = map(Stream, seeds), tuple(map(Stream, seeds))
    [shares] = corrections(request, dealer[0].masks(request), dealer[1], dealer[0].weight_mask)
    assert shares.numel() == request.offline_bytes_to_server
    [ours], [theirs] = server.masks(request), client.masks(request)
    [known] = client.results(request)
    return ours.numpy(), theirs.numpy(), stretch((shares ^ known).numpy(), level.products, count)


def bits_of(rows: Slices, count: int) -> torch.Tensor:
    """Slices of all gates of a kind [gates, bytes] as [gates, count]."""
    return torch.stack([from_slice(row, count) for row in rows])


@pytest.mark.parametrize("shape", [(), (1,), (9,), (2, 3, 4), (0,)])
def test_a_packed_bit_is_the_same_bit_twice(shape: tuple[int, ...]) -> None:
    request = Request(Kind.PACKED_BIT, (shape,))
    seeds = bytes(range(16)), bytes(range(16, 32))
    (server, client), dealer = map(Stream, seeds), tuple(map(Stream, seeds))
    [ours] = corrections(request, dealer[0].masks(request), dealer[1], dealer[0].weight_mask)
    xored = (server.masks(request)[0] ^ client.masks(request)[0]).numpy()
    count = int(torch.Size(shape).numel())
    assert torch.equal(ours + client.results(request)[0], from_slice(xored[0], count).reshape(shape))
    assert request.offline_bytes_to_server == 8 * count


def test_what_a_party_knows_alone_is_not_dealt() -> None:
    gate = leaf_gate(2, propagate=True)
    assert gate.known(server=True) == (0b0011,)
    assert gate.known(server=False) == (0b1100,)
    assert all(subset & 0b0011 and subset & 0b1100 for subset in gate.products)
    assert node_gate(4, propagate=True).known(server=True) == ()


@pytest.mark.parametrize("level", [leaf_level(31), node_level(16), node_level(19), node_level(5)])
def test_every_slice_belongs_to_one_gate(level: Level) -> None:
    opened = np.arange(level.opened, dtype=np.uint8)[:, None]
    assert sorted(int(v) for part in level.by_gate(opened) for v in part.flatten()) == [*range(level.opened)]
