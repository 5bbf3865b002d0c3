"""After `mpcinfer warm` no private run compiles anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mpcinfer import private
from mpcinfer.suites.fss.warm import warm
from mpcinfer.suites.kernel_mark import cache_folder, is_warm
from mpcinfer.suites.registry import SUITES
from tests.deadlines import HANG_S

_RUN = """
import sys
from mpcinfer.models.config import ModelConfig
from parties.compiled import in_use, times_compiled
from mpcinfer.suites.registry import get_plan
from tests.mpcinfer.test_private_models import GPT2, LLAMA, RELU
from tests.mpcinfer.three_parties import random_model, run_model

prompt = [index % 7 for index in range(9)]

def use(steps):
    steps.expect(1)
    return [steps.step(prompt), steps.step([3])]

for line in sys.argv[1:]:
    plan, form, *choices = line.split()
    plan = get_plan(plan).replace(**dict(choice.split("=") for choice in choices))
    run_model(random_model({"gpt2": GPT2, "llama": LLAMA, "relu": RELU}[form]), plan, use, max_context=12)
    print(in_use(), times_compiled(), line)
"""
RUNS = [
    "fss gpt2",
    "fss llama",
    "fss relu maximum=tree",
    "fss gpt2 gelu=fine exponential=lookup embedding=public",
    "fss-faithful gpt2",
    "two-party relu",
]


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    if not is_warm():
        warm()
    if not SUITES["two-party"].compiled():
        SUITES["two-party"].compile()


def test_no_private_run_compiles() -> None:
    run = subprocess.run(
        [sys.executable, "-c", _RUN, *RUNS],
        cwd=Path(__file__).parents[3],
        check=True,
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    rows = [line.split(maxsplit=2) for line in run.stdout.splitlines()]
    assert [line for _, _, line in rows] == RUNS
    assert int(rows[0][0]) > 5
    assert [line for _, compiled, line in rows if int(compiled)] == []


@pytest.mark.parametrize(
    "suite", [pytest.param("fss", marks=[pytest.mark.slow, pytest.mark.long]), "two-party"]
)
def test_a_warm_up_goes_through_and_compiles_nothing_twice(suite: str) -> None:
    assert SUITES[suite].compiled()
    assert SUITES[suite].compile() == 0


@pytest.mark.e2e
def test_three_processes_leave_the_cache_as_it_was() -> None:
    folder = cache_folder().path
    assert folder is not None
    before = {path.name for path in folder.parent.rglob("*.nbc")}
    with private("tiny-python", max_context=16) as client:
        client.complete("for i in range(10): print", max_new_tokens=2)
        client.finish()
    assert {path.name for path in folder.parent.rglob("*.nbc")} == before
