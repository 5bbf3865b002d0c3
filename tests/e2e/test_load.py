"""Many sessions asked for at once at one service: a small one of what `python -m bench.load` does."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from bench.load.__main__ import summary
from bench.load.asking import Asked
from bench.load.judged import COUNTED, Judge
from bench.load.run import Load, run
from tests.deadlines import HANG_S

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.long]


def test_six_sessions_two_at_once_are_right_and_exactly_billed(tmp_path: Path) -> None:
    load = Load(
        sessions=6,
        clients=2,
        at_once=2,
        model="tiny-python",
        plan="fss-faithful",
        tokens=2,
        timeout_s=HANG_S,
        patience_s=HANG_S,
    )
    outcome = run(load, tmp_path, lambda line: None)
    judge = Judge(load)
    found = summary(load, outcome, judge.verdicts(outcome.asked))
    assert found["wrong"] == []
    assert found["right"] == found["bills_counted"] == found["bills_kernel"] == 6
    assert found["most_at_once"] <= 2
    assert found["queued"] >= 1
    assert {each.client for each in outcome.asked} == {"client-0", "client-1"}
    memory = found["memory"]["kinds"]
    kinds = {f"{role} {kind}" for role in ("server", "dealer") for kind in ("front", "fork server", "worker")}
    assert kinds == set(memory)
    assert all(peak["private"] > 0 for peak in memory.values())
    _a_wrong_answer_and_a_wrong_bill_are_told(judge, outcome.asked[0])


def _a_wrong_answer_and_a_wrong_bill_are_told(judge: Judge, asked: Asked) -> None:
    changed = [
        dataclasses.replace(asked, ids=[*asked.ids[:-1], asked.ids[-1] + 1]),
        *(dataclasses.replace(asked, bill={**asked.bill, name: asked.bill[name] + 1}) for name in COUNTED),
        dataclasses.replace(
            asked, kernel=asked.kernel.replace("exactly as billed", "but 1 and 2 were billed")
        ),
    ]
    for each in judge.verdicts(changed):
        assert each.why
        assert not (each.right and each.counted and each.kernel)
