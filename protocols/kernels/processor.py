"""Which implementation of the kernels this process runs."""

# numba and llvmlite have no types here.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import os
from functools import lru_cache

import llvmlite.binding as llvm
from numba import config

from parties.errors import ConfigError

VARIABLE = "MPCINFER_KERNELS"
"""Environment variable: empty or unset for the processor's best, `openssl` for NumPy and OpenSSL."""


@lru_cache(maxsize=1)
def register_words() -> int:
    """64-bit words in the widest register that AES instructions of the compiled target take.

    The answer follows the features that numba compiles for (its NUMBA_CPU_FEATURES, or the host's), which are
    a part of the key under which numba caches compiled code.

    Returns:
        8 (VAES and AVX-512), 4 (VAES and AVX2), 2 (AES-NI), or 0: no AES instruction.
    """
    features = target_features()
    if {"vaes", "avx512f"} <= features:
        return 8
    if {"vaes", "avx2"} <= features:
        return 4
    return 2 if {"aes", "sse4.1"} <= features else 0


def uses_compiled() -> bool:
    """Whether the compiled kernels run; otherwise NumPy and OpenSSL do the same work.

    Raises:
        ConfigError: MPCINFER_KERNELS is neither empty nor `openssl`.
    """
    wanted = os.environ.get(VARIABLE, "")
    if wanted not in {"", "openssl"}:
        raise ConfigError(f"{VARIABLE} is {wanted!r}; expected nothing, or 'openssl'")
    return not wanted and register_words() > 0


def target_features() -> frozenset[str]:
    """Names of the features that code is compiled for."""
    chosen: str | None = config.CPU_FEATURES  # pyright: ignore[reportAttributeAccessIssue]
    flat = str(llvm.get_host_cpu_features().flatten() if chosen is None else chosen)
    return frozenset(name[1:] for name in flat.split(",") if name.startswith("+"))
