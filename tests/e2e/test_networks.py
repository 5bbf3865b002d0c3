"""Whole sessions over networks of all kinds, under a plan from a file: the same answer, and the same bill."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpcinfer import private
from mpcinfer.benchmark.emulation import RELAY, emulated
from mpcinfer.benchmark.modelled import modelled_seconds
from mpcinfer.benchmark.network import LOOPBACK, Network
from mpcinfer.benchmark.passes import measure
from mpcinfer.plans import plan_from, write_plan
from parties.bill import Bill
from tests.deadlines import HANG_S

MODEL, PROMPT = "tiny-python", "for i in"
NETWORK = Network(name="test", bandwidth=1e9, latency=0.001)
COUNTED = (
    *("rounds", "online_bytes_to_server", "online_bytes_to_client", "offline_bytes_to_server", "setup_bytes"),
    *("wire_bytes_to_server", "wire_bytes_to_client"),
)


def _costs(bill: Bill) -> list[int]:
    return [getattr(bill.total, name) for name in COUNTED]


@pytest.mark.e2e
@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("plan", ["fss-faithful", "crypten"])
def test_a_network_changes_neither_answer_nor_bill(plan: str, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    write_plan(path, plan_from(plan))
    answers, bills = list[str](), list[list[int]]()
    with emulated(NETWORK, RELAY) as through:
        for how in ({}, {"through": through}, {"shape": NETWORK.shape}):
            with private(MODEL, plan=str(path), timeout_s=HANG_S, **how) as client:
                answers.append(client.complete(PROMPT, max_new_tokens=2).text)
                bills.append(_costs(client.finish()))
    assert bills[1][:5] == bills[0][:5]
    assert bills == [bills[0]] * 3
    if plan != "crypten":
        assert answers == [answers[0]] * 3


@pytest.mark.e2e
@pytest.mark.long
@pytest.mark.slow
def test_passes_are_measured_apart() -> None:
    with private(MODEL, timeout_s=HANG_S) as client:
        prompts, singles = measure(client, 8, 3, 1)
        whole = client.bill_so_far().total
    assert (len(prompts.seconds), len(singles.seconds)) == (1, 2)
    rounds = [bill.total.rounds for bill in (*prompts.bills, *singles.bills)]
    assert sum(rounds) == whole.rounds
    for passes in (prompts, singles):
        assert modelled_seconds(passes.bill(), LOOPBACK) == pytest.approx(passes.median)
