"""Exact truncation, and the probabilistic one into any ring, for every secret and every mask of small
rings."""

from __future__ import annotations

import pytest
import torch

from parties.errors import ConfigError, RangeError
from parties.randomness import InsecureTestRandom
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import Shares
from protocols.fss.gates.exact_truncation import TruncateExactly
from protocols.fss.gates.polynomial import Product
from protocols.fss.ring import signed
from protocols.share import Share
from protocols.tensors import to_tensor
from tests.protocols.fss.harness import Program, Secret, clear, run
from tests.protocols.fss.uniformity import assert_uniform


def truncation(drop: int, ring_bits: int) -> Program:
    def program(executor: Executor, x: Share) -> Shares:
        return executor.apply(TruncateExactly(drop, ring_bits), x)

    return program


def every_secret_and_mask(ring_bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Secrets with the bit of slack that truncation needs."""
    size = 1 << ring_bits
    secrets = torch.arange(-size // 4, size // 4).repeat_interleave(size)
    return secrets, torch.arange(size).repeat(size // 2)


@pytest.mark.parametrize("drop", [1, 4, 7])
@pytest.mark.parametrize("ring_bits", [8, 9, 23, 64])
def test_every_secret_and_every_mask(drop: int, ring_bits: int) -> None:
    x, mask = every_secret_and_mask(9)
    result = run(truncation(drop, ring_bits), [Secret(x, frac_bits=5, ring_bits=9, mask=mask)])
    assert torch.equal(result.secret(), x >> drop)
    assert torch.equal(result.clear[0].value, x >> drop)
    assert result.server[0].frac_bits == 5 - drop


@pytest.mark.parametrize(("from_bits", "drop"), [(40, 12), (62, 60), (63, 20), (64, 1), (64, 40)])
def test_wide_rings(from_bits: int, drop: int) -> None:
    drawn = to_tensor(InsecureTestRandom(drop).ring((300,), from_bits - 1))
    most = 1 << (from_bits - 2)
    x = torch.cat([signed(drawn, from_bits - 1), torch.tensor([0, -1, 1, most - 1, -most])])
    result = run(truncation(drop, 64), [Secret(x, ring_bits=from_bits)])
    assert torch.equal(result.secret(), x >> drop)


@pytest.mark.parametrize(("drop", "key_bytes"), [(1, 1), (7, 16), (8, 32), (12, 96)])
def test_bill(drop: int, key_bytes: int) -> None:
    result = run(truncation(drop, 30), [Secret(torch.zeros(2, 5, dtype=torch.int64), ring_bits=40)])
    result.check_bill()
    counted = result.counted
    assert counted.rounds == 1
    assert counted.online_bytes_to_server == counted.online_bytes_to_client == 2  # 10 bits
    assert counted.offline_bytes_to_client == (10 * key_bytes if drop > 10 else 0)
    # Twice 300 bits; of a wrap, which lacks 40 - drop bits, those that are left.
    wrap = (10 * max(0, drop - 10) + 7) // 8
    assert counted.offline_bytes_to_server == 10 * key_bytes + 2 * 38 + wrap


@pytest.mark.parametrize("secret", [-100, 0, 93])
def test_opened_bits_are_uniform(secret: int) -> None:
    result = run(truncation(4, 9), [Secret(torch.full((4000,), secret), ring_bits=9)])
    ((label, bits, opened),) = result.opened()
    assert (label, bits) == ("other/carry", 1)
    assert_uniform(opened, 1)


@pytest.mark.parametrize("drop", [0, 8])
def test_refuses_to_drop_too_few_or_too_many_bits(drop: int) -> None:
    with pytest.raises(ConfigError, match="1 to 7 can be dropped"):
        run(truncation(drop, 9), [Secret(torch.zeros(1, dtype=torch.int64), ring_bits=9)])


def test_the_reference_refuses_values_without_slack() -> None:
    x = Secret(torch.tensor([128]), ring_bits=9)
    with pytest.raises(RangeError, match="carry: 128 does not fit"):
        clear(truncation(3, 9), [x])


def test_the_reference_refuses_results_that_do_not_fit() -> None:
    x = Secret(torch.tensor([127]), frac_bits=1, ring_bits=9)
    with pytest.raises(RangeError, match="63 does not fit"):
        clear(truncation(1, 6), [x])


@pytest.mark.parametrize("drop", [0, 3, 6])
@pytest.mark.parametrize("ring_bits", [9, 24, 64])
def test_a_view_alone_is_probabilistic_truncation_into_any_ring(drop: int, ring_bits: int) -> None:
    def extend(executor: Executor, x: Share) -> Shares:
        return executor.apply(Product(ring_bits), executor.view(x, drop))

    x, mask = every_secret_and_mask(9)
    result = run(extend, [Secret(x, ring_bits=9, mask=mask)])
    assert torch.equal(result.secret(), (x + (mask & ((1 << drop) - 1))) >> drop)
    result.check_bill()
    assert result.counted.rounds == 0
