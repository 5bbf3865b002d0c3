"""Ring products through float64 BLAS: exact, and as fast as the processor multiplies floats.

`protocols/kernels/limbs.py` proves that the sums are not rounded.
"""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import torch

from protocols.kernels.limbs import Split, add_limbs, split_limbs

_ROWS, _INNER, _COLUMNS = 512, 512, 1024
"""Elements of a block: limbs of a block of weights take 1 MiB each."""
_ELEMENTS = 1 << 16
"""Elements of a block over several small matrices."""


def float_products(
    x: torch.Tensor, weight: torch.Tensor, out: torch.Tensor, split: Split, *, transposed: bool = False
) -> None:
    """out [B, m, n] += x [B, m, k] times weight [B, k, n], or [B, n, k] transposed, modulo 2^ring_bits.

    Works on blocks of 512 rows, 512 columns and at most 256 terms of a sum, or of several smaller matrices.
    Besides its arguments it needs at most 1 MiB a limb of x, 1 MiB a limb of w, and for products 2 MiB a limb
    of x: 12 MiB with three limbs each.

    Args:
        x: int64, contiguous.
        weight: int16, int32 or int64, contiguous.
        out: int64, contiguous.
        split: the digits of both; `weight`'s bits are at least those of its type, or of the ring.
    """
    batches, rows, inner = x.shape
    columns = out.shape[-1]
    mb, nb = min(rows, _ROWS), min(columns, _COLUMNS)
    kb = min(inner, _INNER, split.longest)
    if not batches * mb * nb * kb:
        return
    bb = max(1, min(batches, _ELEMENTS // max(mb * kb, kb * nb, mb * nb)))
    scratch = _Scratch(split, bb, mb, kb, nb)
    for first in range(0, batches, bb):
        for top in range(0, rows, mb):
            for left in range(0, columns, nb):
                for middle in range(0, inner, kb):
                    b, m = min(bb, batches - first), min(mb, rows - top)
                    k, n = min(kb, inner - middle), min(nb, columns - left)
                    x_limbs = scratch.x_limbs(x, (first, top, middle), (b, m, k))
                    w_limbs = scratch.w_limbs(weight, (first, middle, left), (b, k, n), transposed)
                    for j in range(split.w.count):
                        scratch.add_products(x_limbs, w_limbs, j, (first, top, left), out)


class _Scratch:
    """Room for the limbs of a block and for their products."""

    def __init__(self, split: Split, bb: int, mb: int, kb: int, nb: int) -> None:
        self._split = split
        self._x = torch.empty(bb * split.x.count * mb * kb, dtype=torch.float64)
        self._w = torch.empty(bb * split.w.count * kb * nb, dtype=torch.float64)
        self._sums = torch.empty(bb * split.x.count * mb * nb, dtype=torch.float64)

    def x_limbs(self, x: torch.Tensor, at: tuple[int, int, int], size: tuple[int, int, int]) -> torch.Tensor:
        """[b, limbs, m, k] of a part of x."""
        digits, (b, m, k) = self._split.x, size
        limbs = _view(self._x, (b, digits.count, m, k))
        split_limbs(x.numpy(), at, digits.bits, digits.width, limbs.numpy())
        return limbs

    def w_limbs(
        self, weight: torch.Tensor, at: tuple[int, int, int], size: tuple[int, int, int], transposed: bool
    ) -> torch.Tensor:
        """[b, limbs, k, n] of a part of the weight."""
        digits, (first, middle, left), (b, k, n) = self._split.w, at, size
        if transposed:
            middle, left, k, n = left, middle, n, k
        limbs = _view(self._w, (b, digits.count, k, n))
        if digits.count == 1 and digits.bits > torch.iinfo(weight.dtype).bits - 1:
            limbs[:, 0] = weight[first : first + b, middle : middle + k, left : left + n]
        elif weight.dtype == torch.int64:
            split_limbs(weight.numpy(), (first, middle, left), digits.bits, digits.width, limbs.numpy())
        else:
            part = weight[first : first + b, middle : middle + k, left : left + n].to(torch.int64)
            split_limbs(part.contiguous().numpy(), (0, 0, 0), digits.bits, digits.width, limbs.numpy())
        return limbs.transpose(-1, -2) if transposed else limbs

    def add_products(
        self, x: torch.Tensor, w: torch.Tensor, j: int, at: tuple[int, int, int], out: torch.Tensor
    ) -> None:
        """Adds limb j of w times all limbs of x that it meets."""
        split = self._split
        partners = split.partners(j)
        if not partners:
            return
        b, _, m, k = x.shape
        n = w.shape[-1]
        sums = _view(self._sums, (b, partners * m, n))
        left, right = x[:, :partners].reshape(b, partners * m, k), w[:, j]
        if b == 1:
            torch.mm(left[0], right[0], out=sums[0])
        else:
            torch.bmm(left, right, out=sums)
        shaped = sums.view(b, partners, m, n).numpy()
        add_limbs(shaped, j * split.w.width, split.x.width, at, out.numpy())


def _view(buffer: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
    """The beginning of a buffer, in this shape."""
    size = 1
    for length in shape:
        size *= length
    return buffer[:size].view(shape)
