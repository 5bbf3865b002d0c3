"""Each known defect of CrypTen 0.4.1: worked around, or refused with an error that says what is wrong."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from mpcinfer.suites.registry import get_plan
from parties.errors import ConfigError, CorrelationExhausted, InsecureRefused, RangeError
from parties.meter import CLIENT, SERVER
from protocols.additive.crypten import compat
from protocols.additive.crypten.compat import import_crypten
from protocols.additive.crypten.executor import CrypTenArithmetic
from protocols.additive.crypten.native import DOMAINS, REFUSED, check
from protocols.additive.crypten.truncation import check_local_truncation, failure_probability
from protocols.share import Share

Parties = Callable[..., Any]
UNIT = 2.0**-16


def failing(parties: Parties, body: Callable[[CrypTenArithmetic], object]) -> BaseException:
    """The server's error of a body in which both parties fail alike."""
    error = parties(body, check=False).errors[SERVER]
    assert error is not None
    return error


def integers(executor: CrypTenArithmetic, ring: torch.Tensor, frac_bits: int) -> Share:
    """A sharing of ring elements, the server's, masked by a stream of both."""
    zero = executor.share_from(
        CLIENT, torch.zeros(ring.shape) if executor.rank == CLIENT else None, ring.shape
    )
    return Share(zero.value + ring if executor.rank == SERVER else zero.value, frac_bits)


# -- encoding and decoding -----------------------------------------------------------------------------------


def test_decode_of_negatives_is_exact(parties: Parties) -> None:
    """The library's divides by 2^16 - 1 there: too low by 1.0 for 15% of values near -10000."""
    ring = torch.arange(-10_001 * 65536, -10_000 * 65536, 16)
    run = parties(lambda executor: executor.open_to(CLIENT, integers(executor, ring, 16)))
    assert torch.equal(run.results[CLIENT], ring.double() / 65536)
    encoder = import_crypten().encoder.FixedPointEncoder(precision_bits=16)
    assert torch.equal(encoder.decode(ring), ring.double() / 65536)


def test_encode_rounds_to_nearest(parties: Parties) -> None:
    """The library's rounds toward zero: 0.1 becomes 6553 / 65536."""
    value = torch.tensor([0.1, -0.1], dtype=torch.float64)
    run = parties(lambda e: e.open_to(CLIENT, e.share_from(CLIENT, value if e.rank else None, (2,))))
    assert torch.equal(run.results[CLIENT] * 65536, torch.tensor([6554.0, -6554.0], dtype=torch.float64))


@pytest.mark.parametrize("value", [2.0**47, -(2.0**47), float("inf"), float("nan")])
def test_encode_does_not_saturate(parties: Parties, value: float) -> None:
    """The library's turns everything from 2^47 into the smallest integer."""
    tensor = torch.tensor([value], dtype=torch.float64)
    run = parties(lambda e: e.share_from(CLIENT, tensor if e.rank else None, (1,)), check=False)
    assert isinstance(run.errors[CLIENT], RangeError)
    encoder = import_crypten().encoder.FixedPointEncoder(precision_bits=16)
    with pytest.raises(RangeError):
        encoder.encode(tensor)
    with pytest.raises(RangeError):
        encoder.encode(value)


# -- functions that are wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*REFUSED, "cos", "rand", "__class__"])
def test_wrong_and_unknown_functions_are_refused(parties: Parties, name: str) -> None:
    error = failing(parties, lambda e: e.native(name, integers(e, torch.ones(2).long(), 16)))
    assert isinstance(error, ConfigError)
    assert f"CrypTen's {name} is refused" in str(error)


@pytest.mark.parametrize(
    ("name", "within"),
    [
        ("exp", (-513.0, 0.0)),
        ("exp", (0.0, 11.0)),
        ("exp", (float("nan"), 0.0)),
        ("reciprocal", (1.0, 256.0)),
        ("reciprocal", (0.0, 1.0)),
        ("inv_sqrt", (0.05, 1.0)),
        ("inv_sqrt", (1.0, 170.0)),
        ("sqrt", (0.0, 1.0)),
        ("log", (1.0, 300.0)),
        ("sigmoid", (-1000.0, 0.0)),
        ("tanh", (0.0, 300.0)),
    ],
)
def test_ranges_where_it_explodes_are_refused(name: str, within: tuple[float, float]) -> None:
    with pytest.raises(RangeError, match=f"{name} holds on"):
        check(name, (2,), within, {})


@pytest.mark.parametrize("name", [*DOMAINS, "softmax"])
def test_bounds_must_be_stated(name: str) -> None:
    with pytest.raises(RangeError, match="needs public bounds"):
        check(name, (2,), None, {"dim": -1})


def test_softmax_with_a_deep_mask_is_refused() -> None:
    """A causal mask of -1e4 makes the library's output wrong by 8e9."""
    with pytest.raises(RangeError, match="less than 512 apart"):
        check("softmax", (2, 8), (-1e4, 50.0), {"dim": -1})
    check("softmax", (2, 8), (-100.0, 50.0), {"dim": -1})


@pytest.mark.parametrize("options", [{"dim": -1}, {}])
def test_softmax_over_long_rows_is_refused(options: dict[str, object]) -> None:
    """Near-uniform rows of 256 keys and more give 4e9."""
    with pytest.raises(RangeError, match="at most 200 keys"):
        check("softmax", (2, 256), (-100.0, 50.0), options)


def test_what_is_allowed_is_right(parties: Parties) -> None:
    """Each function within its range: errors of the approximations as crypten.md measured them."""
    grid = {
        "exp": (torch.linspace(-3, 1, 9), torch.exp, 1e-2),
        "reciprocal": (torch.linspace(0.5, 5, 9), torch.reciprocal, 5e-3),
        "inv_sqrt": (torch.linspace(0.2, 100, 9), torch.rsqrt, 2e-2),
        "sqrt": (torch.linspace(0.2, 50, 9), torch.sqrt, 1e-1),
        "log": (torch.linspace(0.2, 50, 9), torch.log, 5e-2),
        "sigmoid": (torch.linspace(-8, 8, 9), torch.sigmoid, 5e-3),
        "tanh": (torch.linspace(-8, 8, 9), torch.tanh, 1e-2),
    }

    def body(executor: CrypTenArithmetic) -> dict[str, Any]:
        got: dict[str, Any] = {}
        for name, (x, _, _) in grid.items():
            share = executor.share_from(CLIENT, x.double() if executor.rank else None, (9,))
            within = (float(x.min()), float(x.max()))
            got[name] = executor.open_to(CLIENT, executor.native(name, share, within=within))
        return got

    got = parties(body).results[CLIENT]
    for name, (x, function, tolerance) in grid.items():
        assert float((got[name] - function(x.double())).abs().max()) < tolerance, name


# -- local truncation ----------------------------------------------------------------------------------------


def test_local_truncation_fails_as_often_as_documented(parties: Parties) -> None:
    """2^58 of 2^64: one element in 64 is wrong, by 2^64 / 2^16. Six standard deviations of the binomial."""
    count, probability = 20_000, failure_probability(2.0**26, 32)
    assert probability == 2.0**-6
    ring = torch.full((count,), 1 << 58)
    run = parties(lambda e: e.open_to(CLIENT, e.truncate(integers(e, ring, 32), 16)))
    error = run.results[CLIENT] - 2.0**26
    wrong = error.abs() > 1
    assert torch.equal(error[wrong].round(), torch.full((int(wrong.sum()),), -(2.0**32), dtype=torch.float64))
    assert abs(int(wrong.sum()) - count * probability) < 6 * (count * probability) ** 0.5


def test_exact_truncation_does_not_fail(parties: Parties) -> None:
    ring = torch.full((20_000,), (1 << 62) - 1)
    plan = get_plan("crypten").replace(truncation="exact")
    run = parties(lambda e: e.open_to(CLIENT, e.truncate(integers(e, ring, 32), 16)), plan=plan)
    assert float((run.results[CLIENT] - 2.0**30).abs().max()) <= 2 * UNIT


def test_too_many_or_too_large_truncations_are_refused() -> None:
    """One block at unit scale: 1.2e7 truncations, 2.4% of twelve-layer passes with a 4e9 error."""
    assert check_local_truncation(1.0, 1e3, 32, allowed=1e-6) == 1e3 * 2.0**-32
    with pytest.raises(RangeError, match="truncation=exact"):
        check_local_truncation(10.0, 1.2e7, 32, allowed=1e-2)


# -- randomness ----------------------------------------------------------------------------------------------


def everything(executor: CrypTenArithmetic) -> None:
    """Every kind of operation, ours and the library's."""
    x = executor.share_from(CLIENT, torch.ones(2, 4) if executor.rank else None, (2, 4))
    weight = executor.weight("w", torch.zeros(4, 4) if executor.rank == SERVER else None, (4, 4))
    executor.less_than_zero(executor.linear(executor.square(x), weight))
    for name in ("exp", "inv_sqrt", "tanh", "reciprocal"):
        executor.native(name, x, within=(0.5, 2.0))
    executor.native("softmax", x, within=(-8.0, 8.0), dim=-1)
    executor.open_to(CLIENT, executor.native("matmul", x, executor.rearrange(x, torch.t)))


def test_mersenne_twister_is_never_used(parties: Parties, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a generator of torch was used in a session")

    names = ["rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like", "manual_seed"]
    for name in [*names, "bernoulli", "normal", "seed", "Generator"]:
        monkeypatch.setattr(torch, name, refuse)
    before = torch.random.default_generator.get_state()
    parties(everything)
    assert torch.equal(torch.random.default_generator.get_state(), before)


def test_the_library_draws_from_the_session(parties: Parties) -> None:
    """Pairwise streams are the same at both parties, crossed; the local one is not."""

    def body(executor: CrypTenArithmetic) -> list[torch.Tensor]:
        crypten = executor.session.crypten
        element = crypten.common.rng.generate_random_ring_element
        cpu = torch.device("cpu")
        drawn = [
            element((4,), generator=crypten.generators[name][cpu]) for name in ("prev", "next", "global")
        ]
        return [*drawn, element((4,))]

    server, client = parties(body).results
    assert torch.equal(server[0], client[1])
    assert torch.equal(server[1], client[0])
    assert torch.equal(server[2], client[2])
    assert not torch.equal(server[3], client[3])
    assert len(set(torch.stack(server).flatten().tolist())) == 16


# -- openings, dealer, messages ------------------------------------------------------------------------------


def test_nothing_is_opened_that_nothing_masks(parties: Parties) -> None:
    def body(executor: CrypTenArithmetic) -> object:
        x = executor.share_from(CLIENT, torch.ones(2) if executor.rank else None, (2,))
        tensor = executor.session.crypten.mpc.MPCTensor.from_shares(x.value, precision=16)
        return tensor.get_plain_text()

    error = failing(parties, body)
    assert isinstance(error, CorrelationExhausted)
    assert "nothing masks" in str(error)


def test_a_mask_serves_one_opening(parties: Parties) -> None:
    def body(executor: CrypTenArithmetic) -> None:
        provider, communicator = executor.session.provider, executor.session.communicator
        provider.square(torch.Size((2,)))
        communicator.all_reduce(torch.zeros(2, dtype=torch.int64))
        communicator.all_reduce(torch.zeros(2, dtype=torch.int64))

    assert isinstance(failing(parties, body), CorrelationExhausted)


def test_a_mask_is_not_left_unspent(parties: Parties) -> None:
    def body(executor: CrypTenArithmetic) -> None:
        executor.session.provider.square(torch.Size((2,)))
        executor.session.provider.square(torch.Size((2,)))

    error = failing(parties, body)
    assert isinstance(error, CorrelationExhausted)
    assert "not spent" in str(error)


def test_the_trusted_first_party_is_out_of_reach(parties: Parties) -> None:
    crypten = import_crypten()
    for start in (crypten.init, lambda: crypten.init_thread(0, 2)):
        with pytest.raises(InsecureRefused):
            start()

    def body(executor: CrypTenArithmetic) -> bool:
        executor.session.crypten.cfg.mpc.provider = "TFP"
        return crypten.mpc.get_default_provider() is executor.session.provider

    assert parties(body).results == [True, True]


def test_the_tuple_cache_is_refused(parties: Parties) -> None:
    for name in ("trace", "trace_once", "fill_cache"):
        error = failing(parties, lambda executor, name=name: getattr(executor.session.crypten, name)())
        assert isinstance(error, ConfigError)
        assert "tuple cache" in str(error)


def test_model_conversion_is_refused() -> None:
    crypten = import_crypten()
    for name in ("from_pytorch", "from_onnx", "from_tensorflow"):
        with pytest.raises(ConfigError, match="conversion"):
            getattr(crypten.nn, name)(torch.nn.Linear(2, 2), torch.zeros(1, 2))


def test_a_runtime_error_in_a_comparison_is_not_swallowed(parties: Parties) -> None:
    """The library catches it, meaning memory, and goes on with other messages: the parties part."""
    calls: list[int] = []

    def body(executor: CrypTenArithmetic) -> None:
        x = executor.share_from(CLIENT, torch.ones(2) if executor.rank else None, (2,))

        def broken(*args: object, **kwargs: object) -> None:
            calls.append(executor.rank)
            raise RuntimeError("out of memory")

        executor.session.communicator.all_reduce = broken  # type: ignore[method-assign]
        executor.native("_ltz", x)

    run = parties(body, check=False)
    assert [str(error) for error in run.errors[:2]] == ["out of memory"] * 2
    assert sorted(calls) == [SERVER, CLIENT]


def test_nothing_is_pickled(parties: Parties, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("pickle was used")

    for name in ("dumps", "loads", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    parties(everything)

    def body(executor: CrypTenArithmetic) -> object:
        return executor.session.communicator.broadcast_obj(torch.nn.Linear(1, 1), SERVER)

    run = parties(body, check=False)
    assert isinstance(run.errors[SERVER], ConfigError)
    assert "never pickled" in str(run.errors[SERVER])


def test_shapes_travel_as_plain_values(parties: Parties) -> None:
    def body(executor: CrypTenArithmetic) -> object:
        size = torch.Size((2, 3)) if executor.rank == SERVER else None
        return executor.session.communicator.broadcast_obj(size, SERVER)

    assert parties(body).results == [torch.Size((2, 3))] * 2


# -- one process, several sessions ---------------------------------------------------------------------------


def test_outside_of_a_session_nothing_runs() -> None:
    crypten = import_crypten()
    assert not crypten.is_initialized()
    with pytest.raises(ConfigError, match="no CrypTen session"):
        crypten.mpc.get_default_provider()


def test_one_session_a_thread(parties: Parties) -> None:
    def body(executor: CrypTenArithmetic) -> None:
        session = executor.session
        assert session.crypten.is_initialized()
        session.__enter__()

    run = parties(body, check=False)
    assert isinstance(run.errors[CLIENT], ConfigError)


def test_settings_are_those_of_the_thread(parties: Parties) -> None:
    """The library changes its configuration while it computes."""

    def body(executor: CrypTenArithmetic) -> list[int]:
        cfg = executor.session.crypten.cfg
        executor.session.communicator.barrier()
        with cfg.temp_override({"functions.exp_iterations": 3 + executor.rank}):
            executor.session.communicator.barrier()
            inside = cfg.functions.exp_iterations
            executor.session.communicator.barrier()
        return [inside, cfg.functions.exp_iterations]

    assert parties(body).results == [[3, 8], [4, 8]]


def test_without_crypten_one_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import_crypten()
    monkeypatch.setattr(compat, "_imported", [])
    monkeypatch.setitem(sys.modules, "crypten", None)
    with pytest.raises(ConfigError, match=r"pip install --no-deps crypten==0\.4\.1"):
        import_crypten()
