"""The rounds of AES-128 in the instructions of each family of processors, as LLVM code.

Both take blocks in registers, one list, so that independent instructions stand side by side, and a function
that writes the load of a round key (0 to 10), as wide as a register.
"""

# llvmlite has no types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

ROUNDS = 10

Key = Callable[[int], Any]

_SUFFIX = {2: "", 4: ".256", 8: ".512"}
"""Suffixes of the names of Intel's instructions, by words of a register."""
_BYTES = ir.VectorType(ir.IntType(8), 16)


def encrypt_on_x86(builder: Any, values: list[Any], key: Key) -> list[Any]:
    """AES with AES-NI, or VAES: an instruction is a round, which ends with its key."""
    vector = values[0].type
    kind = ir.FunctionType(vector, [vector, vector])
    suffix = _SUFFIX[vector.count]
    step, last = (
        builder.module.declare_intrinsic(f"llvm.x86.aesni.{name}{suffix}", (), kind)
        for name in ("aesenc", "aesenclast")
    )
    first = key(0)
    values = [builder.xor(value, first) for value in values]
    for index in range(1, ROUNDS + 1):
        used, round_key = last if index == ROUNDS else step, key(index)
        values = [builder.call(used, [value, round_key]) for value in values]
    return values


def encrypt_on_arm(builder: Any, values: list[Any], key: Key) -> list[Any]:
    """AES with the instructions of ARMv8: AESE begins with a round's key, AESMC mixes its columns.

    So key i opens what the standard calls round i + 1, and the last key, for which no round is left, is
    XORed.
    """
    vector = values[0].type
    begin = builder.module.declare_intrinsic(
        "llvm.aarch64.crypto.aese", (), ir.FunctionType(_BYTES, [_BYTES, _BYTES])
    )
    mix = builder.module.declare_intrinsic("llvm.aarch64.crypto.aesmc", (), ir.FunctionType(_BYTES, [_BYTES]))
    states = [builder.bitcast(value, _BYTES) for value in values]
    for index in range(ROUNDS):
        round_key = builder.bitcast(key(index), _BYTES)
        states = [builder.call(begin, [state, round_key]) for state in states]
        if index < ROUNDS - 1:
            states = [builder.call(mix, [state]) for state in states]
    last = key(ROUNDS)
    return [builder.xor(builder.bitcast(state, vector), last) for state in states]
