"""Compiled code is kept, and only for as long as the sources stay as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from numba.core.errors import TypingError
from numpy.typing import NDArray

from protocols.kernels import jit
from protocols.kernels.aes import INNER, Hash, hash_into
from protocols.kernels.processor import aes_registers

needs_aes = pytest.mark.skipif(aes_registers() is None, reason="no AES instructions to compile for")


def twice(values: NDArray[np.uint64]) -> None:
    for i in range(values.size):
        values[i] *= np.uint64(2)


def compile_again(values: NDArray[np.uint64]) -> tuple[int, int]:
    """How often compiled code was found on disk and not found, in a fresh wrapper of the function."""
    dispatcher: Any = jit.kernel(twice)
    dispatcher(values)
    return sum(dispatcher.stats.cache_hits.values()), sum(dispatcher.stats.cache_misses.values())


def test_compiled_code_is_kept_until_a_source_changes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    values = np.array([3, 5], np.uint64)
    assert compile_again(values) == (0, 1)
    assert compile_again(values) == (1, 0)
    monkeypatch.setattr(jit, "_digest_of_sources", lambda: "another")
    assert compile_again(values) == (0, 1)
    assert values.tolist() == [24, 40]


@needs_aes
def test_arrays_that_are_no_contiguous_words_are_refused() -> None:
    round_keys = Hash(bytes(16)).round_keys
    blocks = np.zeros((32, 2), np.uint64)
    for wrong in (blocks.view(np.int64), blocks[::2]):
        with pytest.raises(TypingError, match="contiguous uint64 arrays"):
            hash_into(wrong, blocks, 16, INNER, round_keys)
