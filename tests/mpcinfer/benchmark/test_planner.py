"""The planner: never worse than a fixed plan, and never less private than the default one."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator

import pytest

from mpcinfer.benchmark.network import NETWORKS
from mpcinfer.benchmark.planner import OBJECTIVES, Chosen, Task, choose, predict, renamed
from mpcinfer.benchmark.rates import ALL, Rate, Rates
from mpcinfer.models.load import load_config, load_ranges_of
from mpcinfer.suites.registry import PLANS, SUITES, disclosures, get_plan, register, suite_of
from parties.errors import ConfigError
from protocols.plan import DEFAULT_PLAN, Plan
from tests.suites.insecure_ideal.suite import NAME, InsecureIdealSuite

MODEL = "tiny-python"
RATES = Rates(
    model=MODEL,
    tokens=32,
    machine="a test",
    measured="2026-01-01T00:00:00+00:00",
    suites={"fss": {ALL: Rate(2e-3, 1e-8)}, "crypten": {ALL: Rate(3e-3, 1e-8)}, NAME: {ALL: Rate(0.0, 0.0)}},
)


def task(objective: str = "seconds", network: str = "wan-100m", **more: object) -> Task:
    config = dataclasses.replace(load_config(MODEL), layers=1)
    settings = {"tokens": 8, "new_tokens": 4, "network": NETWORKS[network], "objective": objective, **more}
    return Task(config=config, ranges=load_ranges_of(MODEL), **settings)  # pyright: ignore[reportArgumentType]


def _choices(chosen: Chosen) -> dict[str, str]:
    return dict(chosen.best.plan.choices)


@pytest.fixture
def insecure() -> Generator[None]:
    register(InsecureIdealSuite())
    yield
    del SUITES[NAME], PLANS[NAME]


def runs(plan: Plan) -> bool:
    """Whether a plan runs the task's softmax attention, and its suite was measured."""
    return plan.suite in RATES.suites and not suite_of(plan).is_polynomial(plan)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_choice_is_no_worse_than_any_fixed_plan(objective: str) -> None:
    wanted = task(objective)
    chosen = choose(wanted, RATES)
    fixed = [predict(wanted, plan, RATES).of(objective) for plan in PLANS.values() if runs(plan)]
    assert chosen.best.of(objective) <= min(fixed)
    assert [each.of(objective) for each in chosen.presets] == sorted(fixed)
    for others in chosen.others.values():
        for other in others:
            assert (other.predicted is None) == bool(other.why_not)
            if other.predicted is not None and objective != "seconds":
                assert other.predicted.of(objective) >= chosen.best.of(objective)


def test_nothing_is_disclosed_unless_asked() -> None:
    private, open_ = choose(task("bytes"), RATES), choose(task("bytes", disclosing=True), RATES)
    assert disclosures(private.best.plan) == disclosures(get_plan(DEFAULT_PLAN))
    assert _choices(private)["embedding"] == "private"
    assert _choices(open_)["embedding"] == "public"
    assert "discloses more" in next(
        other.why_not for other in private.others["embedding"] if other.protocol == "public"
    )


@pytest.mark.usefixtures("insecure")
@pytest.mark.parametrize("disclosing", [False, True])
def test_an_insecure_suite_is_never_chosen(disclosing: bool) -> None:
    chosen = choose(task("bytes", disclosing=disclosing), RATES)
    assert chosen.best.plan.suite != NAME
    assert chosen.left_out[NAME] == f"the suite {NAME} is not secure"
    assert all(each.plan.suite != NAME for each in chosen.presets)


def test_an_error_bound_holds_for_every_operation_of_the_model() -> None:
    chosen = choose(task("bytes", max_error=0.002), RATES)
    assert _choices(chosen)["maximum"] == "tree"
    assert _choices(chosen)["gelu"] in ("fine", "fine-lines")
    assert "states an error of 2" in chosen.others["maximum"][0].why_not
    with pytest.raises(ConfigError, match="no plan is left"):
        choose(task("bytes", max_error=1e-9), RATES)


def test_suites_without_rates_are_left_out() -> None:
    rates = dataclasses.replace(RATES, suites={"crypten": RATES.suites["crypten"]})
    chosen = choose(task(), rates)
    assert chosen.best.plan.suite == "crypten"
    assert "was measured" in chosen.left_out["fss"]
    assert "--plan two-party; `mpcinfer cost`" in chosen.left_out["two-party"]


def test_a_slow_network_is_predicted_to_take_longer() -> None:
    plan = get_plan("fss")
    slow, fast = (predict(task(network=name), plan, RATES) for name in ("wan-100m", "lan-10g"))
    assert slow.seconds - fast.seconds >= slow.rounds * 0.039
    assert (slow.rounds, slow.online) == (fast.rounds, fast.online)


def test_a_plan_is_named_after_the_nearest_preset() -> None:
    fine = renamed(get_plan("fss"), {"gelu": "fine"})
    assert fine.name == "fss+gelu=fine"
    assert renamed(fine, {"gelu": "lines"}) == get_plan("fss")
    exact = {"truncation": "faithful", "gelu": "lookup", "silu": "fine", "exponential": "lookup"}
    assert renamed(fine, exact) == get_plan("fss-faithful")


@pytest.mark.parametrize("wrong", [{"objective": "beauty"}, {"tokens": 10**6}])
def test_a_task_that_makes_no_sense(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        task(**wrong)  # pyright: ignore[reportArgumentType]
