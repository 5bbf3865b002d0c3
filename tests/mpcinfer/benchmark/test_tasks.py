"""Operations and blocks by themselves: both parties' results are right, and cost what is counted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.folded import folded_config
from mpcinfer.models.variants import variant
from mpcinfer.suites.entry import ErrorKind
from mpcinfer.suites.registry import PLANS, SUITES, suite_of
from mpcinfer.suites.suite import Suite
from mpcinfer.suites.task import COSTS, Place, Task, TaskResult, differences
from parties.errors import ConfigError
from parties.threads import run_two_threads
from tests.deadlines import HANG_S
from tests.suites.insecure_ideal.suite import InsecureIdealSuite

CONFIG = ModelConfig(
    layers=1, width=16, heads=2, kv_heads=2, head_width=8, hidden=64, vocabulary=50, context=64
)
TOKENS, SEED = 8, bytes(range(12))
BLOCKS = ("SM+LN+G", "SM+ScFuFFN", "power4", "relu")
OPERATIONS = [
    (suite, operation, name)
    for suite in ("fss", "crypten")
    for operation, protocols in SUITES[suite].operations.items()
    for name in protocols
    if (operation, name) != ("reciprocal", "goldschmidt")
]
"""All but what divides by less than softmax does here: `test_fss_polynomial` runs it."""
COARSE = 2e-3
"""Roundings of inputs and weights, which stated errors leave out."""


def run(suite: Suite, task: Task, folder: Path) -> TaskResult:
    """The client's result; a suite whose dealer would run meanwhile has the server deal."""
    place = Place(folder=folder, seed=SEED, timeout_s=HANG_S)
    if suite.name == "fss":
        suite.deal_task(task, place)
    server, client = run_two_threads(
        lambda link: suite.run_task(link, task, place),
        lambda link: suite.run_task(link, task, place),
        timeout_s=HANG_S,
    )
    assert isinstance(server, TaskResult)
    assert isinstance(client, TaskResult)
    assert server.output is None
    return client


def check_costs(suite: Suite, task: Task, result: TaskResult) -> None:
    """To the byte; where the server deals, nothing is sent offline."""
    measured, counted = task.measured(result.bill).total, suite.count_task(task).total
    if suite.dealt_while_running:
        counted.offline_bytes_to_server = counted.offline_bytes_to_client = 0
    assert differences(measured, counted) == []


@pytest.mark.parametrize(
    ("name", "operation", "protocol"), OPERATIONS, ids=["/".join(each) for each in OPERATIONS]
)
def test_every_protocol_runs_by_itself(name: str, operation: str, protocol: str, tmp_path: Path) -> None:
    suite = SUITES[name]
    task = Task(
        plan=suite.sample_plan(operation, protocol), config=CONFIG, tokens=TOKENS, operation=operation
    )
    result = run(suite, task, tmp_path)
    check_costs(suite, task, result)
    assert result.output is not None
    assert result.expected is not None
    [entry] = [
        each
        for each in suite.entries(folded_config(CONFIG), TOKENS)
        if (each.operation, each.name) == (operation, protocol)
    ]
    stated = torch.full_like(result.expected, COARSE)
    if entry.error is not None and entry.error.kind is not ErrorKind.UNITS:
        relative = entry.error.kind is ErrorKind.RELATIVE
        stated += entry.error.value * (result.expected.abs() if relative else 1.0)
    off = (result.output - result.expected).abs()
    assert float((off - stated).max()) <= 0, f"off by {float(off.max()):.3g}"


@pytest.mark.parametrize("form", BLOCKS)
@pytest.mark.parametrize("plan", ["fss", "crypten", "crypten-stock"])
def test_blocks_run_by_themselves(plan: str, form: str, tmp_path: Path) -> None:
    config = variant(form, ModelConfig.from_json({**CONFIG.to_json(), "layers": 2, "attention_epsilon": 0.1}))
    task = Task(plan=PLANS[plan], config=config, tokens=TOKENS)
    suite = suite_of(task.plan)
    result = run(suite, task, tmp_path)
    check_costs(suite, task, result)
    assert result.error["max"] < 0.05
    assert result.error["mean"] < 0.01


def test_a_task_is_read_as_it_is_written() -> None:
    task = Task(plan=PLANS["fss"], config=CONFIG, tokens=TOKENS, operation="gelu")
    assert Task.from_json(task.to_json()) == task


def test_a_difference_is_said_in_numbers() -> None:
    suite = SUITES["fss"]
    task = Task(plan=suite.sample_plan("relu", "lookup"), config=CONFIG, tokens=TOKENS, operation="relu")
    counted, measured = suite.count_task(task).total, suite.count_task(task).total
    measured.online_bytes_to_client += 1
    [said] = differences(measured, counted)
    assert said == (
        f"online_bytes_to_client: {measured.online_bytes_to_client:,} measured, "
        f"{counted.online_bytes_to_client:,} counted"
    )
    assert all(hasattr(counted, name) for name in COSTS)


def test_a_third_suite_runs_its_own(tmp_path: Path) -> None:
    """One without a dealer, whose tasks are a few lines."""
    suite = InsecureIdealSuite()
    for operation in ("function", ""):
        task = Task(plan=next(iter(suite.plans.values())), config=CONFIG, tokens=TOKENS, operation=operation)
        result = run(suite, task, tmp_path)
        check_costs(suite, task, result)
        assert result.error["max"] < 0.01


def test_a_suite_without_tasks_says_so() -> None:
    class Bare(InsecureIdealSuite):
        count_task = Suite.count_task

    task = Task(plan=PLANS["fss"], config=CONFIG, tokens=TOKENS)
    with pytest.raises(ConfigError, match="runs no operations or blocks by themselves"):
        Bare().count_task(task)
