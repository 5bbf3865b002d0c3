"""Every primitive equals the cleartext within an error that follows from its rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from mpcinfer.suites.registry import get_plan
from parties.errors import ConfigError, CorrelationExhausted, RangeError
from parties.meter import CLIENT, SERVER
from protocols.additive.crypten.executor import CrypTenArithmetic
from protocols.share import Share

UNIT = 2.0**-16
"""The last place at 16 fraction bits. Encoding is off by half of it; local truncation by less than one."""

Parties = Callable[..., Any]


def shared(executor: CrypTenArithmetic, owner: int, value: torch.Tensor) -> Share:
    """A share of a tensor that only its owner passes on."""
    return executor.share_from(owner, value if executor.rank == owner else None, value.shape)


def opened(parties: Parties, step: Callable[[CrypTenArithmetic], Share], **options: Any) -> torch.Tensor:
    """What the client sees of the step's result; the server must see nothing."""
    run = parties(lambda executor: executor.open_to(CLIENT, step(executor)), **options)
    assert run.results[SERVER] is None
    return run.results[CLIENT]


def product_error(a: torch.Tensor, b: torch.Tensor, terms: int = 1) -> float:
    """Both factors are off by half a unit, the product of the errors is tiny, truncation adds a unit."""
    largest = float(a.abs().max() + b.abs().max())
    return UNIT * (terms * (largest / 2 + UNIT) + 1)


@pytest.mark.parametrize("owner", [SERVER, CLIENT])
@pytest.mark.parametrize("receiver", [SERVER, CLIENT])
def test_what_is_shared_is_what_is_opened(parties: Parties, owner: int, receiver: int) -> None:
    value = torch.tensor([[0.0, 1.5, -2.25], [1e6, -1e6, 3 * UNIT]], dtype=torch.float64)
    run = parties(lambda executor: executor.open_to(receiver, shared(executor, owner, value)))
    assert torch.equal(run.results[receiver], value)
    assert run.results[1 - receiver] is None


@pytest.mark.parametrize("truncation", ["local", "exact"])
def test_mul_broadcasts(parties: Parties, generator: torch.Generator, truncation: str) -> None:
    a = torch.randn(3, 1, 5, dtype=torch.float64, generator=generator)
    b = torch.randn(4, 1, dtype=torch.float64, generator=generator)
    got = opened(
        parties,
        lambda executor: executor.mul(shared(executor, SERVER, a), shared(executor, CLIENT, b)),
        plan=get_plan("crypten").replace(truncation=truncation),
    )
    assert got.shape == (3, 4, 5)
    assert float((got - a * b).abs().max()) <= product_error(a, b)


def test_product_with_integers_is_not_truncated(parties: Parties) -> None:
    a = torch.tensor([1.25, -3.5], dtype=torch.float64)
    bits = torch.tensor([1.0, 0.0], dtype=torch.float64)

    def step(executor: CrypTenArithmetic) -> Share:
        choice = executor.share_from(CLIENT, bits if executor.rank == CLIENT else None, (2,), 0)
        return executor.mul(shared(executor, SERVER, a), choice)

    assert torch.equal(opened(parties, step), a * bits)


@pytest.mark.parametrize("truncation", ["local", "exact"])
def test_square(parties: Parties, generator: torch.Generator, truncation: str) -> None:
    a = torch.randn(50, dtype=torch.float64, generator=generator) * 10
    plan = get_plan("crypten").replace(truncation=truncation)
    got = opened(parties, lambda executor: executor.square(shared(executor, CLIENT, a)), plan=plan)
    assert float((got - a * a).abs().max()) <= product_error(a, a)


@pytest.mark.parametrize(
    ("a_shape", "b_shape"), [((2, 3), (3, 4)), ((2, 1, 3, 5), (4, 5, 2)), ((1, 7), (7, 1))]
)
def test_matmul(
    parties: Parties, generator: torch.Generator, a_shape: tuple[int, ...], b_shape: tuple[int, ...]
) -> None:
    a = torch.randn(a_shape, dtype=torch.float64, generator=generator)
    b = torch.randn(b_shape, dtype=torch.float64, generator=generator)
    got = opened(parties, lambda e: e.matmul(shared(e, SERVER, a), shared(e, CLIENT, b)))
    assert got.shape == (a @ b).shape
    assert float((got - a @ b).abs().max()) <= product_error(a, b, terms=a_shape[-1])


@pytest.mark.parametrize("linear", ["session", "beaver"])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("rows", [1, 9])
def test_linear(
    parties: Parties, generator: torch.Generator, linear: str, transposed: bool, rows: int
) -> None:
    matrix = torch.randn(6, 4, dtype=torch.float64, generator=generator)
    x = torch.randn(2, rows, 4 if transposed else 6, dtype=torch.float64, generator=generator)

    def step(executor: CrypTenArithmetic) -> torch.Tensor | None:
        weight = executor.weight("w", matrix if executor.rank == SERVER else None, matrix.shape)
        first = executor.linear(shared(executor, CLIENT, x), weight, transposed=transposed)
        again = executor.linear(shared(executor, CLIENT, 2 * x), weight, transposed=transposed)
        return executor.open_to(CLIENT, executor.concat([first, again], 0))

    run = parties(step, plan=get_plan("crypten").replace(linear=linear))
    exact = x @ (matrix.T if transposed else matrix)
    tolerance = product_error(2 * x, matrix, terms=x.shape[-1])
    assert float((run.results[CLIENT] - torch.cat([exact, 2 * exact])).abs().max()) <= tolerance


def test_one_hot_rows_times_a_table(parties: Parties, generator: torch.Generator) -> None:
    table = torch.randn(8, 3, dtype=torch.float64, generator=generator)
    rows = torch.eye(8, dtype=torch.float64)[[5, 0, 5]]

    def step(executor: CrypTenArithmetic) -> Share:
        weight = executor.weight("table", table if executor.rank == SERVER else None, table.shape)
        return executor.linear(
            executor.share_from(CLIENT, rows if executor.rank else None, (3, 8), 0), weight
        )

    got = opened(parties, step, plan=get_plan("crypten"))
    assert float((got - table[[5, 0, 5]]).abs().max()) <= UNIT / 2


EDGES = torch.tensor([0, 1, -1, 2, -2, 1 << 20, -(1 << 20), (1 << 62) - 1, -(1 << 62), 1 << 61, -(1 << 61)])


@pytest.mark.parametrize("comparison", ["packed", "words"])
def test_less_than_zero_is_exact(parties: Parties, generator: torch.Generator, comparison: str) -> None:
    random = torch.randint(-(1 << 62), 1 << 62, (300,), generator=generator)
    small = torch.randint(-40, 40, (100,), generator=generator)
    ring = torch.cat([EDGES, random, small])

    def step(executor: CrypTenArithmetic) -> Share:
        mask = executor.share_from(CLIENT, torch.zeros(len(ring)) if executor.rank else None, (len(ring),))
        value = mask.value + ring if executor.rank == SERVER else mask.value
        return executor.less_than_zero(Share(value, 16))

    plan = get_plan("crypten").replace(comparison=comparison)
    assert torch.equal(opened(parties, step, plan=plan), (ring < 0).double())


@pytest.mark.parametrize("drop", [1, 16, 40, 62])
def test_exact_truncation_rounds_to_a_neighbour(
    parties: Parties, generator: torch.Generator, drop: int
) -> None:
    ring = torch.cat([EDGES[:-4], torch.randint(-(1 << 61), 1 << 61, (500,), generator=generator)])

    def step(executor: CrypTenArithmetic) -> Share:
        mask = executor.share_from(CLIENT, torch.zeros(len(ring)) if executor.rank else None, (len(ring),))
        value = mask.value + ring if executor.rank == SERVER else mask.value
        return executor.truncate(Share(value, drop), 0)

    got = opened(parties, step, plan=get_plan("crypten").replace(truncation="exact"))
    up = got - (ring >> drop).double()
    exact = up.abs() < 2.0**-50 * ring.double().abs() + 2  # float64 holds the difference of large values
    assert bool(exact.all())
    if drop >= 16:
        assert set(up.tolist()) <= {0.0, 1.0}


def test_local_truncation_is_within_a_unit(parties: Parties, generator: torch.Generator) -> None:
    value = torch.randn(1000, dtype=torch.float64, generator=generator) * 100
    got = opened(parties, lambda e: e.mul_public(shared(e, SERVER, value), 0.37))
    factor = round(0.37 / UNIT) * UNIT
    assert float((got - value * factor).abs().max()) <= UNIT * (0.37 / 2 + 1)


def test_public_operations_cost_nothing(parties: Parties) -> None:
    value = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)

    def step(executor: CrypTenArithmetic) -> Share:
        x = shared(executor, CLIENT, value)
        return executor.sum(executor.add_public(executor.sub(executor.add(x, x), x), 1.0), 0)

    run = parties(lambda executor: executor.open_to(CLIENT, step(executor)))
    assert torch.equal(run.results[CLIENT], torch.tensor([[6.0, 8.0]], dtype=torch.float64))
    assert run.bill.total.online_bytes_to_client == 2 * 8
    assert run.bill.total.online_bytes_to_server == 0


def test_sessions_follow_each_other_in_one_thread(parties: Parties) -> None:
    value = torch.tensor([2.0, -3.0], dtype=torch.float64)
    for _ in range(3):
        assert torch.equal(
            opened(parties, lambda e: e.less_than_zero(shared(e, CLIENT, value))), value.lt(0).double()
        )


def test_an_owner_must_give_the_announced_shape(parties: Parties) -> None:
    run = parties(lambda executor: executor.share_from(SERVER, torch.zeros(3), (2,)), check=False)
    assert isinstance(run.errors[SERVER], ConfigError)
    assert "shape [2], got [3]" in str(run.errors[SERVER])


def test_impossible_truncation_is_refused(parties: Parties) -> None:
    run = parties(
        lambda executor: executor.truncate(Share(torch.zeros(1, dtype=torch.int64), 16), 20), check=False
    )
    assert isinstance(run.errors[SERVER], RangeError)


@pytest.mark.parametrize("field", ["linear", "truncation", "comparison"])
def test_unknown_choices_are_refused(parties: Parties, field: str) -> None:
    run = parties(lambda executor: None, plan=get_plan("crypten").replace(**{field: "magic"}), check=False)
    assert isinstance(run.errors[SERVER], ConfigError)
    assert "magic" in str(run.errors[SERVER])


def test_a_weights_mask_hides_one_weight_only(parties: Parties) -> None:
    """A second weight of the same name would be opened under the mask of the first."""

    def body(executor: CrypTenArithmetic) -> None:
        for value in (torch.zeros(2, 3), torch.ones(2, 3)):
            executor.weight("w", value if executor.rank == SERVER else None, (2, 3))

    with pytest.raises(CorrelationExhausted, match="'w' is spent"):
        parties(body, plan=get_plan("crypten"))
