"""What parties see of a run of the FSS suite, and whether it looks uniform.

Statistics are computed on seeded runs: a check fails always or never. Limits are those that uniform samples
exceed with probability ALARM; with some fifteen hundred comparisons in the suite, chance alone would fail one
suite in six hundred. What the samples can show: n samples in k cells from a distribution p add
n k sum((p - 1/k)^2) to chi-square. With 4,096 of them a mask of half its range adds 4,096, a bit that is 1
with probability 0.6 adds 164; the limits are 28 for 2 cells and 57 for 16.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from parties.meter import CLIENT, SERVER
from protocols.fss.ring import low
from protocols.share import Held, Share
from tests.protocols.fss.harness import Run, SentFrame

ALARM = 1e-6
_DEVIATIONS = 4.7534
"""The standard normal distribution's quantile for ALARM."""
_CELL_BITS = 4


@dataclass(frozen=True, eq=False)
class Seen:
    """Something a party sees: elements of a ring, one under each fresh mask."""

    what: str
    bits: int
    values: torch.Tensor

    def cells(self) -> list[tuple[str, torch.Tensor, int]]:
        """Its highest and lowest bits, at most four of each, as numbers of cells."""
        some = min(self.bits, _CELL_BITS)
        residues = low(self.values.flatten(), self.bits)
        highest = low(residues >> (self.bits - some), some)
        return [("low bits", low(residues, some), 1 << some), ("high bits", highest, 1 << some)]


def limit(cells: int) -> float:
    """What chi-square of uniform samples exceeds with probability ALARM (Wilson and Hilferty)."""
    freedom = cells - 1
    spread = 2 / (9 * freedom)
    return freedom * (1 - spread + _DEVIATIONS * spread**0.5) ** 3


def seen_in(done: Run) -> list[Seen]:
    """What both parties see of one run, and differences."""
    single = [*_frames(done.offline_frames, "ahead"), *_frames(done.frames, "frame")]
    opened = [Seen(f"what {label} opens", bits, value) for label, bits, value in _sums(done.frames)]
    for index, share in enumerate(done.server):
        held = share.held in (Held.SERVER_HELD, Held.SERVER_MASKED)
        # It is a frame where the client alone had something to add.
        if held and not any(_same(share, frame) for frame in done.frames):
            opened.append(Seen(f"result {index} at the server", share.ring_bits, share.value))
    seen = [*single, *opened]
    neighbours = [
        Seen(f"{each.what}: neighbours' differences", each.bits, _neighbours(each.values))
        for each in opened
        if each.values.numel() > 1
    ]
    pairs = [
        Seen(f"{a.what} minus {b.what}", min(a.bits, b.bits), a.values - b.values)
        for i, a in enumerate(seen)
        for b in seen[:i]
        if a.values.shape == b.values.shape
    ]
    return [*seen, *neighbours, *pairs]


def _same(share: Share, frame: SentFrame) -> bool:
    """Whether a result is what came in a frame."""
    return any(torch.equal(low(share.value, share.ring_bits), array) for array in frame.arrays)


def _neighbours(values: torch.Tensor) -> torch.Tensor:
    """Of disjoint pairs, which are independent."""
    flat = values.flatten()
    flat = flat[: flat.numel() // 2 * 2].reshape(-1, 2)
    return flat[:, 0] - flat[:, 1]


def _frames(frames: Sequence[SentFrame], what: str) -> list[Seen]:
    return [
        Seen(f"{what} {frame.label} of party {frame.sender}", spec.bits, array)
        for frame in frames
        for spec, array in zip(frame.specs, frame.arrays, strict=True)
    ]


def _sums(frames: Sequence[SentFrame]) -> list[tuple[str, int, torch.Tensor]]:
    """Of the exchanges among frames: the sums of both parties' arrays."""
    ours, theirs = ([f for f in frames if f.sender == rank] for rank in (SERVER, CLIENT))
    both = zip(ours, theirs, strict=True) if len(ours) == len(theirs) else ()
    return [
        (mine.label, spec.bits, low(a + b, spec.bits))
        for mine, other in both
        if (mine.label, mine.specs) == (other.label, other.specs)
        for spec, a, b in zip(mine.specs, mine.arrays, other.arrays, strict=True)
    ]


def chi_square(values: torch.Tensor, cells: int) -> float:
    expected = values.numel() / cells
    counts = torch.bincount(values, minlength=cells).double()
    return float(((counts - expected).square() / expected).sum())
