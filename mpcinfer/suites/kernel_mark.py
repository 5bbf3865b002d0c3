"""Whether this machine's kernels are compiled, told without loading numba."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

import parties
from parties.kernel_cache import KernelFolder, cache_root, digest_of_sources, own_folder
from protocols import kernels

_SHAPING = ("MPCINFER_KERNELS", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES")
"""Environment variables that choose what is compiled."""


def is_warm(*more: Path) -> bool:
    """Whether a suite's warm-up has been through, with these sources and these versions.

    A cache that was carried to another processor still has the mark: its kernels are compiled when they are
    first called, as if there were none.

    Args:
        more: folders of sources with kernels of the suite's own.
    """
    return _mark(more).exists()


def mark_warm(*more: Path) -> None:
    """Says so from now on.

    Args:
        more: as for `is_warm`.

    Raises:
        ConfigError: the cache folder is not the user's alone.
        OSError: it cannot be written.
    """
    mark = _mark(more)
    own_folder(mark.parent)
    mark.touch()


def cache_folder() -> KernelFolder:
    """Where kernels are kept.

    Raises:
        ConfigError: it is not the user's alone.
    """
    from parties.compiled import kernel_folder  # loads numba

    return kernel_folder(Path(str(kernels.__file__)).parent)


def _mark(more: Sequence[Path]) -> Path:
    common = [Path(str(package.__file__)).parent for package in (kernels, parties)]
    made_for = [
        digest_of_sources(*common, *more),
        sys.implementation.cache_tag,
        platform.machine(),
        *(importlib.metadata.version(name) for name in ("numba", "llvmlite")),
        *(os.environ.get(name, "") for name in _SHAPING),
    ]
    return cache_root() / "kernels" / f"warm-{hashlib.sha256(repr(made_for).encode()).hexdigest()[:16]}"
