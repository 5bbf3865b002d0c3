"""Rounds and bytes of every primitive, exactly, and the same as the library's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from mpcinfer.suites.registry import get_plan
from parties.meter import CLIENT, SERVER, Phase
from protocols.additive.crypten.executor import CrypTenArithmetic
from protocols.share import Share

Parties = Callable[..., Any]
SHAPES = [(1,), (6,), (2, 3, 4), (0,)]
EXACT = get_plan("crypten").replace(truncation="exact")


def zeros(executor: CrypTenArithmetic, *shape: int) -> Share:
    return executor.share_from(CLIENT, torch.zeros(shape) if executor.rank == CLIENT else None, shape)


def elements(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape).numel())


PRIMITIVES: dict[str, tuple[Callable[[CrypTenArithmetic, Share], object], int, int, int]] = {
    "mul": (lambda e, x: e.mul(x, x), 1, 16, 8),
    "square": (lambda e, x: e.square(x), 1, 8, 8),
    "less_than_zero": (lambda e, x: e.less_than_zero(x), 8, 216, 112),
    "relu": (lambda e, x: e.mul(x, e.less_than_zero(x)), 9, 232, 120),
    "mul_public": (lambda e, x: e.mul_public(x, 0.5), 0, 0, 0),
}


@pytest.mark.parametrize("name", PRIMITIVES)
@pytest.mark.parametrize("shape", SHAPES)
def test_elementwise(parties: Parties, name: str, shape: tuple[int, ...]) -> None:
    step, rounds, online, offline = PRIMITIVES[name]

    def body(executor: CrypTenArithmetic) -> None:
        x = zeros(executor, *shape)
        with executor.meter.span(name):
            step(executor, x)

    run = parties(body)
    if not rounds:
        assert all(row.label != name or row.online_bytes_to_server == 0 for row in run.bill.rows)
        return
    row, n = run.row(name), elements(shape)
    assert (row.rounds, row.online_bytes_to_server, row.online_bytes_to_client) == (
        rounds,
        online * n,
        online * n,
    )
    assert (row.offline_bytes_to_server, row.offline_bytes_to_client) == (offline * n, 0)
    assert run.dealt.bytes_to_server == offline * n


@pytest.mark.parametrize(("m", "k", "n"), [(1, 1, 1), (2, 3, 5), (7, 4, 1)])
def test_matmul(parties: Parties, m: int, k: int, n: int) -> None:
    def body(executor: CrypTenArithmetic) -> None:
        with executor.meter.span("matmul"):
            executor.matmul(zeros(executor, m, k), zeros(executor, k, n))

    row = parties(body).row("matmul")
    assert (row.rounds, row.online_bytes_to_server, row.online_bytes_to_client) == (
        1,
        8 * (m * k + k * n),
        8 * (m * k + k * n),
    )
    assert row.offline_bytes_to_server == 8 * m * n


@pytest.mark.parametrize("linear", ["session", "beaver"])
@pytest.mark.parametrize("transposed", [False, True])
def test_linear(parties: Parties, linear: str, transposed: bool) -> None:
    m, k, n = 2, 3, 5

    def body(executor: CrypTenArithmetic) -> None:
        with executor.meter.span("load"), executor.meter.phase(Phase.SETUP):
            weight = executor.weight("w", torch.zeros(k, n) if executor.rank == SERVER else None, (k, n))
        for _ in range(3):
            with executor.meter.span("linear"):
                executor.linear(zeros(executor, m, n if transposed else k), weight, transposed=transposed)

    run = parties(body, plan=get_plan("crypten").replace(linear=linear))
    row, (a, b) = run.row("linear"), (n, k) if transposed else (k, n)
    # In session mode the client sends and waits for nothing, so three calls in a row are one round.
    rounds, to_server, to_client = (
        (1, 8 * m * a, 0) if linear == "session" else (3, *[8 * (m * a + a * b)] * 2)
    )
    assert row.rounds == rounds
    assert (row.online_bytes_to_server, row.online_bytes_to_client) == (3 * to_server, 3 * to_client)
    assert row.offline_bytes_to_server == 3 * 8 * m * b
    if linear == "session":
        load = run.row("load")
        assert (load.setup_rounds, load.setup_bytes, load.online_bytes_to_client) == (1, 8 * k * n, 0)


def test_exact_truncation(parties: Parties) -> None:
    def body(executor: CrypTenArithmetic) -> None:
        with executor.meter.span("mul_public"):
            executor.mul_public(zeros(executor, 7), 0.5)

    row = parties(body, plan=EXACT).row("mul_public")
    assert (row.rounds, row.online_bytes_to_server, row.online_bytes_to_client) == (1, 56, 56)
    assert row.offline_bytes_to_server == 2 * 56


def test_output_goes_one_way(parties: Parties) -> None:
    run = parties(lambda executor: executor.open_to(CLIENT, zeros(executor, 5)))
    total = run.bill.total
    assert (total.rounds, total.online_bytes_to_client, total.online_bytes_to_server) == (1, 40, 0)


def test_a_session_costs_two_seeds(parties: Parties) -> None:
    run = parties(lambda executor: None)
    assert [row.label for row in run.bill.rows] == ["dealer"]
    row = run.row("dealer")
    assert (row.offline_bytes_to_server, row.offline_bytes_to_client) == (16, 16)


def frames(run: Any, rank: int) -> list[tuple[str, int]]:
    return [(frame.label, frame.payload_bytes) for frame in run.channels[rank].sent]


@pytest.mark.parametrize("name", ["mul", "square", "matmul", "_ltz"])
def test_messages_are_those_of_the_library(parties: Parties, name: str) -> None:
    """The steps on plain tensors send, frame by frame, what CrypTen's own code sends."""
    shape = (4, 4)
    ours: dict[str, Callable[[CrypTenArithmetic, Share], Share]] = {
        "mul": lambda e, x: e.mul(x, x),
        "square": lambda e, x: e.square(x),
        "matmul": lambda e, x: e.matmul(x, x),
        "_ltz": lambda e, x: e.less_than_zero(x),
    }

    def theirs(executor: CrypTenArithmetic, x: Share) -> Share:
        return executor.native(name, x, x) if name in ("mul", "matmul") else executor.native(name, x)

    value = torch.arange(-8.0, 8.0, dtype=torch.float64).reshape(shape) / 4

    def body(step: Callable[[CrypTenArithmetic, Share], Share]) -> Callable[[CrypTenArithmetic], object]:
        return lambda e: e.open_to(CLIENT, step(e, e.share_from(CLIENT, value if e.rank else None, shape)))

    mine, library = parties(body(ours[name])), parties(body(theirs))
    for rank in (SERVER, CLIENT):
        assert frames(mine, rank) == frames(library, rank)
    assert mine.dealt == library.dealt
    assert float((mine.results[CLIENT] - library.results[CLIENT]).abs().max()) <= 2 * 2.0**-16


NATIVE: dict[str, tuple[int, int, dict[str, Any]]] = {
    "relu": (9, 232, {}),
    "exp": (8, 64, {"within": (-8.0, 8.0)}),
    "reciprocal": (38, 552, {"within": (1.0, 8.0)}),
    "inv_sqrt": (17, 184, {"within": (1.0, 8.0)}),
    "sigmoid": (23, 376, {"within": (-8.0, 8.0)}),
    "tanh": (23, 376, {"within": (-8.0, 8.0)}),
}


@pytest.mark.parametrize("name", NATIVE)
def test_stock_compositions(parties: Parties, name: str) -> None:
    rounds, online, options = NATIVE[name]
    value = torch.linspace(1, 6, 5, dtype=torch.float64)

    def body(executor: CrypTenArithmetic) -> None:
        x = executor.share_from(CLIENT, value if executor.rank else None, (5,))
        with executor.meter.span(name):
            executor.native(name, x, **options)

    row = parties(body).row(name)
    assert (row.rounds, row.online_bytes_to_server, row.online_bytes_to_client) == (
        rounds,
        5 * online,
        5 * online,
    )


@pytest.mark.parametrize(("keys", "rounds"), [(8, 93), (16, 95), (32, 105)])
def test_stock_softmax(parties: Parties, keys: int, rounds: int) -> None:
    def body(executor: CrypTenArithmetic) -> None:
        with executor.meter.span("softmax"):
            executor.native("softmax", zeros(executor, 2, keys), within=(-100.0, 50.0), dim=-1)

    assert parties(body).row("softmax").rounds == rounds
