"""Bit-slices hold exactly the bits that went in, in memory and on the wire."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from protocols.arithmetic.bits import from_slice, slice_bytes, squeeze, squeezed_bytes, stretch, to_slices

COUNTS = [0, 1, 7, 8, 9, 64, 1001, 5000]
WIDTHS = [1, 2, 7, 8, 9, 31, 32, 33, 63, 64]


def sample(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randint(-(1 << 63), (1 << 63) - 1, (count,), generator=generator)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("bits", WIDTHS)
def test_slices_are_the_low_bits(count: int, bits: int) -> None:
    words = sample(count)
    slices = to_slices(words, bits)
    assert slices.shape == (bits, slice_bytes(count))
    for index in range(bits):
        assert torch.equal(from_slice(slices[index], count), (words >> index) & 1)


def test_slices_of_a_view_are_those_of_a_copy() -> None:
    square = sample(36).reshape(6, 6)
    for view in (square.T.reshape(-1), square.flatten()[::2], square[0]):
        assert np.array_equal(to_slices(view, 40), to_slices(view.clone(), 40))


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("rows", [1, 3, 8, 31])
def test_the_wire_holds_no_padding_between_slices(count: int, rows: int) -> None:
    slices = to_slices(sample(count), rows)
    squeezed = squeeze(slices, count)
    assert squeezed.shape == (squeezed_bytes(rows, count),) == (-(-rows * count // 8),)
    every = np.unpackbits(squeezed, count=rows * count, bitorder="little").reshape(rows, count)
    back = stretch(squeezed, rows, count)
    assert back.shape == slices.shape
    for index in range(rows):
        expected = from_slice(slices[index], count)
        assert torch.equal(from_slice(back[index], count), expected)
        assert np.array_equal(every[index], expected.numpy())


def test_bits_beyond_the_last_element_never_reach_the_wire() -> None:
    slices = np.full((3, 2), 0xFF, np.uint8)
    assert squeeze(slices, 9).tolist() == [0xFF, 0xFF, 0xFF, 0b111]
