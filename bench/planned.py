"""What `mpcinfer plan` predicts, against runs of the plans that it chose, over emulated networks.

    python -m bench.planned
    python -m bench.planned --cases seconds:wan-100m bytes:wan-100m

For each case, an objective and a network, the planner chooses. Then a session of the suite's first plan on
loopback, from which this machine's rates come, and one of the chosen plan over the emulated network answer in
turn. What is predicted from the rates and from counted bills is compared with what the second one took. A
record of each goes to bench/records/planned.jsonl.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import tempfile
from pathlib import Path
from typing import Any

from bench.markdown import table
from bench.networks import Side, append
from bench.records import RECORDS, commit
from mpcinfer import cost, private
from mpcinfer.benchmark.emulation import Emulated, emulated
from mpcinfer.benchmark.machine import machine
from mpcinfer.benchmark.measuring import measured_rates
from mpcinfer.benchmark.network import network_named
from mpcinfer.benchmark.passes import READY_S, dealing_s
from mpcinfer.benchmark.planner import Chosen, Predicted, Task, choose, predict
from mpcinfer.benchmark.rates import fitted
from mpcinfer.benchmark.record import BenchRecord, read_records
from mpcinfer.models.load import load_config, load_ranges_of
from mpcinfer.plans import write_plan
from mpcinfer.suites.registry import suite_of

FILE = "planned.jsonl"
CASES = ("seconds:wan-100m", "seconds:wan-400m:0.002", "bytes:wan-100m", "offline:wan-400m")
"""Objective, network, and the largest stated error where there is a bound."""


def run(model: str, case: str, tokens: int, new_tokens: int, repeat: int, command: str) -> None:
    """Chooses, measures, and appends two records."""
    objective, name, *bound = case.split(":")
    task = Task(
        config=load_config(model),
        ranges=load_ranges_of(model),
        tokens=tokens,
        new_tokens=new_tokens,
        network=network_named(name),
        objective=objective,
        max_error=float(bound[0]) if bound else None,
    )
    first = measured_rates(model, print)
    chosen = choose(task, first)
    plan = chosen.best.plan
    with tempfile.TemporaryDirectory() as folder, emulated(task.network) as through:
        path = Path(folder) / "plan.json"
        write_plan(path, plan)
        base, there = _answered(model, next(iter(suite_of(plan).plans)), path, through, task, repeat)
    rates = dataclasses.replace(
        first, suites={**first.suites, plan.suite: fitted(base.prompts.bill(), base.singles.bill())}
    )
    predicted = predict(task, plan, rates)
    more = new_tokens - 1
    took = [there.prompts.median + more * there.singles.median]
    _keep(model, case, task, predicted, took, through, command)
    _say(case, predicted, took[0], chosen, task)


def _answered(
    model: str, base: str, path: Path, through: Emulated, task: Task, repeat: int
) -> tuple[Side, Side]:
    """Both sessions, after their answers."""
    with contextlib.ExitStack() as stack:
        begin = (
            lambda: private(model, plan=base, timeout_s=600.0),
            lambda: private(model, plan=str(path), timeout_s=600.0, through=through),
        )
        bill = cost(model, plan=str(path), tokens=task.tokens, new_tokens=task.new_tokens)
        ready_s, sides = dealing_s(bill, task.network), list[Side]()
        for each in begin:
            sides.append(Side(each, READY_S if not sides else ready_s))
            stack.callback(sides[-1].close)
            sides[-1].answer(task.tokens, 2, counts=False)
        for turn in range(repeat):
            for side in sides:
                side.answer(task.tokens, task.new_tokens)
            print(f"  {path.name}, {task.network.name}: {turn + 1} of {repeat}", flush=True)
    return sides[0], sides[1]


def _keep(
    model: str,
    case: str,
    task: Task,
    predicted: Predicted,
    took: list[float],
    through: Emulated,
    command: str,
) -> None:
    settings: dict[str, Any] = {
        "case": f"planned-{case}",
        "kind": "model",
        "plan": predicted.plan.name,
        "plan_document": predicted.plan.to_json(),
        "model": model,
        "tokens": task.tokens,
        "new_tokens": task.new_tokens,
        "network": task.network.name,
        "bandwidth": task.network.bandwidth,
        "latency": task.network.latency,
        "machine": machine(),
        "commit": commit(),
        "command": command,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    for how, seconds, by in (("modelled", [predicted.seconds], ""), ("emulated", took, through.means)):
        append(BenchRecord(how=how, seconds=seconds, emulated_by=by, **settings), RECORDS / FILE)


def _say(case: str, predicted: Predicted, took: float, chosen: Chosen, task: Task) -> None:
    """How they agree, and what the fixed plans would take."""
    fixed = {each.plan.name: each.of(task.objective) for each in chosen.presets}
    print(
        f"{case}: {predicted.plan.name}: predicted {predicted.seconds:.2f} s, emulated {took:.2f} s, "
        f"{predicted.seconds / took - 1:+.1%}; {task.objective} {predicted.of(task.objective):,.2f}, fixed "
        f"plans {fixed}",
        flush=True,
    )


def planned_table() -> str:
    """The newest records: predicted and emulated."""
    newest: dict[str, dict[str, BenchRecord]] = {}
    for record in read_records([RECORDS / FILE]):
        newest.setdefault(record.case, {})[record.how] = record
    rows: list[list[str]] = []
    for case, by_how in newest.items():
        objective, network, *bound = case.removeprefix("planned-").split(":")
        predicted, took = by_how["modelled"].seconds[0], by_how["emulated"].seconds[0]
        words = f"{objective}, errors up to {bound[0]}" if bound else objective
        plan = by_how["emulated"].plan
        rows.append(
            [
                words,
                network,
                f"`{plan}`",
                f"{predicted:.2f} s",
                f"{took:.2f} s",
                f"{predicted / took - 1:+.1%}",
            ]
        )
    return table(["objective", "network", "chosen plan", "predicted", "emulated", "difference"], rows)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="tiny-python")
    parser.add_argument("--cases", nargs="+", default=list(CASES), help="OBJECTIVE:NETWORK[:MAX_ERROR]")
    parser.add_argument("--tokens", type=int, default=32, help="of the prompt")
    parser.add_argument("--new-tokens", type=int, default=4, help="of an answer")
    parser.add_argument("--repeat", type=int, default=3, help="answers of each session")
    options = parser.parse_args()
    for case in options.cases:
        command = (
            f"python -m bench.planned --model {options.model} --cases {case} --tokens {options.tokens} "
            f"--new-tokens {options.new_tokens} --repeat {options.repeat}"
        )
        run(options.model, case, options.tokens, options.new_tokens, options.repeat, command)


if __name__ == "__main__":
    main()
