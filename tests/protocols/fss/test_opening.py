"""Openings: additive shares towards both parties, the server's values towards the client."""

from __future__ import annotations

import pytest
import torch

from parties.meter import CLIENT, SERVER
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import Shares
from protocols.fss.gates.opening import Open, OpenToClient
from protocols.fss.ring import low
from protocols.share import Held, Share
from tests.protocols.fss.harness import Secret, run
from tests.protocols.fss.uniformity import assert_uniform


def open_all(executor: Executor, *inputs: Share) -> Shares:
    return executor.apply(Open(), *inputs)


def publish_all(executor: Executor, *inputs: Share) -> Shares:
    return executor.apply(OpenToClient(), *inputs)


def signed_range(bits: int) -> torch.Tensor:
    return torch.arange(-(1 << (bits - 1)), 1 << (bits - 1))


@pytest.mark.parametrize("bits", [2, 7, 8, 9, 13])
def test_open(bits: int) -> None:
    x = signed_range(bits)
    done = run(open_all, [Secret(x, 1, bits, Held.ADDITIVE)])
    done.check_bill()
    assert done.server[0].held is Held.MASKED
    assert torch.equal(done.secret(), x)
    assert torch.equal(done.clear[0].value, x)


@pytest.mark.parametrize("bits", [31, 32, 33, 63, 64])
def test_open_wide_rings(bits: int) -> None:
    most = (1 << (bits - 1)) - 1
    x = torch.tensor([[-most - 1, -1], [0, most]])
    done = run(open_all, [Secret(x, 0, bits, Held.ADDITIVE)])
    done.check_bill()
    assert torch.equal(done.secret(), x)


def test_several_are_opened_in_one_round() -> None:
    x, y = signed_range(5).reshape(4, 8), signed_range(3)
    done = run(open_all, [Secret(x, 0, 5, Held.ADDITIVE), Secret(y, 0, 3, Held.ADDITIVE)])
    done.check_bill()
    assert torch.equal(done.secret(0), x)
    assert torch.equal(done.secret(1), y)
    assert done.counted.rounds == 1
    assert done.counted.online_bytes_to_server == done.counted.online_bytes_to_client == 20 + 3
    assert done.counted.offline_bytes_to_server == 0


@pytest.mark.parametrize("secret", [-512, 0, 7])
def test_what_is_opened_is_uniform(secret: int) -> None:
    done = run(open_all, [Secret(torch.full((4000,), secret), 0, 10, Held.ADDITIVE)], seed=2)
    ((_, bits, opened),) = done.opened()
    assert bits == 10
    assert_uniform(opened, 10)
    assert torch.equal(opened, low(done.server[0].value, 10))


@pytest.mark.parametrize("bits", [1, 9, 64])
def test_open_to_client(bits: int) -> None:
    x = signed_range(9) if bits > 1 else torch.tensor([1, 0])
    done = run(publish_all, [Secret(x, 2, bits, Held.SERVER_MASKED), Secret(x, 0, bits, Held.SERVER_MASKED)])
    done.check_bill()
    assert torch.equal(done.secret(0), x)
    assert torch.equal(done.secret(1), x)
    assert done.counted.rounds == 1
    assert (done.counted.online_bytes_to_server, done.counted.offline_bytes_to_server) == (0, 0)
    assert [frame.sender for frame in done.frames] == [SERVER]


def test_open_to_client_after_a_probabilistic_truncation_and_reduction() -> None:
    """A reader of few bits is sent few bits."""

    def program(executor: Executor, x: Share) -> Shares:
        return executor.apply(OpenToClient(), executor.reduce(executor.truncate(x, 4), 7))

    x, r = torch.cartesian_prod(torch.arange(-512, 512), torch.arange(0, 1 << 14, 37)).T
    done = run(program, [Secret(x, 6, 14, Held.SERVER_MASKED, mask=r)])
    done.check_bill()
    assert done.server[CLIENT - 1].frac_bits == 2
    assert torch.equal(done.secret(), (x + r % 16) >> 4)
