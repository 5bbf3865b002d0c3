"""The sign bit, and products with it, against arithmetic on the secrets."""

from __future__ import annotations

import pytest
import torch

from parties.errors import ConfigError
from parties.randomness import InsecureTestRandom
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import Shares
from protocols.fss.gates.comparison import IsNegative
from protocols.fss.gates.opening import Open
from protocols.fss.gates.polynomial import Product
from protocols.fss.ring import signed
from protocols.share import Held, Share
from protocols.tensors import to_tensor
from tests.protocols.fss.harness import Secret, run
from tests.protocols.fss.uniformity import assert_uniform


def is_negative(executor: Executor, x: Share) -> Shares:
    return executor.apply(IsNegative(), x)


def every_secret_and_mask(ring_bits: int) -> tuple[torch.Tensor, torch.Tensor]:
    size = 1 << ring_bits
    secrets = torch.arange(-size // 2, size // 2).repeat_interleave(size)
    return secrets, torch.arange(size).repeat(size)


@pytest.mark.parametrize("ring_bits", [2, 3, 8, 9])
def test_every_secret_and_every_mask(ring_bits: int) -> None:
    x, mask = every_secret_and_mask(ring_bits)
    result = run(is_negative, [Secret(x, ring_bits=ring_bits, mask=mask)])
    assert torch.equal(result.secret() & 1, (x < 0).to(torch.int64))
    assert torch.equal(result.clear[0].value, (x < 0).to(torch.int64))


@pytest.mark.parametrize("ring_bits", [17, 40, 64])
def test_wide_rings_at_their_edges(ring_bits: int) -> None:
    drawn = to_tensor(InsecureTestRandom(ring_bits).ring((200,), ring_bits))
    top = 1 << (ring_bits - 1)
    edges = torch.tensor([0, 1, -1, top - 1, -top])
    x = torch.cat([signed(drawn, ring_bits), edges])
    result = run(is_negative, [Secret(x, frac_bits=5, ring_bits=ring_bits)])
    assert torch.equal(result.secret() & 1, (x < 0).to(torch.int64))


@pytest.mark.parametrize(
    ("ring_bits", "key_bytes"),
    [(2, 1), (8, 16), (9, 32), (11, 128), (12, 5 * 16), (16, 9 * 16), (64, 57 * 16)],
)
def test_bill(ring_bits: int, key_bytes: int) -> None:
    result = run(is_negative, [Secret(torch.zeros(3, 7, dtype=torch.int64), ring_bits=ring_bits)])
    result.check_bill()
    assert result.counted.rounds == 1
    assert result.counted.online_bytes_to_server == result.counted.online_bytes_to_client == 3  # 21 bits
    assert result.counted.offline_bytes_to_server == 21 * key_bytes
    assert result.counted.offline_bytes_to_client == (21 * key_bytes if ring_bits > 11 else 0)


def test_a_ring_without_a_sign_is_refused() -> None:
    with pytest.raises(ConfigError, match="2 bits at least"):
        run(is_negative, [Secret(torch.zeros(1, dtype=torch.int64), ring_bits=1)])


@pytest.mark.parametrize("secret", [-128, -3, 0, 77])
def test_opened_bits_are_uniform(secret: int) -> None:
    result = run(is_negative, [Secret(torch.full((4000,), secret), ring_bits=8)])
    ((label, bits, opened),) = result.opened()
    assert (label, bits) == ("other/negative", 1)
    assert_uniform(opened, 1)
    assert_uniform(result.server[0].value, 1)  # with the public sign of x + r


def test_known_masks_do_not_fix_what_is_opened() -> None:
    """The opened bit is masked afresh: with one x and one r it still takes both values."""
    x = torch.full((4000,), -5)
    ((_, _, opened),) = run(is_negative, [Secret(x, ring_bits=8, mask=torch.full((4000,), 201))]).opened()
    assert_uniform(opened, 1)


@pytest.mark.parametrize("ring_bits", [8, 6])
def test_bit_times_value(ring_bits: int) -> None:
    """min(x, 0) for every x and mask, in x's ring and in a narrower one."""

    def negative_part(executor: Executor, x: Share) -> Shares:
        bit = executor.one(IsNegative(), x)
        return executor.apply(Product(ring_bits), bit, x)

    x, mask = every_secret_and_mask(8)
    within = (x >= -(1 << (ring_bits - 1))) & (x < (1 << (ring_bits - 1)))
    x, mask = x[within], mask[within]
    result = run(negative_part, [Secret(x, frac_bits=3, ring_bits=8, mask=mask)])
    assert torch.equal(result.secret(), x.clamp(max=0))
    assert torch.equal(result.clear[0].value, x.clamp(max=0))
    result.check_bill()


def test_bit_times_a_view_in_a_wider_ring() -> None:
    def negative_part(executor: Executor, x: Share) -> Shares:
        return executor.apply(Product(30), executor.one(IsNegative(), x), executor.view(x))

    x = torch.arange(-64, 64).repeat(20)
    result = run(negative_part, [Secret(x, ring_bits=8)])
    assert torch.equal(result.secret(), x.clamp(max=0))


def test_the_larger_of_two() -> None:
    """As in a knock-out: opened difference, its sign, and a product with it."""

    def larger(executor: Executor, a: Share, b: Share) -> Shares:
        (lead,) = executor.apply(Open(), executor.sub(a, b))
        return (executor.sub(a, executor.one(Product(12), executor.one(IsNegative(), lead), lead)),)

    a, b = (signed(to_tensor(InsecureTestRandom(i).ring((500,), 11)), 11) for i in range(2))
    result = run(larger, [Secret(v, ring_bits=12, held=Held.ADDITIVE) for v in (a, b)])
    assert torch.equal(result.secret(), torch.maximum(a, b))
    result.check_bill()
    assert result.counted.rounds == 2
