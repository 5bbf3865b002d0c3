"""Products with a public sparse matrix over GF(2): every row sums ten entries of a vector of blocks.

Entries are drawn from AES in counter mode under a public key: number i of row j is floor(k u / 2^32), where u
is a word of 32 bits of the hash of (3 j + i // 4). Source of the code: Yang et al., "Ferret: Fast Extension
for Correlated OT with Small Communication" (CCS 2020), section 5.1, d = 10.
"""

# llvmlite has no types, and what numba calls has none either.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numpy.typing import NDArray

from protocols.kernels.aes import INNER, Hash, hash_group
from protocols.kernels.jit import instruction, kernel
from protocols.kernels.parallel import in_threads
from protocols.kernels.processor import uses_compiled
from protocols.kernels.registers import GROUP, data_of, require_words

Words = NDArray[np.uint64]

ENTRIES = 10
"""Of a row that are one."""
_BLOCKS = 3
"""Blocks of randomness a row: twelve numbers, of which two are left over."""
_ROWS = 4 * GROUP
"""Rows whose entries are drawn together."""
_LEAST = 1 << 14
"""Rows for which another thread pays."""
_PLAIN_ROWS = 1 << 14


def add_products(hash_key: Hash, secret: Words, out: Words) -> None:
    """out[j] ^= the XOR of ten entries of the secret that row j names.

    Args:
        hash_key: names the matrix.
        secret: uint64 [k, 2].
        out: uint64 [n, 2], contiguous.
    """
    if not uses_compiled():
        _add_plain(hash_key, secret, out)
        return

    def part(first: int, last: int) -> None:
        add_products_into(secret, out, first, last, hash_key.round_keys)

    in_threads(len(out), _LEAST, part)


@instruction
def add_entries(_: Any, secret, numbers, number, length, out, row):
    """XORs ten entries of a secret into a block.

    `add_entries(secret, numbers, number, length, out, row)`: `numbers` holds 32-bit numbers in 64-bit words,
    of which twelve from word `number` on are the row's; `length` is k.
    """
    require_words(secret, numbers, out)

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        word, half = ir.IntType(64), ir.IntType(32)
        block = ir.VectorType(word, 2)
        secret, numbers, out = (data_of(context, builder, signature, values, i) for i in (0, 1, 4))
        drawn = builder.bitcast(builder.gep(numbers, [values[2]]), half.as_pointer())
        blocks = builder.bitcast(secret, block.as_pointer())
        place = builder.gep(builder.bitcast(out, block.as_pointer()), [values[5]])
        total = builder.load(place, align=8)
        for i in range(ENTRIES):
            number = builder.zext(builder.load(builder.gep(drawn, [half(i)]), align=4), word)
            entry = builder.lshr(builder.mul(number, values[3]), word(32))
            total = builder.xor(total, builder.load(builder.gep(blocks, [entry]), align=8))
        builder.store(total, place, align=8)
        return context.get_dummy_value()

    return types.void(secret, numbers, types.int64, types.uint64, out, types.int64), write


@kernel
def add_products_into(secret: Words, out: Words, first: int, last: int, round_keys: Words) -> None:
    """See `add_products`, for rows from `first` up to `last`."""
    numbers = np.empty((_BLOCKS * _ROWS, 2), np.uint64)
    words = numbers.reshape(-1)
    length = np.uint64(secret.shape[0])
    for start in range(first, last, _ROWS):
        for i in range(_BLOCKS * _ROWS):
            numbers[i, 0], numbers[i, 1] = np.uint64(_BLOCKS * start + i), np.uint64(0)
        for at in range(0, 2 * _BLOCKS * _ROWS, 2 * GROUP):
            hash_group(words, at, words, at, INNER, round_keys)
        for i in range(min(_ROWS, last - start)):
            add_entries(secret, words, 2 * _BLOCKS * i, length, out, start + i)


def _add_plain(hash_key: Hash, secret: Words, out: Words) -> None:
    """`add_products` in pieces, for any processor."""
    length = np.uint64(len(secret))
    for start in range(0, len(out), _PLAIN_ROWS):
        rows = min(_PLAIN_ROWS, len(out) - start)
        counters = np.zeros((_BLOCKS * rows, 2), np.uint64)
        counters[:, 0] = np.arange(_BLOCKS * start, _BLOCKS * (start + rows), dtype=np.uint64)
        drawn = hash_key.hash(counters).view(np.uint32).reshape(rows, 4 * _BLOCKS)[:, :ENTRIES]
        entries = (drawn.astype(np.uint64) * length) >> np.uint64(32)
        for i in range(ENTRIES):
            out[start : start + rows] ^= secret[entries[:, i].astype(np.int64)]
