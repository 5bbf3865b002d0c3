"""Linear layers with weights that the server knows, and what feeds and follows them."""

from __future__ import annotations

import pytest
import torch

from parties.errors import RangeError
from parties.meter import CLIENT, SERVER
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import Shares
from protocols.fss.gates.linear import Linear, RevealToClient, ToServerHeld
from protocols.fss.gates.opening import OpenToClient
from protocols.fss.ring import low
from protocols.share import Held, Share
from tests.protocols.fss.harness import Program, Run, Secret, Weight, clear, run
from tests.protocols.fss.uniformity import assert_uniform


def integers(*shape: int, limit: int = 100) -> torch.Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randint(-limit, limit, shape, generator=generator)


def layer(weight: Weight, *, held: Held, transposed: bool = False) -> Program:
    def program(executor: Executor, x: Share) -> Shares:
        return executor.apply(Linear(weight.at(executor), transposed=transposed, held=held), x)

    return program


def privately(
    weight: Weight, x: torch.Tensor, *, bits: int, held: Held = Held.SERVER_MASKED, transposed: bool = False
) -> Run:
    program = layer(weight, held=held, transposed=transposed)
    return run(program, [Secret(x, 2, bits, Held.SERVER_HELD)], weights=[weight])


@pytest.mark.parametrize("held", [Held.SERVER_MASKED, Held.SERVER_HELD])
@pytest.mark.parametrize("shape", [(1, 6), (3, 6), (2, 3, 6), (20, 6), (0, 6)], ids=str)
@pytest.mark.parametrize("bits", [24, 64])
def test_a_matrix(held: Held, shape: tuple[int, ...], bits: int) -> None:
    weight, x = Weight("w", integers(6, 4), 3, bits), integers(*shape)
    done = privately(weight, x, bits=bits, held=held)
    done.check_bill()
    assert done.server[0].held is held
    assert done.server[0].frac_bits == 5
    assert torch.equal(done.secret(), x @ weight.value)
    assert torch.equal(done.clear[0].value, x @ weight.value)


@pytest.mark.parametrize("held", [Held.SERVER_MASKED, Held.SERVER_HELD])
@pytest.mark.parametrize("rows", [1, 20])
def test_a_transposed_matrix(held: Held, rows: int) -> None:
    weight, x = Weight("w", integers(4, 6), 3, 24), integers(2, rows, 6)
    done = privately(weight, x, bits=24, held=held, transposed=True)
    done.check_bill()
    assert torch.equal(done.secret(), x @ weight.value.T)
    assert torch.equal(done.clear[0].value, x @ weight.value.T)


@pytest.mark.parametrize("held", [Held.SERVER_MASKED, Held.SERVER_HELD])
def test_a_diagonal_with_a_bias(held: Held) -> None:
    bias = torch.tensor([0.5, -1.25, 3.0, 0.0])
    weight, x = Weight("gain", integers(4), 3, 24, bias), integers(2, 3, 4)
    done = privately(weight, x, bits=24, held=held)
    done.check_bill()
    # The result has 5 fraction bits.
    assert torch.equal(done.secret(), x * weight.value + (bias * 32).long())
    assert torch.equal(done.clear[0].value, done.secret())


def test_a_weight_masked_in_a_wider_ring() -> None:
    weight, x = Weight("w", integers(6, 4), 3, 50), integers(3, 6)
    done = privately(weight, x, bits=20)
    done.check_bill()
    assert torch.equal(done.secret(), x @ weight.value)


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32])
def test_the_server_keeps_narrow_weights(dtype: torch.dtype) -> None:
    weight, x = Weight("w", integers(6, 4), 3, 30), integers(3, 6)

    def program(executor: Executor, x: Share) -> Shares:
        matrix = weight.at(executor)
        knows = not matrix.value.is_meta and torch.equal(matrix.value, weight.value)
        value = matrix.value.to(dtype) if knows else matrix.value
        narrow = type(matrix)(matrix.name, matrix.shape, 3, 30, value)
        return executor.apply(Linear(narrow), x)

    done = run(program, [Secret(x, 0, 30, Held.SERVER_HELD)], weights=[weight])
    assert torch.equal(done.secret(), x @ weight.value)
    assert torch.equal(done.clear[0].value, x @ weight.value)


def test_nothing_is_sent_online() -> None:
    done = privately(Weight("w", integers(6, 4), 0, 24), integers(3, 6), bits=24)
    assert done.frames == []
    assert done.counted.rounds == 0
    # From the dealer and from the client: an element of 24 bits each.
    assert done.counted.offline_bytes_to_server == 2 * 3 * 12
    assert done.counted.offline_bytes_to_client == 0
    assert [frame.sender for frame in done.offline_frames] == [CLIENT]


@pytest.mark.parametrize("held", [Held.SERVER_MASKED, Held.SERVER_HELD])
def test_what_the_client_sends_ahead_is_uniform(held: Held) -> None:
    weight = Weight("w", torch.zeros(1, 4000, dtype=torch.int64), 0, 12)
    done = privately(weight, torch.zeros(1, 1, dtype=torch.int64), bits=12, held=held)
    ((sent,),) = [frame.arrays for frame in done.offline_frames]
    assert_uniform(sent, 12)


def test_the_weight_is_nowhere_but_at_the_server() -> None:
    """The client's offline message follows from the masked weight that it has been sent."""
    weight = Weight("w", integers(6, 4), 0, 24)
    difference = low(weight.value - weight.mask, 24)
    done = privately(weight, integers(3, 6), bits=24)
    other = Weight("w", low(difference + weight.mask, 24), 0, 24)
    again = run(
        layer(weight, held=Held.SERVER_MASKED),
        [Secret(integers(3, 6), 2, 24, Held.SERVER_HELD)],
        weights=[other],
    )
    assert torch.equal(done.offline_frames[0].arrays[0], again.offline_frames[0].arrays[0])


@pytest.mark.parametrize("bits", [1, 9, 64])
def test_to_server_held(bits: int) -> None:
    def program(executor: Executor, x: Share) -> Shares:
        return executor.apply(ToServerHeld(), x)

    x = torch.tensor([1, 0]) if bits == 1 else integers(2, 3, 4)
    done = run(program, [Secret(x, 3, bits, Held.ADDITIVE)])
    done.check_bill()
    assert done.server[0].held is Held.SERVER_HELD
    assert torch.equal(done.secret(), x)
    assert done.counted.rounds == 1
    assert (done.counted.online_bytes_to_client, done.counted.offline_bytes_to_server) == (0, 0)
    assert [frame.sender for frame in done.frames] == [CLIENT]


@pytest.mark.parametrize("secret", [-100, 0, 3])
def test_what_to_server_held_sends_is_uniform(secret: int) -> None:
    def program(executor: Executor, x: Share) -> Shares:
        return executor.apply(ToServerHeld(), x)

    # The client's share is the mask: all of it known.
    summand = torch.full((4000,), 5)
    x = Secret(torch.full((4000,), secret), 0, 10, Held.ADDITIVE, mask=summand)
    ((sent,),) = [frame.arrays for frame in run(program, [x]).frames]
    assert_uniform(sent, 10)


def test_to_client() -> None:
    def program(executor: Executor, x: Share) -> Shares:
        return executor.apply(RevealToClient(), x)

    x = integers(2, 5)
    done = run(program, [Secret(x, 3, 9, Held.SERVER_HELD)])
    done.check_bill()
    assert torch.equal(done.output_at_client(), x)
    assert done.server[0].value.is_meta
    assert [frame.sender for frame in done.frames] == [SERVER]
    assert done.counted.online_bytes_to_client == (10 * 9 + 7) // 8


@pytest.mark.parametrize("drop", [0, 4])
def test_a_truncated_server_held_value(drop: int) -> None:
    """floor((x - a) / 2^f) - floor(-a / 2^f): rounded as the client's mask says."""

    def program(executor: Executor, x: Share) -> Shares:
        return executor.apply(RevealToClient(), executor.truncate(x, drop))

    x, a = torch.cartesian_prod(torch.arange(-64, 64), torch.arange(256)).T
    done = run(program, [Secret(x, 4, 8, Held.SERVER_HELD, mask=a)])
    done.check_bill()
    assert torch.equal(done.output_at_client(), (x + (-a) % (1 << drop)) >> drop)


def test_two_layers_a_message_between_them_and_the_answer() -> None:
    """Held, a silent layer, published; a party's share held again, another layer, to the client."""
    first, second = Weight("first", integers(6, 6, limit=9), 3, 40), Weight("second", integers(6, 2), 3, 40)

    def program(executor: Executor, x: Share) -> Shares:
        held = executor.one(ToServerHeld(), x)
        silent = executor.one(Linear(first.at(executor), held=Held.SERVER_HELD), held)
        shorter = executor.truncate(silent, 2)
        y = executor.one(Linear(second.at(executor)), shorter)
        z = executor.one(Linear(second.at(executor), held=Held.SERVER_HELD), shorter)
        return *executor.apply(OpenToClient(), y), *executor.apply(RevealToClient(), z)

    x = integers(3, 6)
    done = run(program, [Secret(x, 2, 40, Held.ADDITIVE)], weights=[first, second])
    done.check_bill()
    assert done.server[0].held is Held.MASKED
    assert torch.equal(done.secret(0), done.output_at_client(1))
    # Truncation was off by one at most in each of six terms.
    exact = done.clear[0].value
    off = (done.secret(0) - exact).abs()
    assert bool((off <= second.value.abs().sum(0)).all())


def test_the_reference_refuses_results_that_do_not_fit() -> None:
    weight = Weight("w", torch.full((6, 1), 1000), 0, 20)
    with pytest.raises(RangeError):
        clear(
            layer(weight, held=Held.SERVER_HELD),
            [Secret(torch.full((1, 6), 100), 0, 20, Held.SERVER_HELD)],
        )
