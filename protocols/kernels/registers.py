"""LLVM code over groups of blocks: what the instructions of the kernels are made of.

A block is 128 bits, two words; word 0 holds the lowest bits. A group is 16 blocks in as many registers as it
takes (4 of 512 bits, 8 of 256, 16 of 128). Values here are lists of registers, one list a group, so that
every step is written once for all widths and independent instructions stand side by side.
"""

# llvmlite has no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeArgument=false

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.errors import TypingError

from protocols.kernels.processor import aes_registers, vector_words
from protocols.kernels.rounds import encrypt_on_arm, encrypt_on_x86

GROUP = 16
"""Blocks in a group."""
KEY_WORDS = 8
"""Words from one round key to the next in memory: every round key is repeated to fill the widest register."""

_IN_FLIGHT = 8
"""Registers that go through the AES rounds side by side, at most."""
_WORD = ir.IntType(64)

Vectors = list[Any]
"""A group: its registers in order."""


def require_words(*arrays: Any) -> None:
    """Refuses, when a kernel is compiled, arrays that are not contiguous words.

    Raises:
        TypingError: one of these numba types is no contiguous array of uint64.
    """
    for array in arrays:
        if not (isinstance(array, types.Array) and array.dtype == types.uint64 and array.layout == "C"):
            raise TypingError(f"a kernel takes contiguous uint64 arrays, got {array}")


def data_of(context: Any, builder: Any, signature: Any, values: Any, index: int) -> Any:
    """Pointer to the first word of an instruction's array argument."""
    return context.make_array(signature.args[index])(context, builder, value=values[index]).data


@dataclass(frozen=True, slots=True)
class Registers:
    """Writes LLVM code over groups of blocks.

    Attributes:
        builder: llvmlite's IR builder.
        words: 64-bit words in a register.
        encrypt: writes the rounds of AES; None where the code leaves AES to others.
    """

    builder: Any
    words: int
    encrypt: Callable[[Any, Vectors, Callable[[int], Any]], Vectors] | None = None

    @classmethod
    def of_target(cls, builder: Any) -> Registers:
        """Registers as wide as the compiled target's AES instructions.

        Raises:
            TypingError: it has none, so that no kernel can be compiled.
        """
        kind = aes_registers()
        if kind is None:
            raise TypingError("compiled kernels need AES instructions, and the target has none")
        return cls(builder, kind.words, encrypt_on_arm if kind.name == "neon" else encrypt_on_x86)

    @classmethod
    def without_aes(cls, builder: Any) -> Registers:
        """The compiled target's widest registers, for code that has no `hash`."""
        return cls(builder, vector_words())

    @property
    def _vector(self) -> Any:
        return ir.VectorType(_WORD, self.words)

    def _at(self, pointer: Any, offset: Any, constant: int, kind: Any) -> Any:
        place = self.builder.gep(pointer, [self.builder.add(offset, _WORD(constant))])
        return self.builder.bitcast(place, kind.as_pointer())

    def load(self, pointer: Any, offset: Any) -> Vectors:
        """A group from memory; the offset counts words."""
        return [
            self.builder.load(self._at(pointer, offset, start, self._vector), align=8)
            for start in range(0, 2 * GROUP, self.words)
        ]

    def store(self, values: Vectors, pointer: Any, offset: Any) -> None:
        """A group to memory; the offset counts words."""
        for i, value in enumerate(values):
            self.builder.store(value, self._at(pointer, offset, i * self.words, self._vector), align=8)

    def load_spread(self, pointer: Any, offset: Any) -> Vectors:
        """One word a block from memory, repeated in both words of the block."""
        half = ir.VectorType(_WORD, self.words // 2)
        order = [i // 2 for i in range(self.words)]
        group: Vectors = []
        for start in range(0, GROUP, self.words // 2):
            narrow = self.builder.load(self._at(pointer, offset, start, half), align=8)
            group.append(self._shuffle(narrow, order))
        return group

    def _shuffle(self, value: Any, order: list[int]) -> Any:
        mask = ir.Constant(ir.VectorType(ir.IntType(32), len(order)), order)
        return self.builder.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), mask)

    def word(self, value: int | np.uint64) -> Any:
        """A number known when the code is written."""
        return _WORD(int(value))

    def constant(self, low: int, high: int) -> Any:
        """A register in which every block has these two words."""
        return ir.Constant(self._vector, [low, high] * (self.words // 2))

    def repeat(self, word: Any) -> Any:
        """A register with this word everywhere."""
        first = self.builder.insert_element(ir.Constant(self._vector, ir.Undefined), word, ir.IntType(32)(0))
        return self._shuffle(first, [0] * self.words)

    def each(self, function: Callable[..., Any], *groups: Vectors) -> Vectors:
        """The function of corresponding registers."""
        return [function(*registers) for registers in zip(*groups, strict=True)]

    def xor(self, left: Vectors, right: Vectors) -> Vectors:
        """Bitwise exclusive or."""
        return self.each(self.builder.xor, left, right)

    def both(self, left: Vectors, right: Vectors) -> Vectors:
        """Bitwise and."""
        return self.each(self.builder.and_, left, right)

    def inverted(self, values: Vectors) -> Vectors:
        """Bitwise complement."""
        return [self.builder.not_(value) for value in values]

    def choose(self, masks: Vectors, ones: Vectors, zeros: Vectors) -> Vectors:
        """Bits of the second group where the mask has 1, of the third where it has 0."""
        return self.xor(zeros, self.both(masks, self.xor(ones, zeros)))

    def change(self, value: Any) -> Any:
        """1 at every bit of a register's words that differs from the bit above it; the top bit stays."""
        return self.builder.xor(value, self.builder.lshr(value, self.constant(1, 1)))

    def control(self, blocks: Vectors) -> Vectors:
        """All ones in blocks whose lowest bit is 1, zero in the others."""
        order = [i // 2 * 2 for i in range(self.words)]
        one, zero = self.constant(1, 1), self.constant(0, 0)
        return [
            self.builder.sub(zero, self.builder.and_(self._shuffle(block, order), one)) for block in blocks
        ]

    def bit(self, values: Vectors, shift: Any) -> Vectors:
        """All ones in words whose bit `63 - shift` is 1, zero in the others."""
        amount, sign = self.repeat(shift), self.constant(63, 63)
        return [self.builder.ashr(self.builder.shl(value, amount), sign) for value in values]

    def turned(self, blocks: Vectors, tweak: Any) -> Vectors:
        """s(block xor tweak) of every block, s(low, high) = (low xor high, low): what AES is to encrypt.

        Args:
            blocks: the group.
            tweak: a word to be XORed into word 1 of every block.
        """
        low = self.constant((1 << 64) - 1, 0)
        swap = [i ^ 1 for i in range(self.words)]
        tweaks = self.builder.and_(self.repeat(tweak), low)
        return [
            self.builder.xor(
                self.builder.xor(self._shuffle(block, swap), self.builder.and_(block, low)), tweaks
            )
            for block in blocks
        ]

    def permuted(self, blocks: Vectors, keys: Any) -> Vectors:
        """AES of every block.

        Args:
            blocks: the group.
            keys: pointer to the round keys, `KEY_WORDS` words apart.
        """
        assert self.encrypt is not None, "these registers leave AES to others"

        def key(index: int) -> Any:
            place = self._at(keys, _WORD(0), index * KEY_WORDS, self._vector)
            return self.builder.load(place, align=8)

        outputs: Vectors = []
        for start in range(0, len(blocks), _IN_FLIGHT):
            outputs += self.encrypt(self.builder, blocks[start : start + _IN_FLIGHT], key)
        return outputs

    def hash(self, blocks: Vectors, tweak: Any, keys: Any) -> Vectors:
        """H(block xor tweak) of every block: H(y) = AES(s(y)) xor s(y).

        Args:
            blocks, tweak: as for `turned`.
            keys: as for `permuted`.
        """
        turned = self.turned(blocks, tweak)
        return self.xor(self.permuted(turned, keys), turned)

    def pair(self, low: Any, high: Any) -> Any:
        """A register in which every block has these two words."""
        none = ir.Constant(self._vector, ir.Undefined)
        index = ir.IntType(32)
        first = self.builder.insert_element(none, low, index(0))
        both = self.builder.insert_element(first, high, index(1))
        return self._shuffle(both, [0, 1] * (self.words // 2))

    def counted(self, low: Any, high: Any) -> Vectors:
        """A group whose block i has the words low + i and high."""
        first, blocks = self.pair(low, high), self.words // 2
        counts = [
            [number for i in range(blocks) for number in (start + i, 0)] for start in range(0, GROUP, blocks)
        ]
        return [self.builder.add(first, ir.Constant(self._vector, each)) for each in counts]
