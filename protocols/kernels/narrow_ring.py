"""Matrix products modulo 2^52 with the multiply-add of AVX-512 IFMA: one instruction for eight products.

The low 52 bits of the product of two words are those of the product of their low 52 bits, of signed numbers
too; sums of them may wrap modulo 2^64 without harm.
"""

# llvmlite and numba have no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numpy.typing import NDArray

from protocols.kernels.jit import instruction, kernel
from protocols.kernels.processor import target_features

NARROW_BITS = 52
ROWS, COLUMNS = 8, 16
"""A tile of the result: 16 registers of sums, which stay in the processor."""
_COPY_ROWS = 32
"""From so many rows on, a narrow copy of wide weights pays."""
_LANES = 8
_WORD, _INDEX = ir.IntType(64), ir.IntType(32)
_VECTOR = ir.VectorType(_WORD, _LANES)


@lru_cache(maxsize=1)
def has_narrow_products() -> bool:
    """Whether the compiled target has the instruction."""
    return {"avx512f", "avx512ifma"} <= target_features()


@kernel
def narrow_products(
    x: NDArray[np.uint64], weight: NDArray[np.signedinteger[Any]], out: NDArray[np.uint64]
) -> None:
    """out [B, m, n] = x [B, m, k] weight [B, k, n], right modulo 2^52 alone; all arrays contiguous.

    Weights are int16, int32 or int64. Of the result only whole tiles are written: rows and columns beyond the
    last multiple of `ROWS` and `COLUMNS` are left. One core makes 21 to 29 G products a second.

    Wide weights are copied first, the columns of a tile at a time, where many rows read them: their rows tend
    to lie a power of two apart, and then evict each other from the cache.
    """
    copies = weight.itemsize > 2 and out.shape[1] >= _COPY_ROWS
    panel = np.empty((weight.shape[1] if copies else 0, COLUMNS), np.int64)
    for batch in range(out.shape[0]):
        factor, weights, sums = x[batch], weight[batch], out[batch]
        for column in range(0, out.shape[2] - COLUMNS + 1, COLUMNS):
            for p in range(panel.shape[0]):
                for j in range(COLUMNS):
                    panel[p, j] = weights[p, column + j]
            for row in range(0, out.shape[1] - ROWS + 1, ROWS):
                if copies:
                    _tile(factor, row, panel, 0, column, sums)
                else:
                    _tile(factor, row, weights, column, column, sums)


@instruction
def _tile(typing_context, x, row, weight, start, column, out):
    """Computes the tile of the result at `row` and `column`, from columns of the weights from `start` on."""
    if not (x.layout == weight.layout == out.layout == "C"):
        raise TypeError("products are of contiguous arrays")
    signature = types.void(x, row, weight, start, column, out)
    return signature, _write_tile


def _write_tile(context: Any, builder: Any, signature: Any, values: Any) -> Any:
    x, weight, out = (
        context.make_array(signature.args[i])(context, builder, value=values[i]) for i in (0, 2, 5)
    )
    inner = cgutils.unpack_tuple(builder, x.shape, 2)[1]
    stride, columns = (cgutils.unpack_tuple(builder, array.shape, 2)[1] for array in (weight, out))
    row, start, column = values[1], values[3], values[4]
    multiply = builder.module.declare_intrinsic(
        "llvm.x86.avx512.vpmadd52l.uq.512", (), ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    )
    offsets = range(0, COLUMNS, _LANES)
    sums = [[cgutils.alloca_once(builder, _VECTOR) for _ in offsets] for _ in range(ROWS)]
    for place in (place for line in sums for place in line):
        builder.store(ir.Constant(_VECTOR, [0] * _LANES), place)
    lines = [builder.gep(x.data, [builder.mul(builder.add(row, _WORD(i)), inner)]) for i in range(ROWS)]
    with cgutils.for_range(builder, inner) as loop:
        first = builder.gep(weight.data, [builder.add(builder.mul(loop.index, stride), start)])
        factors = [_eight(builder, first, offset) for offset in offsets]
        for line, places in zip(lines, sums, strict=True):
            element = _everywhere(builder, builder.load(builder.gep(line, [loop.index])))
            for place, factor in zip(places, factors, strict=True):
                builder.store(builder.call(multiply, [builder.load(place), factor, element]), place)
    for i, places in enumerate(sums):
        line = builder.add(builder.mul(builder.add(row, _WORD(i)), columns), column)
        for offset, place in zip(offsets, places, strict=True):
            target = builder.gep(out.data, [builder.add(line, _WORD(offset))])
            builder.store(builder.load(place), builder.bitcast(target, _VECTOR.as_pointer()), align=8)
    return context.get_dummy_value()


def _eight(builder: Any, pointer: Any, offset: int) -> Any:
    """Eight weights from memory, as words."""
    kind = pointer.type.pointee
    place = builder.bitcast(builder.gep(pointer, [_WORD(offset)]), ir.VectorType(kind, _LANES).as_pointer())
    weights = builder.load(place, align=kind.width // 8)
    return weights if kind == _WORD else builder.sext(weights, _VECTOR)


def _everywhere(builder: Any, word: Any) -> Any:
    """A register with this word in every lane."""
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    lanes = ir.Constant(ir.VectorType(_INDEX, _LANES), [0] * _LANES)
    return builder.shuffle_vector(builder.insert_element(undefined, word, _INDEX(0)), undefined, lanes)
