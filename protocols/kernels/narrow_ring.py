"""Matrix products modulo 2^52 with the multiply-add of AVX-512 IFMA: one instruction for eight products.

The low 52 bits of the product of two words are those of the product of their low 52 bits, of signed numbers
too; sums of them may wrap modulo 2^64 without harm.
"""

# llvmlite and numba have no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false

from __future__ import annotations

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
_LANES = 8
_WORD, _INDEX = ir.IntType(64), ir.IntType(32)
_VECTOR = ir.VectorType(_WORD, _LANES)
_WEIGHTS = ir.VectorType(ir.IntType(16), _LANES)


def has_narrow_products() -> bool:
    """Whether the compiled target has the instruction."""
    return {"avx512f", "avx512ifma"} <= target_features()


@kernel
def narrow_products(x: NDArray[np.uint64], weight: NDArray[np.int16], out: NDArray[np.uint64]) -> None:
    """out [m, n] = x [m, k] weight [k, n], right modulo 2^52 alone; all arrays contiguous.

    m must be a multiple of `ROWS` and n of `COLUMNS`. One core makes 21 to 29 G products a second.
    """
    for column in range(0, out.shape[1], COLUMNS):
        for row in range(0, out.shape[0], ROWS):
            _tile(x, row, weight, column, out)


@instruction
def _tile(typing_context, x, row, weight, column, out):
    """Computes one tile of the result."""
    if not (x.layout == weight.layout == out.layout == "C"):
        raise TypeError("products are of contiguous arrays")
    signature = types.void(x, row, weight, column, out)
    return signature, _write_tile


def _write_tile(context: Any, builder: Any, signature: Any, values: Any) -> Any:
    x, weight, out = (
        context.make_array(signature.args[i])(context, builder, value=values[i]) for i in (0, 2, 4)
    )
    inner = cgutils.unpack_tuple(builder, x.shape, 2)[1]
    columns = cgutils.unpack_tuple(builder, weight.shape, 2)[1]
    row, column = values[1], values[3]
    multiply = builder.module.declare_intrinsic(
        "llvm.x86.avx512.vpmadd52l.uq.512", (), ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    )
    starts = range(0, COLUMNS, _LANES)
    sums = [[cgutils.alloca_once(builder, _VECTOR) for _ in starts] for _ in range(ROWS)]
    for place in (place for line in sums for place in line):
        builder.store(ir.Constant(_VECTOR, [0] * _LANES), place)
    lines = [builder.gep(x.data, [builder.mul(builder.add(row, _WORD(i)), inner)]) for i in range(ROWS)]
    with cgutils.for_range(builder, inner) as loop:
        first = builder.gep(weight.data, [builder.add(builder.mul(loop.index, columns), column)])
        factors = [_eight(builder, first, start) for start in starts]
        for line, places in zip(lines, sums, strict=True):
            element = _everywhere(builder, builder.load(builder.gep(line, [loop.index])))
            for place, factor in zip(places, factors, strict=True):
                builder.store(builder.call(multiply, [builder.load(place), factor, element]), place)
    for i, places in enumerate(sums):
        start = builder.add(builder.mul(builder.add(row, _WORD(i)), columns), column)
        for offset, place in zip(starts, places, strict=True):
            target = builder.gep(out.data, [builder.add(start, _WORD(offset))])
            builder.store(builder.load(place), builder.bitcast(target, _VECTOR.as_pointer()), align=8)
    return context.get_dummy_value()


def _eight(builder: Any, pointer: Any, start: int) -> Any:
    """Eight weights from memory, as words."""
    place = builder.bitcast(builder.gep(pointer, [_WORD(start)]), _WEIGHTS.as_pointer())
    return builder.sext(builder.load(place, align=2), _VECTOR)


def _everywhere(builder: Any, word: Any) -> Any:
    """A register with this word in every lane."""
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    lanes = ir.Constant(ir.VectorType(_INDEX, _LANES), [0] * _LANES)
    return builder.shuffle_vector(builder.insert_element(undefined, word, _INDEX(0)), undefined, lanes)
