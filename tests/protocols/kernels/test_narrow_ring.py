"""Products in rings of up to 52 bits, against those in Z_2^64."""

from __future__ import annotations

import pytest
import torch

from protocols.kernels.narrow_ring import NARROW_BITS, has_narrow_products, narrow_products
from protocols.kernels.ring_products import ring_bmm, ring_matmul
from tests.protocols.kernels.test_ring import TYPES, ring, slow_product, weights


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("m", "k", "n"), [(8, 1, 16), (9, 7, 32), (40, 5000, 16), (65, 33, 49)])
def test_low_bits_are_those_of_the_wide_product(
    kind: torch.dtype, m: int, k: int, n: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    x, weight = ring(m, m, k), weights(k, kind, k, n)
    wide = ring_matmul(x, weight)
    for bits in (1, 30, NARROW_BITS):
        low = (1 << bits) - 1
        assert torch.equal(ring_matmul(x, weight, bits) & low, wide & low)
    assert torch.equal(ring_matmul(x, weight, NARROW_BITS + 1) << 11, wide << 11)


@pytest.mark.skipif(not has_narrow_products(), reason="the processor has no 52-bit multiply-add")
@pytest.mark.parametrize("kind", TYPES)
def test_the_multiply_add_itself(kind: torch.dtype) -> None:
    """Right modulo 2^52, and beyond it not, or it is another kernel; what is no whole tile is left."""
    x, weight = ring(1, 18, 64).view(2, 9, 64), weights(2, kind, 128, 33).view(2, 64, 33)
    out = torch.full((2, 9, 33), -7, dtype=torch.int64)
    narrow_products(x.view(torch.uint64).numpy(), weight.numpy(), out.view(torch.uint64).numpy())
    wide = torch.stack([slow_product(*pair) for pair in zip(x, weight, strict=True)])
    low = (1 << NARROW_BITS) - 1
    assert torch.equal(out[:, :8, :32] & low, wide[:, :8, :32] & low)
    assert not torch.equal(out[:, :8, :32], wide[:, :8, :32])
    assert bool((out[:, 8:] == -7).all())
    assert bool((out[..., 32:] == -7).all())


def test_shapes_that_do_not_fit_a_tile() -> None:
    low = (1 << 20) - 1
    for m, n in ((3, 16), (8, 15), (0, 16), (2, 0), (19, 17)):
        x, weight = ring(3, m, 5), weights(4, torch.int16, 5, max(n, 1))[:, :n]
        assert torch.equal(ring_matmul(x, weight, 20) & low, ring_matmul(x, weight) & low)
        batch = ring_bmm(x.expand(3, m, 5), weight.long(), 20)
        assert torch.equal(batch & low, ring_matmul(x, weight).expand(3, m, n) & low)
