"""Incremental distributed point functions: additive shares of alpha's prefixes, in a ring.

The half-tree of `dpf.py` without its leaves, from the root down to the deepest of the chosen depths. At a
chosen depth d party b's share at a node s is y_b = (-1)^b (conv(s) + t W_d), where conv(s) is word 0 of
H(s xor VALUE) and t the node's control bit. The dealer takes W_d = (-1)^t_1 (1 - conv(s_0) + conv(s_1)) from
the nodes on the path to alpha, so that y_0 + y_1 is 1 at alpha's prefix of d bits and 0 at all other nodes of
that depth. Values on inner levels: Boneh, Boyle, Corrigan-Gibbs, Gilboa, Ishai, "Lightweight techniques for
private heavy hitters" (S&P 2021), section 3.

Keys may have a second value, the dealer's payload in place of the 1, from word 1 of the same hash: then lines
can be read, not only constants (`line_lookup`).

All sums are modulo 2^64. Whoever wants them modulo 2^k needs only the low k bits of the values. Everything
here works for no keys at all.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parties.errors import RangeError
from protocols.kernels import idpf_compiled
from protocols.kernels.aes import Hash
from protocols.kernels.checks import require_below, require_bits, require_rank, require_shape
from protocols.kernels.lines import Lines

Words = NDArray[np.uint64]

MAX_BITS = 64


@dataclass(frozen=True, slots=True, eq=False)
class IdpfKeys:
    """What both parties hold of N keys.

    Attributes:
        bits: n, bits of a point, 1 to 64.
        depths: numbers of leading bits that have values, increasing, 1 to n.
        cw: uint64 [max(depths), N, 2], correction words level by level.
        values: uint64 [1 or 2, len(depths), N], W_d, and those of a payload.

    Raises:
        RangeError: no such depths, or arrays of other shapes.
    """

    bits: int
    depths: tuple[int, ...]
    cw: Words
    values: Words

    def __post_init__(self) -> None:
        _require_depths(self.bits, self.depths)
        require_shape("correction words", self.cw, (self.depths[-1], self.count, 2))
        require_shape("values", self.values, (min(2, max(1, len(self.values))), len(self.depths), self.count))

    @property
    def count(self) -> int:
        """N."""
        return self.cw.shape[1] if self.cw.ndim == 3 else 0

    def values_at(self, depth: int) -> Words:
        """W of one depth, uint64 [1 or 2, N].

        Raises:
            RangeError: the keys have no values there.
        """
        if depth not in self.depths:
            raise RangeError(f"keys have values at depths {self.depths}, not at {depth}")
        return self.values[:, self.depths.index(depth)]


def generate(
    alpha: Words,
    bits: int,
    depths: tuple[int, ...],
    roots: Words,
    hash: Hash,
    payload: Words | None = None,
) -> IdpfKeys:
    """Makes N keys; the dealer's work.

    Args:
        alpha: uint64 [N], the points, below 2^bits.
        bits: 1 to 64.
        depths: numbers of leading bits, increasing, 1 to `bits`.
        roots: uint64 [2, N, 2], uniform blocks, party 0's first; their lowest bits are not used.
        hash: public.
        payload: uint64 [len(depths), N], second values of alpha's prefixes.

    Raises:
        RangeError: a point, a depth or a shape does not fit.

    Cost:
        2 (max(depths) + len(depths)) hashes a key.
    """
    _require_depths(bits, depths)
    require_shape("points", alpha, (alpha.size,))
    require_shape("roots", roots, (2, alpha.size, 2))
    require_below(alpha, bits)
    wanted = np.ones((1, len(depths), alpha.size), np.uint64)
    if payload is not None:
        require_shape("payload", payload, wanted.shape[1:])
        wanted = np.concatenate([wanted, payload[None]])
    cw = np.empty((depths[-1], alpha.size, 2), np.uint64)
    values = np.empty_like(wanted)
    idpf_compiled.generate(bits, depths, alpha, roots, wanted, hash, cw, values)
    return IdpfKeys(bits, depths, cw, values)


def range_lookup(
    rank: int,
    keys: IdpfKeys,
    root: Words,
    depth: int,
    first: Words,
    count: NDArray[np.int64] | int,
    table: NDArray[np.int64],
    hash: Hash,
) -> NDArray[np.int64]:
    """Shares of the table's entry for alpha's prefix, where the prefix lies in a public range; else of 0.

    The sum over j < count of 1{alpha's first `depth` bits are (first + j) mod 2^depth} table[j].

    Args:
        rank: 0 or 1.
        keys: N keys with values at `depth`.
        root: uint64 [N, 2], this party's roots.
        depth: number of leading bits.
        first: uint64 [N], public; taken modulo 2^depth.
        count: int64 [N] or one for all, public, 0 to W.
        table: int64 [W].
        hash: public, the one that the keys were made with.

    Returns:
        int64 [N]; both parties' add up to the looked-up entry modulo 2^64.

    Raises:
        RangeError: a count, a depth or a shape does not fit.

    Cost:
        About 2 W + 2 depth hashes a key, W being the largest count; memory for 4 W nodes of 64 keys.
    """
    require_rank(rank)
    require_shape("roots", root, (keys.count, 2))
    require_shape("first prefixes", first, (keys.count,))
    counts = np.full(keys.count, count, np.int64) if isinstance(count, int) else count
    require_shape("counts", counts, (keys.count,))
    if table.ndim != 1 or (counts.size and not 0 <= int(counts.min()) <= int(counts.max()) <= table.size):
        raise RangeError(f"expected counts from 0 to the table's length, got a table of shape {table.shape}")
    values = keys.values_at(depth)[0]
    entries = table[: int(counts.max(initial=0))]
    if not entries.size:
        return np.zeros(keys.count, np.int64)
    return idpf_compiled.range_lookup(rank, keys.cw[:depth], values, root, first, counts, entries, hash)


def line_lookup(rank: int, keys: IdpfKeys, root: Words, lines: Lines, hash: Hash) -> NDArray[np.int64]:
    """Shares of where alpha's prefixes lie on lines: 0 for prefixes outside of all ranges.

    The sum over all ranges and j < count of
    1{alpha's first `depth` bits are (first + j) mod 2^depth} (values[j] + slopes[j] (place - payload)).

    Args:
        rank: 0 or 1.
        keys: N keys with payloads, and values at every line's depth.
        root: uint64 [N, 2], this party's roots.
        lines: at least one range.
        hash: public, the one that the keys were made with.

    Returns:
        int64 [N]; both parties' add up to the sum modulo 2^64.

    Raises:
        RangeError: a count, a depth or a shape does not fit.

    Cost:
        About 2 W + 2 depth hashes a key and range.
    """
    require_rank(rank)
    require_shape("roots", root, (keys.count, 2))
    if len(keys.values) != 2:
        raise RangeError("lines are read from keys with payloads")
    lines.check(keys.count)
    values = np.stack([keys.values_at(depth) for depth in lines.depths.tolist()])
    return idpf_compiled.line_lookup(rank, keys.cw, values, root, lines, hash)


def prefix_sum(rank: int, keys: IdpfKeys, root: Words, points: Words, hash: Hash) -> NDArray[np.int64]:
    """Shares of 1{alpha <= x} at P public points x of every key.

    The nodes up to x are the left siblings of the path to x, and x itself.

    Args:
        rank: 0 or 1.
        keys: N keys with values at every depth from 1 to their bits.
        root: uint64 [N, 2], this party's roots.
        points: uint64 [P, N], below 2^bits.
        hash: public, the one that the keys were made with.

    Returns:
        int64 [P, N]; both parties' add up to 0 or 1 modulo 2^64.

    Raises:
        RangeError: a depth without values, or a point or a shape does not fit.

    Cost:
        2 bits + 1 hashes a point.
    """
    require_rank(rank)
    if len(keys.depths) != keys.bits:
        raise RangeError(f"expected values at all depths from 1 to {keys.bits}, got {keys.depths}")
    require_shape("roots", root, (keys.count, 2))
    require_shape("points", points, (*points.shape[:1], keys.count))
    require_below(points, keys.bits)
    return idpf_compiled.prefix_sum(rank, keys.cw, keys.values[0], root, points, hash)


def _require_depths(bits: int, depths: tuple[int, ...]) -> None:
    require_bits(bits, MAX_BITS)
    increasing = all(upper < lower for upper, lower in itertools.pairwise(depths))
    if not depths or not increasing or depths[0] < 1 or depths[-1] > bits:
        raise RangeError(f"expected increasing depths from 1 to {bits}, got {depths}")
