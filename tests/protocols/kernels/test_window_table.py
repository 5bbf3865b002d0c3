"""Rows of tables under windows of bits; the sums are in the tests of their kernels."""

from __future__ import annotations

import numpy as np
import pytest

from parties.errors import RangeError
from protocols.kernels.window_table import WindowTable


def test_a_row_is_summed_in_32_bits_where_it_fits() -> None:
    row = np.full(100, 2**24)
    assert WindowTable(np.stack([row, row])).entries.dtype == np.int32
    assert WindowTable(np.stack([row, 2 * row])).entries.dtype == np.int64


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1, 2, 3)], ids=str)
def test_what_is_no_table(shape: tuple[int, ...]) -> None:
    with pytest.raises(RangeError, match="a table of entries"):
        WindowTable(np.zeros(shape, np.int64))
