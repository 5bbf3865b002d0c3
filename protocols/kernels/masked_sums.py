"""The sum of those table entries whose bit is 1, with bits as lanes of a mask on the widest registers."""

# llvmlite has no types; what an instruction takes is typed by its numba signature.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.errors import TypingError

from protocols.kernels.jit import instruction
from protocols.kernels.processor import vector_words
from protocols.kernels.registers import data_of, require_words

LEAF_BITS = 128

_CHAINS = 4
"""Sums that run side by side, so that one addition need not wait for the last."""
_INDEX = ir.IntType(32)


@instruction
def masked_sum(_: Any, leaves, leaf, stride, count, table, entry):
    """Sum over p < 128 count of bit p of the leaves times table[entry + p].

    `masked_sum(leaves, leaf, stride, count, table, entry)`: leaf i is at word `leaf + i * stride`; the table
    is contiguous int32 or int64, and the sum is taken in the table's type before it becomes an int64. Nothing
    checks that the table reaches that far.
    """
    require_words(leaves)
    contiguous = isinstance(table, types.Array) and table.layout == "C"
    if not (contiguous and table.dtype in {types.int32, types.int64}):
        raise TypingError(f"a table is a contiguous array of int32 or int64, got {table}")

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        leaves, table = (data_of(context, builder, signature, values, i) for i in (0, 4))
        sums = MaskedSums(builder, signature.args[4].dtype.bitwidth)
        with cgutils.for_range(builder, values[3], intp=ir.IntType(64)) as loop:
            word = builder.add(values[1], builder.mul(loop.index, values[2]))
            first = builder.add(values[5], builder.mul(loop.index, ir.IntType(64)(LEAF_BITS)))
            sums.add(builder.gep(leaves, [word]), builder.gep(table, [first]))
        return sums.total()

    return types.int64(leaves, types.int64, types.int64, types.int64, table, types.int64), write


class MaskedSums:
    """Running sums of masked entries, in registers.

    AVX-512 takes bits as masks as they are. Other registers have masks as wide as their lanes: the word of
    bits stands in every lane, and each lane compares its own bit.
    """

    def __init__(self, builder: Any, entry_bits: int) -> None:
        self._builder = builder
        self._lanes = 64 * vector_words() // entry_bits
        self._entry = ir.IntType(entry_bits)
        self._vector = ir.VectorType(self._entry, self._lanes)
        self._zero = ir.Constant(self._vector, [0] * self._lanes)
        self._chains = [cgutils.alloca_once_value(builder, self._zero) for _ in range(_CHAINS)]

    def add(self, leaf: Any, entries: Any) -> None:
        """Adds one leaf's entries, from pointers to its bits and to the first entry."""
        build = self._builder
        masks = self._masks_of_bits(leaf) if vector_words() == 8 else self._compared_masks(leaf)
        for i, mask in enumerate(masks):
            chain = self._chains[i % _CHAINS]
            place = build.gep(entries, [_INDEX(i * self._lanes)])
            row = build.load(build.bitcast(place, self._vector.as_pointer()), align=4)
            build.store(build.add(build.load(chain), build.select(mask, row, self._zero)), chain)

    def _masks_of_bits(self, leaf: Any) -> Iterator[Any]:
        """A vector of one-bit lanes for every row of entries."""
        build = self._builder
        bits = build.bitcast(leaf, ir.IntType(self._lanes).as_pointer())
        for i in range(LEAF_BITS // self._lanes):
            word = build.load(build.gep(bits, [_INDEX(i)]), align=self._lanes // 8)
            yield build.bitcast(word, ir.VectorType(ir.IntType(1), self._lanes))

    def _compared_masks(self, leaf: Any) -> Iterator[Any]:
        """As `_masks_of_bits`, from words of an entry's width."""
        build, width = self._builder, self._entry.width
        words = build.bitcast(leaf, self._entry.as_pointer())
        everywhere = ir.Constant(ir.VectorType(_INDEX, self._lanes), [0] * self._lanes)
        undefined = ir.Constant(self._vector, ir.Undefined)
        for i in range(LEAF_BITS // width):
            word = build.load(build.gep(words, [_INDEX(i)]), align=width // 8)
            lanes = build.shuffle_vector(
                build.insert_element(undefined, word, _INDEX(0)), undefined, everywhere
            )
            for first in range(0, width, self._lanes):
                own = ir.Constant(self._vector, [1 << (first + lane) for lane in range(self._lanes)])
                yield build.icmp_unsigned("==", build.and_(lanes, own), own)

    def total(self) -> Any:
        """All sums together, as an int64."""
        build = self._builder
        whole = self._zero
        for chain in self._chains:
            whole = build.add(whole, build.load(chain))
        entry = self._entry
        name = f"llvm.vector.reduce.add.v{self._lanes}i{entry.width}"
        reduce = build.module.declare_intrinsic(name, (), ir.FunctionType(entry, [self._vector]))
        total = build.call(reduce, [whole])
        return total if entry.width == 64 else build.sext(total, ir.IntType(64))
