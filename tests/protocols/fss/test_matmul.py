"""Products of two secret matrices."""

from __future__ import annotations

import pytest
import torch

from parties.errors import RangeError
from protocols.fss.gate import Shares
from protocols.fss.machine import Machine
from protocols.fss.matmul import MatMul
from protocols.share import Share
from tests.protocols.fss.harness import Secret, clear, run


def multiply(machine: Machine, x: Share, y: Share) -> Shares:
    return machine.apply(MatMul(), x, y)


def matrix(*shape: int, limit: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randint(-limit, limit, shape, generator=generator)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((1, 1), (1, 1)),
        ((3, 4), (4, 5)),
        ((2, 3, 4, 5), (2, 3, 5, 4)),
        ((2, 0, 4), (2, 4, 3)),
        ((3, 0), (0, 2)),
    ],
)
@pytest.mark.parametrize("ring_bits", [16, 40, 64])
def test_products(left: tuple[int, ...], right: tuple[int, ...], ring_bits: int) -> None:
    x, y = matrix(*left, limit=40), matrix(*right, limit=40)
    done = run(multiply, [Secret(x, 3, ring_bits), Secret(y, 2, ring_bits)])
    done.check_bill()
    assert done.server[0].frac_bits == 5
    assert torch.equal(done.secret(), x @ y)
    assert torch.equal(done.clear[0].value, x @ y)


def test_of_transposed_and_sliced_values() -> None:
    def program(machine: Machine, x: Share, y: Share) -> Shares:
        turned = machine.map(y, lambda t: t.transpose(-1, -2))
        return machine.apply(MatMul(), machine.map(x, lambda t: t[..., ::2]), turned)

    x, y = matrix(2, 5, 8, limit=100), matrix(2, 6, 4, limit=100)
    done = run(program, [Secret(x, 0, 30), Secret(y, 0, 30)])
    done.check_bill()
    assert torch.equal(done.secret(), x[..., ::2] @ y.transpose(-1, -2))


def test_it_takes_three_shares_and_no_message() -> None:
    done = run(multiply, [Secret(matrix(2, 3, 4, limit=9), 0, 16), Secret(matrix(2, 4, 5, limit=9), 0, 16)])
    assert done.frames == []
    assert done.counted.offline_bytes_to_server == 2 * 2 * (12 + 20 + 15)
    assert done.counted.offline_bytes_to_client == 0


def test_the_reference_refuses_sums_that_do_not_fit() -> None:
    x = torch.full((1, 8), 100)
    with pytest.raises(RangeError):
        clear(multiply, [Secret(x, 0, 17), Secret(x.T, 0, 17)])
