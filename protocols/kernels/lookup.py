"""The sum of those table entries whose bit is 1, with bits as lanes of a mask on the widest registers."""

# llvmlite has no types; what an instruction takes is typed by its numba signature.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.errors import TypingError

from protocols.kernels.jit import instruction
from protocols.kernels.registers import data_of, require_words

LEAF_BITS = 128

_REGISTER_BITS = 512
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
        sums = _Sums(builder, signature.args[4].dtype.bitwidth)
        with cgutils.for_range(builder, values[3], intp=ir.IntType(64)) as loop:
            word = builder.add(values[1], builder.mul(loop.index, values[2]))
            first = builder.add(values[5], builder.mul(loop.index, ir.IntType(64)(LEAF_BITS)))
            sums.add(builder.gep(leaves, [word]), builder.gep(table, [first]))
        return sums.total()

    return types.int64(leaves, types.int64, types.int64, types.int64, table, types.int64), write


class _Sums:
    """Running sums of masked entries, in registers."""

    def __init__(self, builder: Any, entry_bits: int) -> None:
        self._builder = builder
        self._lanes = _REGISTER_BITS // entry_bits
        self._vector = ir.VectorType(ir.IntType(entry_bits), self._lanes)
        self._zero = ir.Constant(self._vector, [0] * self._lanes)
        self._chains = [cgutils.alloca_once_value(builder, self._zero) for _ in range(_CHAINS)]

    def add(self, leaf: Any, entries: Any) -> None:
        """Adds one leaf's entries, from pointers to its bits and to the first entry."""
        build = self._builder
        mask_bits = ir.IntType(self._lanes)
        bits = build.bitcast(leaf, mask_bits.as_pointer())
        for i in range(LEAF_BITS // self._lanes):
            chain = self._chains[i % _CHAINS]
            word = build.load(build.gep(bits, [_INDEX(i)]), align=self._lanes // 8)
            mask = build.bitcast(word, ir.VectorType(ir.IntType(1), self._lanes))
            place = build.gep(entries, [_INDEX(i * self._lanes)])
            row = build.load(build.bitcast(place, self._vector.as_pointer()), align=4)
            build.store(build.add(build.load(chain), build.select(mask, row, self._zero)), chain)

    def total(self) -> Any:
        """All sums together, as an int64."""
        build = self._builder
        whole = self._zero
        for chain in self._chains:
            whole = build.add(whole, build.load(chain))
        entry = self._vector.element
        name = f"llvm.vector.reduce.add.v{self._lanes}i{entry.width}"
        reduce = build.module.declare_intrinsic(name, (), ir.FunctionType(entry, [self._vector]))
        total = build.call(reduce, [whole])
        return total if entry.width == 64 else build.sext(total, ir.IntType(64))
