"""One step in a half-tree, for a group of 16 keys: the instructions of the DPF kernels.

A node's state is a block; its lowest bit is the control bit t. One hash of a parent gives both children:
left = H(s) xor t CW, right = left xor s. All offsets count words of 8 bytes, and nothing checks them: a group
of blocks takes 32 words, a group of numbers 16. Bit `63 - shift` of a number is read, so that level i of an
n-bit domain has shift 64 - n + i.

Hashes come from the last arguments: round keys and None, and AES is done here; or an array of hashes that
somebody has made of the same nodes under the same tweak, and the offset of this group's.

Source: Guo et al., "Half-Tree: Halving the Cost of Tree Expansion in COT and DPF" (EUROCRYPT 2023), section
5.
"""

# llvmlite has no types; what an instruction takes is typed by its numba signature.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false

from __future__ import annotations

from typing import Any

from numba.core import types

from protocols.kernels.aes import INNER, LEAF
from protocols.kernels.jit import instruction
from protocols.kernels.registers import Registers, Vectors, data_of, require_words

_OFFSET = types.int64


def _registers(builder: Any, hashes_at: Any) -> Registers:
    """Registers that are as wide as AES is, or any where the hashes are in memory already."""
    if isinstance(hashes_at, types.NoneType):
        return Registers.of_target(builder)
    return Registers.without_aes(builder)


def _hash(to: Registers, nodes: Vectors, tweak: Any, hashes: Any, at: Any) -> Vectors:
    """H(s xor tweak), from round keys or from memory."""
    return to.load(hashes, at) if to.encrypt is None else to.hash(nodes, to.word(tweak), hashes)


def _left(to: Registers, hashed: Vectors, state: Vectors, correction: Vectors) -> Vectors:
    """The left children; the right ones are these XOR their parents."""
    return to.xor(hashed, to.both(to.control(state), correction))


@instruction
def descend(
    _: Any, state, at, parity, corrections, corrections_at, points, points_at, shift, hashes, hashes_at
):
    """Walks from nodes to the children that the points name, in place.

    `descend(state, at, parity, corrections, corrections_at, points, points_at, shift, hashes, hashes_at)`:
    where the point's direction differs from the one above, the node's control bit is XORed into word 0 of its
    parity block. `state` and `parity` are both read at offset `at`.
    """
    require_words(state, parity, corrections, points, hashes)

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        to = _registers(builder, hashes_at)
        state, parity, corrections, points, hashes = (
            data_of(context, builder, signature, values, i) for i in (0, 2, 3, 5, 8)
        )
        at, shift = values[1], values[7]
        nodes = to.load(state, at)
        point = to.load_spread(points, values[6])
        turns = to.bit(to.each(to.change, point), shift)
        counted = to.both(turns, to.control(nodes))
        to.store(to.xor(to.load(parity, at), counted), parity, at)
        hashed = _hash(to, nodes, INNER, hashes, values[9])
        left = _left(to, hashed, nodes, to.load(corrections, values[4]))
        to.store(to.xor(left, to.both(to.bit(point, shift), nodes)), state, at)
        return context.get_dummy_value()

    taken = (state, _OFFSET, parity, corrections, _OFFSET, points, _OFFSET, types.uint64, hashes, hashes_at)
    return types.void(*taken), write


@instruction
def correct(
    _: Any,
    state,
    delta,
    at,
    corrections,
    corrections_at,
    points,
    points_at,
    shift,
    hashes,
    hashes_at,
    others_at,
):
    """Makes one level's correction words and walks party 0's nodes down the special path, in place.

    `correct(state, delta, at, corrections, corrections_at, points, points_at, shift, hashes, hashes_at,
    others_at)`: `delta` holds the XOR of both parties' nodes, which stays the same on the special path.
    `state` and `delta` are both read at offset `at`; hashes of party 1's nodes at `others_at`.
    """
    require_words(state, delta, corrections, points, hashes)

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        to = _registers(builder, hashes_at)
        state, delta, corrections, points, hashes = (
            data_of(context, builder, signature, values, i) for i in (0, 1, 3, 5, 8)
        )
        nodes, difference = to.load(state, values[2]), to.load(delta, values[2])
        right = to.bit(to.load_spread(points, values[6]), values[7])
        mine = _hash(to, nodes, INNER, hashes, values[9])
        theirs = _hash(to, to.xor(nodes, difference), INNER, hashes, values[10])
        correction = to.xor(to.xor(mine, theirs), to.both(to.inverted(right), difference))
        to.store(correction, corrections, values[4])
        left = _left(to, mine, nodes, correction)
        to.store(to.xor(left, to.both(right, nodes)), state, values[2])
        return context.get_dummy_value()

    taken = (state, delta, _OFFSET, corrections, _OFFSET, points, _OFFSET, types.uint64)
    return types.void(*taken, hashes, hashes_at, others_at), write


@instruction
def expand(
    _: Any,
    parents,
    at,
    children,
    slot,
    stride,
    corrections,
    corrections_at,
    first,
    first_at,
    shift,
    hashes,
    hashes_at,
):
    """Expands one node a key of a list of neighbours into the list of their children.

    `expand(parents, at, children, slot, stride, corrections, corrections_at, first, first_at, shift, hashes,
    hashes_at)`: parent p of the list gives its children to slots 2p and 2p + 1, at the offsets `slot` and
    `slot + stride`. A list starts at the node that holds the key's first point; where that point lies in the
    right child of its parent, all children move one slot towards the front. So the slot before, `slot -
    stride`, takes this parent's left child then, and slot 2p + 1 waits for the next parent.
    """
    require_words(parents, children, corrections, first, hashes)

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        to = _registers(builder, hashes_at)
        parents, children, corrections, first, hashes = (
            data_of(context, builder, signature, values, i) for i in (0, 2, 5, 7, 10)
        )
        slot, stride = values[3], values[4]
        nodes = to.load(parents, values[1])
        moved = to.bit(to.load_spread(first, values[8]), values[9])
        hashed = _hash(to, nodes, INNER, hashes, values[11])
        left = _left(to, hashed, nodes, to.load(corrections, values[6]))
        before = builder.sub(slot, stride)
        to.store(to.choose(moved, left, to.load(children, before)), children, before)
        to.store(to.xor(left, to.both(moved, nodes)), children, slot)
        to.store(to.xor(left, nodes), children, builder.add(slot, stride))
        return context.get_dummy_value()

    offsets = (parents, _OFFSET, children, _OFFSET, _OFFSET, corrections, _OFFSET, first, _OFFSET)
    return types.void(*offsets, types.uint64, hashes, hashes_at), write


@instruction
def close(_: Any, parents, at, children, slot, last, first, first_at, shift):
    """Closes the ring where a list holds a whole level: its last child is then followed by its first.

    `close(parents, at, children, slot, last, first, first_at, shift)` after `expand` of every parent: `at` is
    the offset of the list's first parent, `slot` of its first child, `last` of its last one.
    """
    require_words(parents, children, first)

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        to = Registers.without_aes(builder)
        parents, children, first = (data_of(context, builder, signature, values, i) for i in (0, 2, 5))
        moved = to.bit(to.load_spread(first, values[6]), values[7])
        left = to.xor(to.load(children, values[3]), to.load(parents, values[1]))
        to.store(to.choose(moved, left, to.load(children, values[4])), children, values[4])
        return context.get_dummy_value()

    offsets = (parents, _OFFSET, children, _OFFSET, _OFFSET, first, _OFFSET)
    return types.void(*offsets, types.uint64), write


@instruction
def convert(_: Any, state, at, corrections, corrections_at, leaves, leaves_at, hashes, hashes_at):
    """Turns nodes of the last level into leaves of 128 bits: H(s xor LEAF) xor t CW.

    `convert(state, at, corrections, corrections_at, leaves, leaves_at, hashes, hashes_at)`.
    """
    require_words(state, corrections, leaves, hashes)

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        to = _registers(builder, hashes_at)
        state, corrections, leaves, hashes = (
            data_of(context, builder, signature, values, i) for i in (0, 2, 4, 6)
        )
        nodes = to.load(state, values[1])
        hashed = _hash(to, nodes, LEAF, hashes, values[7])
        to.store(_left(to, hashed, nodes, to.load(corrections, values[3])), leaves, values[5])
        return context.get_dummy_value()

    return types.void(state, _OFFSET, corrections, _OFFSET, leaves, _OFFSET, hashes, hashes_at), write


@instruction
def turn(_: Any, state, at, turned, turned_at, tweak):
    """The blocks that AES encrypts for the hash of nodes: `turn(state, at, turned, turned_at, tweak)`."""
    require_words(state, turned)

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        to = Registers.without_aes(builder)
        state, turned = (data_of(context, builder, signature, values, i) for i in (0, 2))
        to.store(to.turned(to.load(state, values[1]), values[4]), turned, values[3])
        return context.get_dummy_value()

    return types.void(state, _OFFSET, turned, _OFFSET, types.uint64), write
