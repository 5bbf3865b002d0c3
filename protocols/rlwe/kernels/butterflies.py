"""Butterflies of several levels at once, eight numbers a vector, in LLVM's own instructions.

A pass over R rows loads each once, does log2 R levels in registers and stores each once. On processors
without registers of 512 bits LLVM cuts vectors in two.
"""

# llvmlite and numba have no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from protocols.kernels.jit import instruction

LANES = 8
_WORD, _INDEX, _SMALL = ir.IntType(64), ir.IntType(32), ir.IntType(32)
VECTOR = ir.VectorType(_WORD, LANES)
_LOW, _HALF = ir.Constant(VECTOR, [0xFFFFFFFF] * LANES), ir.Constant(VECTOR, [32] * LANES)


class Vectors:
    """Writes instructions on vectors of numbers modulo one prime, see `words`."""

    def __init__(self, builder: Any, prime: Any) -> None:
        self.builder = builder
        self.prime = builder.and_(self.everywhere(prime), _LOW)
        self.twice = builder.add(self.prime, self.prime)

    def everywhere(self, word: Any) -> Any:
        """A vector with this word in every lane."""
        undefined = ir.Constant(VECTOR, ir.Undefined)
        lanes = ir.Constant(ir.VectorType(_INDEX, LANES), [0] * LANES)
        first = self.builder.insert_element(undefined, word, _INDEX(0))
        return self.builder.shuffle_vector(first, undefined, lanes)

    def load(self, pointer: Any) -> Any:
        """Eight numbers from memory, as words."""
        kind = pointer.type.pointee
        place = self.builder.bitcast(pointer, ir.VectorType(kind, LANES).as_pointer())
        loaded = self.builder.load(place, align=kind.width // 8)
        return loaded if kind == _WORD else self.builder.zext(loaded, VECTOR)

    def store(self, value: Any, pointer: Any) -> None:
        self.builder.store(value, self.builder.bitcast(pointer, VECTOR.as_pointer()), align=8)

    def times(self, x: Any, factor: Any) -> Any:
        b = self.builder
        low = b.and_(x, _LOW)
        quotient = b.lshr(b.mul(low, b.lshr(factor, _HALF)), _HALF)
        return b.sub(b.mul(low, b.and_(factor, _LOW)), b.mul(quotient, self.prime))

    def product(self, x: Any, y: Any) -> Any:
        """Of two numbers below 2^32."""
        return self.builder.mul(self.builder.and_(x, _LOW), self.builder.and_(y, _LOW))

    def split(self, low: Any, high: Any, root: Any) -> tuple[Any, Any]:
        b = self.builder
        product = self.times(high, root)
        return b.add(low, product), b.sub(b.add(low, self.twice), product)

    def join(self, low: Any, high: Any, root: Any) -> tuple[Any, Any]:
        b = self.builder
        total = b.add(low, high)
        less = b.sub(total, self.twice)
        small = b.select(b.icmp_unsigned("<", total, self.twice), total, less)
        return small, self.times(b.sub(b.add(low, self.twice), high), root)

    def split_levels(self, values: list[Any], root: Callable[[int, int], Any]) -> None:
        """All levels of a split, in place; root(level, part) gives a vector."""
        levels = len(values).bit_length() - 1
        for level in range(levels):
            half = len(values) >> (level + 1)
            for part in range(1 << level):
                factor = root(level, part)
                for row in range(2 * half * part, 2 * half * part + half):
                    values[row], values[row + half] = self.split(values[row], values[row + half], factor)

    def join_levels(self, values: list[Any], root: Callable[[int, int], Any]) -> None:
        """The inverse, without a division."""
        levels = len(values).bit_length() - 1
        for level in reversed(range(levels)):
            half = len(values) >> (level + 1)
            for part in range(1 << level):
                factor = root(level, part)
                for row in range(2 * half * part, 2 * half * part + half):
                    values[row], values[row + half] = self.join(values[row], values[row + half], factor)


def _pass(radix: int, *, inverse: bool, each: bool) -> Any:
    """An intrinsic: (numbers, first, stride, width, roots, node, prime), arrays flat.

    Row r is numbers[first + r stride ...], `width` long, a multiple of eight. At level l, part s takes root
    node 2^l + s: one number, or with `each` a row of `width`.
    """

    def typed(typing_context, numbers, first, stride, width, roots, node, prime):
        return types.void(numbers, first, stride, width, roots, node, prime), write

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        numbers, roots = (
            context.make_array(signature.args[i])(context, builder, value=values[i]).data for i in (0, 4)
        )
        first, stride, width, node, prime = (values[i] for i in (1, 2, 3, 5, 6))
        vectors = Vectors(builder, prime)

        def number(level: int, part: int) -> Any:
            return builder.add(builder.shl(node, _WORD(level)), _WORD(part))

        scalars: dict[tuple[int, int], Any] = {}
        if not each:
            for level in range(radix.bit_length() - 1):
                for part in range(1 << level):
                    word = builder.load(builder.gep(roots, [number(level, part)]))
                    scalars[level, part] = vectors.everywhere(word)
        with cgutils.for_range_slice(builder, _WORD(0), width, _WORD(LANES), inc=True) as (column, _):
            start = builder.add(first, column)
            places = [
                builder.gep(numbers, [builder.add(start, builder.mul(stride, _WORD(row)))])
                for row in range(radix)
            ]
            rows = [vectors.load(place) for place in places]

            def root(level: int, part: int) -> Any:
                if not each:
                    return scalars[level, part]
                place = builder.add(builder.mul(number(level, part), width), column)
                return vectors.load(builder.gep(roots, [place]))

            (vectors.join_levels if inverse else vectors.split_levels)(rows, root)
            for row, place in zip(rows, places, strict=True):
                vectors.store(row, place)
        return context.get_dummy_value()

    return instruction(typed)


split_2, split_4, split_8, split_16 = (_pass(r, inverse=False, each=False) for r in (2, 4, 8, 16))
join_2, join_4, join_8, join_16 = (_pass(r, inverse=True, each=False) for r in (2, 4, 8, 16))
split_each_2, split_each_4, split_each_8, split_each_16 = (
    _pass(r, inverse=False, each=True) for r in (2, 4, 8, 16)
)
join_each_2, join_each_4, join_each_8, join_each_16 = (
    _pass(r, inverse=True, each=True) for r in (2, 4, 8, 16)
)

SUBTREE = 32
"""Points that `add_column_part` evaluates at a time."""


def _column_part(depth: int) -> Any:
    """An intrinsic: (line, node, width, points, factors, sums, prime), arrays flat.

    Adds to sums [32, width] the values of a polynomial with coefficients `line` [32 2^depth] at the 32 points
    below `node`, in [2^depth, 2^(depth + 1)), times factors [32, width]. points is [K, width].
    """

    def typed(typing_context, line, node, width, points, factors, sums, prime):
        return types.void(line, node, width, points, factors, sums, prime), write

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        line, points, factors, sums = (
            context.make_array(signature.args[i])(context, builder, value=values[i]).data
            for i in (0, 3, 4, 5)
        )
        node, width, prime = values[1], values[2], values[6]
        vectors = Vectors(builder, prime)
        with cgutils.for_range_slice(builder, _WORD(0), width, _WORD(LANES), inc=True) as (column, _):

            def at(row: Any) -> Any:
                return builder.add(builder.mul(row, width), column)

            def root(level: int, part: int) -> Any:
                row = builder.add(builder.shl(node, _WORD(level)), _WORD(part))
                return vectors.load(builder.gep(points, [at(row)]))

            def remainder(level: int, index: int) -> Any:
                """Coefficient `index` of the remainder at the node's ancestor at this level."""
                if level == 0:
                    word = builder.zext(builder.load(builder.gep(line, [_WORD(index)])), _WORD)
                    return vectors.everywhere(word)
                above = builder.lshr(node, _WORD(depth - level + 1))
                factor = vectors.load(builder.gep(points, [at(above)]))
                distance = SUBTREE << (depth - level)
                low, high = remainder(level - 1, index), remainder(level - 1, index + distance)
                odd = builder.trunc(builder.lshr(node, _WORD(depth - level)), ir.IntType(1))
                first, second = vectors.split(low, high, factor)
                return builder.select(odd, second, first)

            rows = [remainder(depth, index) for index in range(SUBTREE)]
            vectors.split_levels(rows, root)
            for index, row in enumerate(rows):
                place = at(_WORD(index))
                factor = vectors.load(builder.gep(factors, [place]))
                target = builder.gep(sums, [place])
                vectors.store(builder.add(vectors.load(target), vectors.product(row, factor)), target)
        return context.get_dummy_value()

    return instruction(typed)


add_column_part_32, add_column_part_64, add_column_part_128, add_column_part_256 = (
    _column_part(depth) for depth in range(4)
)


@instruction
def add_dots(typing_context, line, width, rows, sums):
    """sums [width] += the sum over j of line[j] times rows [j, width], arrays flat."""
    return types.void(line, width, rows, sums), _write_dots


def _write_dots(context: Any, builder: Any, signature: Any, values: Any) -> Any:
    arrays = [context.make_array(signature.args[i])(context, builder, value=values[i]) for i in (0, 2, 3)]
    line, rows, sums = (array.data for array in arrays)
    inner = cgutils.unpack_tuple(builder, arrays[0].shape, 1)[0]
    width = values[1]
    vectors = Vectors(builder, _WORD(0))
    with cgutils.for_range_slice(builder, _WORD(0), width, _WORD(LANES), inc=True) as (column, _):
        total = cgutils.alloca_once(builder, VECTOR)
        target = builder.gep(sums, [column])
        builder.store(vectors.load(target), total)
        with cgutils.for_range(builder, inner) as loop:
            place = builder.add(builder.mul(loop.index, width), column)
            row = vectors.load(builder.gep(rows, [place]))
            weight = vectors.everywhere(builder.zext(builder.load(builder.gep(line, [loop.index])), _WORD))
            builder.store(builder.add(builder.load(total), vectors.product(row, weight)), total)
        vectors.store(builder.load(total), target)
    return context.get_dummy_value()


@instruction
def turn(typing_context, source, rows, columns, target):
    """target [columns, rows] = source [rows, columns] transposed; both multiples of eight, arrays flat."""
    return types.void(source, rows, columns, target), _write_turn


def _write_turn(context: Any, builder: Any, signature: Any, values: Any) -> Any:
    source, target = (
        context.make_array(signature.args[i])(context, builder, value=values[i]).data for i in (0, 3)
    )
    rows, columns = values[1], values[2]
    vectors = Vectors(builder, _WORD(0))
    with (
        cgutils.for_range_slice(builder, _WORD(0), columns, _WORD(LANES), inc=True) as (column, _),
        cgutils.for_range_slice(builder, _WORD(0), rows, _WORD(LANES), inc=True) as (row, _),
    ):
        start = builder.add(builder.mul(row, columns), column)
        tile = [
            vectors.load(builder.gep(source, [builder.add(start, builder.mul(columns, _WORD(i)))]))
            for i in range(LANES)
        ]
        for distance in (1, 2, 4):
            for i in range(LANES):
                if not i & distance:
                    tile[i], tile[i + distance] = _exchanged(builder, tile[i], tile[i + distance], distance)
        start = builder.add(builder.mul(column, rows), row)
        for i, vector in enumerate(tile):
            vectors.store(vector, builder.gep(target, [builder.add(start, builder.mul(rows, _WORD(i)))]))
    return context.get_dummy_value()


def _exchanged(builder: Any, first: Any, second: Any, distance: int) -> tuple[Any, Any]:
    """Two rows of a tile with their blocks off the diagonal exchanged."""
    kind = ir.VectorType(_INDEX, LANES)
    upper = [i if not i & distance else LANES + i - distance for i in range(LANES)]
    lower = [i + distance if not i & distance else LANES + i for i in range(LANES)]
    shuffled = [builder.shuffle_vector(first, second, ir.Constant(kind, places)) for places in (upper, lower)]
    return shuffled[0], shuffled[1]
