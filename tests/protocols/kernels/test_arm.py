"""What is written for ARMv8 compiles to its AES instructions, and gives the same hashes and sums.

Assembly is looked at wherever LLVM was built with that target; the code runs where a cross compiler for Linux
and QEMU's user mode are installed (Debian: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user-static).
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir

from parties.randomness import InsecureTestRandom
from protocols.kernels import masked_sums
from protocols.kernels.aes import VALUE, Hash
from protocols.kernels.masked_sums import LEAF_BITS, MaskedSums
from protocols.kernels.registers import GROUP, Registers
from protocols.kernels.rounds import encrypt_on_arm

TRIPLE = "aarch64-linux-gnu"
COMPILER = shutil.which("aarch64-linux-gnu-gcc")
QEMU = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
WORD = ir.IntType(64)
POINTER = WORD.as_pointer()

PROGRAM = """
#include <stdint.h>
#include <stdio.h>
void hash_group(const uint64_t *, uint64_t *, uint64_t, const uint64_t *);
uint64_t sum_narrow(const uint64_t *, const int32_t *);
uint64_t sum_wide(const uint64_t *, const int64_t *);
static uint64_t keys[88], blocks[32], wide[128], result[34];
static int32_t narrow[128];
int main(void) {
    if (fread(keys, sizeof keys, 1, stdin) + fread(blocks, sizeof blocks, 1, stdin)
        + fread(narrow, sizeof narrow, 1, stdin) + fread(wide, sizeof wide, 1, stdin) != 4) return 1;
    hash_group(blocks, result, (uint64_t)1 << 63, keys);
    result[32] = sum_narrow(blocks, narrow);
    result[33] = sum_wide(blocks, (const int64_t *)wide);
    return fwrite(result, sizeof result, 1, stdout) != 1;
}
"""


def _function(module: Any, name: str, result: Any, *taken: Any) -> tuple[Any, Any]:
    function = ir.Function(module, ir.FunctionType(result, taken), name)
    return function.args, ir.IRBuilder(function.append_basic_block())


def _module(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A group's hash, and sums over one leaf in both widths, as on a target with NEON."""
    module = ir.Module()
    module.triple = TRIPLE
    (source, target, tweak, keys), builder = _function(
        module, "hash_group", ir.VoidType(), POINTER, POINTER, WORD, POINTER
    )
    to = Registers(builder, 2, encrypt_on_arm)
    to.store(to.hash(to.load(source, WORD(0)), tweak, keys), target, WORD(0))
    builder.ret_void()
    monkeypatch.setattr(masked_sums, "vector_words", lambda: 2)
    for name, bits in (("sum_narrow", 32), ("sum_wide", 64)):
        (leaf, entries), builder = _function(module, name, WORD, POINTER, ir.IntType(bits).as_pointer())
        sums = MaskedSums(builder, bits)
        sums.add(leaf, entries)
        builder.ret(sums.total())
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    return parsed


def _machine(features: str) -> Any:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    try:
        target = llvm.Target.from_triple(TRIPLE)
    except RuntimeError as error:
        pytest.skip(f"this LLVM compiles for its own machine alone: {error}")
    return target.create_target_machine(features=features, opt=3)


def test_assembly_has_the_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    assembly = _machine("+neon,+aes").emit_assembly(_module(monkeypatch))
    assert len(re.findall(r"\taese\t", assembly)) == 10 * GROUP
    assert len(re.findall(r"\taesmc\t", assembly)) == 9 * GROUP
    assert "\teor3\t" not in assembly
    assert "\teor3\t" in _machine("+neon,+aes,+sha3").emit_assembly(_module(monkeypatch))


@pytest.mark.skipif(
    COMPILER is None or QEMU is None, reason="needs a cross compiler for aarch64 and QEMU's user mode"
)
@pytest.mark.parametrize("features", ["+neon,+aes", "+neon,+aes,+sha3"])
def test_hashes_and_sums_are_ours(features: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert COMPILER is not None
    assert QEMU is not None
    (tmp_path / "main.c").write_text(PROGRAM)
    (tmp_path / "kernels.o").write_bytes(_machine(features).emit_object(_module(monkeypatch)))
    files = [str(tmp_path / name) for name in ("main.c", "kernels.o", "main")]
    subprocess.run([COMPILER, "-static", *files[:2], "-o", files[2]], check=True)
    random, hash = InsecureTestRandom(1), Hash(bytes(range(16)))
    blocks, wide = random.uint64((GROUP, 2)), random.uint64((LEAF_BITS,)).view(np.int64)
    narrow = (wide >> 44).astype(np.int32)
    given = b"".join(array.tobytes() for array in (hash.round_keys, blocks, narrow, wide))
    run = subprocess.run([QEMU, "-cpu", "max", files[2]], input=given, check=True, stdout=subprocess.PIPE)
    result = np.frombuffer(run.stdout, np.uint64)
    assert np.array_equal(result[:-2].reshape(GROUP, 2), hash.hash(blocks, VALUE))
    chosen = np.unpackbits(blocks[0].view(np.uint8), bitorder="little").astype(bool)
    sums = [entries[chosen].sum(dtype=np.int64) for entries in (narrow, wide)]
    assert result[-2:].view(np.int64).tolist() == sums
