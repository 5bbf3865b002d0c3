"""Seconds over networks three ways: modelled from a bill, over our shaped channel, and emulated outside.

    python -m bench.networks --plans fss crypten --networks lan-1g wan-400m wan-100m --repeat 5

For each plan and network two or three sessions stand side by side on this machine: on loopback, through the
network that is emulated outside of the parties, and over shaped channels. They answer in turn, so that
whatever else the machine does falls on all alike. Of each there are passes of a prompt and of one token after
it; the loopback's bills are what is modelled. A record of each goes to bench/records/networks.jsonl.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import statistics
from pathlib import Path
from typing import Any

import torch

from bench.machine import machine
from bench.markdown import table
from bench.records import RECORDS, commit
from mpcinfer import private
from mpcinfer.benchmark.emulation import RELAY, emulated
from mpcinfer.benchmark.modelled import modelled
from mpcinfer.benchmark.network import LOOPBACK, Network, network_named
from mpcinfer.benchmark.passes import Passes, measure
from mpcinfer.benchmark.record import BenchRecord, read_records
from mpcinfer.suites.registry import get_plan, suite_of

FILE = "networks.jsonl"
HEAD = "python -m bench.networks"
KINDS = ("model", "token")
"""What a record calls the pass of a prompt, and that of one token after it."""


def measured(
    model: str, plan: str, network: Network, tokens: int, new_tokens: int, repeat: int
) -> dict[str, tuple[Passes, Passes]]:
    """Passes by how their seconds came about, in turn."""
    runs: dict[str, tuple[Passes, Passes]] = {}
    with contextlib.ExitStack() as stack:
        start = {
            "loopback": lambda: private(model, plan=plan, timeout_s=600.0),
            "emulated": lambda: private(
                model, plan=plan, timeout_s=600.0, through=stack.enter_context(emulated(network))
            ),
        }
        clients = {how: stack.enter_context(begin()) for how, begin in start.items()}
        for how, client in clients.items():
            measure(client, tokens, 2, 1)  # nobody's first answer is as fast as those after it
            runs[how] = Passes(), Passes()
        for turn in range(repeat):
            for how, client in clients.items():
                for all_of, new in zip(runs[how], measure(client, tokens, new_tokens, 1), strict=True):
                    all_of.extend(new)
                print(f"  {plan}, {network.name}, {how}: {turn + 1} of {repeat}", flush=True)
    return runs


def kept(
    model: str, plan: str, network: Network, tokens: int, runs: dict[str, tuple[Passes, Passes]], command: str
) -> None:
    """Appends the records of all that was measured, and of what was modelled from it; says how they agree."""
    chosen = get_plan(plan)
    suite = suite_of(chosen)
    for index, kind in enumerate(KINDS):
        base = runs["loopback"][index].bill()
        model_of = modelled(base, network, streamed=suite.dealt_while_running)
        seconds = {how: both[index].seconds for how, both in runs.items()} | {"modelled": [model_of.seconds]}
        for how, values in seconds.items():
            over = LOOPBACK if how == "loopback" else network
            _append(
                BenchRecord(
                    case=f"{model}-{kind}",
                    kind=kind,
                    plan=plan,
                    plan_document=chosen.to_json(),
                    model=model,
                    tokens=tokens,
                    new_tokens=0 if kind == "model" else 1,
                    how=how,
                    network=over.name,
                    bandwidth=None if over is LOOPBACK else over.bandwidth,
                    latency=over.latency,
                    bill=(base if how == "modelled" else runs[how][index].bill()).to_json(),
                    seconds=values,
                    emulated_by=RELAY if how == "emulated" else "",
                    machine=machine(),
                    commit=commit(),
                    command=command,
                    started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                )
            )
        emulated_s = statistics.median(seconds["emulated"])
        print(
            f"{model} {kind}, {plan}, {network.name}: modelled {model_of.seconds:.3f} s, emulated "
            f"{emulated_s:.3f} s, {model_of.seconds / emulated_s - 1:+.1%}; {model_of}",
            flush=True,
        )


def _append(record: BenchRecord, path: Path = RECORDS / FILE) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(record.to_line() + "\n")


def networks_table() -> str:
    """The newest records of each case, plan and network: how far what is modelled is from what was run."""
    newest: dict[tuple[str, str, str], dict[str, BenchRecord]] = {}
    loopback: BenchRecord | None = None
    for record in read_records([RECORDS / FILE]):
        if record.how == "loopback":
            loopback = record
            continue
        case = newest.setdefault((record.case, record.plan, record.network), {})
        case[record.how] = record
        if loopback is not None:
            case["loopback"] = loopback
    rows = [_row(*key, case) for key, case in sorted(newest.items(), key=lambda each: each[0][1:])]
    header = ["pass", "plan", "network", "loopback", "modelled", "emulated", "shaped", "modelled to emulated"]
    return table(header, rows)


def _row(case: str, plan: str, network: str, by_how: dict[str, Any]) -> list[str]:
    medians = {how: statistics.median(record.seconds) for how, record in by_how.items()}
    shown = [
        f"{medians[how]:.2f} s" if how in medians else "" for how in ("loopback", "modelled", "emulated")
    ]
    shown.append(f"{medians['shaped']:.2f} s" if "shaped" in medians else "")
    ratio = medians["modelled"] / medians["emulated"] - 1
    words = "a token more" if case.endswith("-token") else f"prompt of {by_how['modelled'].tokens}"
    return [f"{case.rpartition('-')[0]}, {words}", f"`{plan}`", network, *shown, f"{ratio:+.1%}"]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="tiny-python")
    parser.add_argument("--plans", nargs="+", default=["fss", "crypten"])
    parser.add_argument("--networks", nargs="+", default=["lan-1g", "wan-400m", "wan-100m"])
    parser.add_argument("--tokens", type=int, default=32, help="of the prompt")
    parser.add_argument("--new-tokens", type=int, default=4, help="of an answer")
    parser.add_argument("--repeat", type=int, default=5, help="answers of each session")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the client's idle threads would take the server's cores
    for name in options.networks:
        network = network_named(name)
        for plan in options.plans:
            runs = measured(options.model, plan, network, options.tokens, options.new_tokens, options.repeat)
            command = (
                f"{HEAD} --model {options.model} --plans {plan} --networks {name} --tokens {options.tokens} "
                f"--new-tokens {options.new_tokens} --repeat {options.repeat}"
            )
            kept(options.model, plan, network, options.tokens, runs, command)


if __name__ == "__main__":
    main()
