"""Products in rings of up to 52 bits, against those in Z_2^64."""

from __future__ import annotations

import pytest
import torch

from protocols.kernels.narrow_ring import NARROW_BITS, has_narrow_products
from protocols.kernels.ring import ring_matmul
from tests.protocols.kernels.test_ring import ring, weights

LOW = (1 << NARROW_BITS) - 1


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("m", "k", "n"), [(8, 1, 16), (9, 7, 32), (40, 5000, 16), (65, 33, 48)])
def test_low_bits_are_those_of_the_wide_product(
    m: int, k: int, n: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    x, weight = ring(m, m, k), weights(k, torch.int16, k, n)
    wide = ring_matmul(x, weight)
    for bits in (1, 30, NARROW_BITS):
        assert torch.equal(ring_matmul(x, weight, bits) & LOW, wide & LOW)
    assert torch.equal(ring_matmul(x, weight, NARROW_BITS + 1), wide)


@pytest.mark.skipif(not has_narrow_products(), reason="the processor has no 52-bit multiply-add")
def test_the_narrow_kernel_is_used() -> None:
    """Beyond 2^52 its sums differ from the true ones, or the test above compares a kernel with itself."""
    x, weight = ring(1, 8, 64), weights(2, torch.int16, 64, 16)
    assert not torch.equal(ring_matmul(x, weight, NARROW_BITS), ring_matmul(x, weight))


def test_shapes_that_do_not_fit_a_tile() -> None:
    for m, n in ((3, 16), (8, 15), (0, 16), (2, 0)):
        x, weight = ring(3, m, 5), weights(4, torch.int16, 5, max(n, 1))[:, :n]
        assert torch.equal(ring_matmul(x, weight, 20), ring_matmul(x, weight))
