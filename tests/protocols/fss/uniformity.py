"""Whether opened values look uniform: a chi-square test on seeded runs, so that it fails always or never."""

from __future__ import annotations

import torch

from protocols.fss.ring import low

_CELLS_BITS = 4
_LIMITS = {2: 15.1, 4: 21.1, 8: 29.9, 16: 44.3}
"""By number of cells: what uniform samples exceed once in 10,000."""


def chi_square(values: torch.Tensor, bits: int) -> float:
    """Of small ring elements, against the uniform distribution."""
    cells = 1 << bits
    expected = values.numel() / cells
    counts = torch.bincount(values.flatten(), minlength=cells).double()
    return float(((counts - expected) ** 2 / expected).sum())


def assert_uniform(values: torch.Tensor, bits: int) -> None:
    """The highest and the lowest bits (at most four) of many ring elements are uniform."""
    assert values.numel() >= 800, "too few values to say"
    some = min(bits, _CELLS_BITS)
    residues = low(values, bits)
    lowest, highest = low(residues, some), residues >> (bits - some)
    if bits == 64:
        highest = low(highest, some)
    for part in (lowest, highest):
        assert chi_square(part, some) < _LIMITS[1 << some]
