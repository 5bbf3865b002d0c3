"""Kernels refuse what they were not written for."""

from __future__ import annotations

import numpy as np
import pytest
from numba.core.errors import TypingError

from protocols.kernels.aes import INNER, Hash, hash_into
from protocols.kernels.processor import aes_registers

needs_aes = pytest.mark.skipif(aes_registers() is None, reason="no AES instructions to compile for")


@needs_aes
def test_arrays_that_are_no_contiguous_words_are_refused() -> None:
    round_keys = Hash(bytes(16)).round_keys
    blocks = np.zeros((32, 2), np.uint64)
    for wrong in (blocks.view(np.int64), blocks[::2]):
        with pytest.raises(TypingError, match="contiguous uint64 arrays"):
            hash_into(wrong, blocks, 16, INNER, round_keys)
