"""Comparison with zero of numbers of a known public size, on packed bits: 4 rounds, 8 bytes an element.

CrypTen's own (`word_comparison.py`) adds all 64 bits of both shares in a tree whose words never get shorter,
and sends a 64-bit word for every bit: 8 rounds and 216 bytes.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from parties.meter import SERVER
from protocols.additive.correlations import Kind
from protocols.additive.crypten.session import CrypTenSession
from protocols.arithmetic.bits import Slices, from_slice, squeeze, stretch, to_slices
from protocols.arithmetic.carry import leaf_level, node_level
from protocols.arithmetic.masked_gate import Gate, Products, numbered


def less_than_zero(session: CrypTenSession, x: torch.Tensor, bits: int) -> torch.Tensor:
    """Additive shares of 1 where x < 0, else 0.

    1. Reduce this party's additive share modulo 2^k, k = `bits`: local. The sign of x is the top bit of the
       sum of both reduced shares: the XOR of their top bits and of the carry out of the k - 1 bits below.
    2. Leaves, blocks of two bits: the server opens its bits XOR a, the client its bits XOR b; nobody but the
       dealer knows both a and b. With shares of products of a and b: G and P of every block.
    3. Nodes, four adjacent blocks (or five or six, where that saves a level): open P and G of every block
       XOR fresh random bits. With shares of products of those: G and P of all four. Until one block is left.
    4. The sign is the XOR of both top bits and of that block's G.
    5. Open the sign XOR a random bit r; turn the additive sharing of r around where that is 1.

    Args:
        x: this party's additive share over Z_2^64. The secret, as a signed ring element, must be at least
            -2^(k - 1) and less than 2^(k - 1): of any other the result is in silence the sign of its
            remainder modulo 2^k.
        bits: k, 2 to 64.

    Cost, n elements, k = 32: 4 rounds; ceil(31 n / 8) + ceil(27 n / 8) + ceil(6 n / 8) + ceil(n / 8) bytes
    each way; offline ceil(91 n / 8) + ceil(81 n / 8) + ceil(15 n / 8) + 8 n bytes to the server. Any k: see
    `protocols.arithmetic.carry.levels`.
    Reveals: bits XOR uniform bits that are used for nothing else.
    Source: `protocols.arithmetic.masked_gate`, in a carry tree of high fan-in as in ABY2.0. Deviation: leaves
    take the parties' own bits; nobody shares them first.
    """
    n = x.numel()
    slices = to_slices(x.reshape(-1), bits)
    generate, propagate = _leaves(session, slices[:-1], n)
    while len(generate) > 1:
        generate, propagate = _nodes(session, generate, propagate, n)
    return _to_arithmetic(session, slices[-1] ^ generate[0], n).reshape(x.shape)


def _leaves(session: CrypTenSession, words: Slices, n: int) -> tuple[Slices, Slices]:
    """Step 2: XOR shares of G and P of every block, lowest first, from the k - 1 lower bits."""
    level, server = leaf_level(len(words)), session.rank == SERVER
    mine = _joined(level.entering(words))
    masks, products = _take(session, Kind.CARRY_LEAF, len(words), n)
    mine ^= masks
    theirs = _exchange(session, mine, n)
    by_gate = zip(level.by_gate(mine), level.by_gate(theirs), strict=True)
    opened = [numbered([*ours, *other] if server else [*other, *ours]) for ours, other in by_gate]
    known = [
        _own_masks(gate, rows, server=server)
        for (gate, _), rows in zip(level.groups, level.by_gate(masks), strict=True)
    ]
    return level.evaluate(opened, known, stretch(products, level.products, n), public=server)


def _own_masks(gate: Gate, rows: Slices, *, server: bool) -> dict[int, Slices]:
    """The masks of a leaf that this party knows, and their products; of the other's its share is zero."""
    singles = numbered(rows, 0 if server else gate.server_inputs)
    values = Products(singles)
    return {**singles, **{subset: values[subset] for subset in gate.known(server=server)}}


def _nodes(session: CrypTenSession, generate: Slices, propagate: Slices, n: int) -> tuple[Slices, Slices]:
    """Step 3: XOR shares of G and P of the blocks that are left, lowest first."""
    level, server = node_level(len(generate)), session.rank == SERVER
    entering = zip(level.groups, level.entering(generate), level.entering(propagate), strict=True)
    parts = [[p[1:], g[:-1], p[: len(gate.outputs) - 1]] for (gate, _), g, p in entering]
    opened = _joined([part for group in parts for part in group])
    masks, products = _take(session, Kind.CARRY_NODE, len(generate), n)
    opened ^= masks
    opened ^= _exchange(session, opened, n)
    inputs, known = ([numbered(rows) for rows in level.by_gate(slices)] for slices in (opened, masks))
    carry, through = level.evaluate(inputs, known, stretch(products, level.products, n), public=server)
    carry[0] ^= generate[level.low_width - 1]
    carry[1:] ^= generate[level.low_width + level.width - 1 :: level.width]
    return carry, through


def _to_arithmetic(session: CrypTenSession, sign: Slices, n: int) -> torch.Tensor:
    """Step 5: additive shares [n] of an XOR-shared slice of bits."""
    dealt = session.provider.take(Kind.PACKED_BIT, torch.Size([n]))
    opened = (sign ^ dealt.masks[0].numpy()[0])[None]
    opened ^= _exchange(session, opened, n)
    z, r = from_slice(opened[0], n), dealt.results[0]
    flipped = r.mul_(1 - 2 * z)
    return flipped.add_(z) if session.rank == SERVER else flipped


def _take(session: CrypTenSession, kind: Kind, bits: int, n: int) -> tuple[Slices, Slices]:
    """Masks as slices, and shares of their products as they came over the wire."""
    dealt = session.provider.take(kind, torch.Size([n]), bits=bits)
    return dealt.masks[0].numpy(), dealt.results[0].numpy()


def _exchange(session: CrypTenSession, slices: Slices, n: int) -> Slices:
    """Sends masked slices and receives the other party's: one round."""
    [theirs] = session.link.exchange([squeeze(slices, n)], 8, session.communicator.spend())
    return stretch(theirs.view(np.uint8), len(slices), n)


def _joined(groups: list[Slices]) -> Slices:
    """[rows, gates, bytes] of several kinds of gate as [all rows, bytes]."""
    return np.concatenate([group.reshape(math.prod(group.shape[:2]), group.shape[2]) for group in groups])
