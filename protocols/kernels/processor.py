"""Which implementation of the kernels this process runs, and on which registers."""

# numba and llvmlite have no types here.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache

import llvmlite.binding as llvm
from numba import config

from parties.errors import ConfigError

VARIABLE = "MPCINFER_KERNELS"
"""Environment variable: empty or unset for the processor's best, `openssl` for AES by OpenSSL."""

OPENSSL = "openssl"


@dataclass(frozen=True, slots=True)
class RegisterKind:
    """Registers for which AES instructions are known.

    Attributes:
        name: of the kernel set that is written for them.
        words: 64-bit words in one of them.
        needs: features of a target that has them, in LLVM's names.
    """

    name: str
    words: int
    needs: frozenset[str]


AES_REGISTERS = (
    RegisterKind("avx512", 8, frozenset({"vaes", "avx512f"})),
    RegisterKind("avx2", 4, frozenset({"vaes", "avx2"})),
    RegisterKind("aes-ni", 2, frozenset({"aes", "sse4.1"})),
    RegisterKind("neon", 2, frozenset({"aes", "neon"})),
)
"""The best first. Code is compiled for the first whose features the target has."""

KERNEL_SETS = (*(kind.name for kind in AES_REGISTERS), OPENSSL)


def aes_registers() -> RegisterKind | None:
    """The widest registers that AES instructions of the compiled target take; None without such instructions.

    The answer follows the features that numba compiles for (its NUMBA_CPU_FEATURES, or the host's), which are
    a part of the key under which numba caches compiled code.
    """
    features = target_features()
    return next((kind for kind in AES_REGISTERS if kind.needs <= features), None)


def vector_words() -> int:
    """64-bit words in the target's widest register, whatever it has for AES: 8, 4 or 2."""
    features = target_features()
    return 8 if "avx512f" in features else 4 if "avx2" in features else 2


def uses_compiled() -> bool:
    """Whether compiled loops contain AES instructions; otherwise they leave AES to OpenSSL.

    Raises:
        ConfigError: MPCINFER_KERNELS is neither empty nor `openssl`.
    """
    wanted = os.environ.get(VARIABLE, "")
    if wanted not in {"", OPENSSL}:
        raise ConfigError(f"{VARIABLE} is {wanted!r}; expected nothing, or '{OPENSSL}'")
    return not wanted and aes_registers() is not None


def kernel_set() -> str:
    """The name in `KERNEL_SETS` of what this process runs.

    Raises:
        ConfigError: see `uses_compiled`.
    """
    kind = aes_registers() if uses_compiled() else None
    return OPENSSL if kind is None else kind.name


def target_name() -> str:
    """The processor that code is compiled for, in LLVM's names: `znver3`, `apple-m1`."""
    chosen: str | None = config.CPU_NAME  # pyright: ignore[reportAttributeAccessIssue]
    return str(llvm.get_host_cpu_name() if chosen is None else chosen)


@lru_cache(maxsize=1)
def target_features() -> frozenset[str]:
    """Names of the features that code is compiled for."""
    chosen: str | None = config.CPU_FEATURES  # pyright: ignore[reportAttributeAccessIssue]
    flat = str(llvm.get_host_cpu_features().flatten() if chosen is None else chosen)
    named = frozenset(name[1:] for name in flat.split(",") if name.startswith("+"))
    # LLVM may list nothing on Apple's processors, and goes by their name; all of 64 bits have these.
    return named | {"neon", "aes"} if target_name().startswith("apple-") else named
