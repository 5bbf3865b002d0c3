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
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import torch

from bench.markdown import table
from bench.records import RECORDS, commit
from mpcinfer import cost, private
from mpcinfer.benchmark.emulation import NETEM, emulated
from mpcinfer.benchmark.machine import machine
from mpcinfer.benchmark.modelled import modelled
from mpcinfer.benchmark.network import LOOPBACK, NETWORKS, Network, network_named
from mpcinfer.benchmark.passes import READY_S, Passes, dealing_s, measure
from mpcinfer.benchmark.record import BenchRecord, read_records
from mpcinfer.roles.client import PrivateClient
from mpcinfer.suites.registry import get_plan, suite_of

FILE = "networks.jsonl"
HEAD = "python -m bench.networks"
KINDS = ("model", "token")
"""What a record calls the pass of a prompt, and that of one token after it."""


class Side:
    """A session in a thread of its own, as CrypTen has one session a thread.

    Args:
        begin: opens it.
        ready_s: as for `measure`.
    """

    def __init__(self, begin: Callable[[], AbstractContextManager[PrivateClient]], ready_s: float) -> None:
        self._ready_s = ready_s
        self._thread, self._open = ThreadPoolExecutor(1), contextlib.ExitStack()
        self._client = self._thread.submit(self._begin, begin).result()
        self.prompts, self.singles = Passes(), Passes()

    def answer(self, tokens: int, new_tokens: int, *, counts: bool = True) -> None:
        """One answer; its passes are kept where it counts."""
        prompts, singles = self._thread.submit(
            measure, self._client, tokens, new_tokens, 1, ready_s=self._ready_s
        ).result()
        if counts:
            self.prompts.extend(prompts)
            self.singles.extend(singles)

    def close(self) -> None:
        """Ends the session."""
        self._thread.submit(self._open.close).result()
        self._thread.shutdown()

    def _begin(self, begin: Callable[[], AbstractContextManager[PrivateClient]]) -> PrivateClient:
        torch.set_num_threads(1)  # the client's idle threads would take the server's cores
        return self._open.enter_context(begin())


def measured(
    model: str, plan: str, network: Network, tokens: int, new_tokens: int, repeat: int, ways: Sequence[str]
) -> tuple[dict[str, tuple[Passes, Passes]], str]:
    """Passes by how their seconds came about, in turn; and what emulated the network."""
    with contextlib.ExitStack() as stack:
        through = stack.enter_context(emulated(network))
        begin = {
            "loopback": lambda: private(model, plan=plan, timeout_s=600.0),
            "emulated": lambda: private(model, plan=plan, timeout_s=600.0, through=through),
            "shaped": lambda: private(model, plan=plan, timeout_s=600.0, shape=network.shape),
        }
        ready_s = dealing_s(cost(model, plan=plan, tokens=tokens, new_tokens=new_tokens), network)
        sides: dict[str, Side] = {}
        for how in ("loopback", *ways):
            sides[how] = Side(begin[how], READY_S if how == "loopback" else ready_s)
            stack.callback(sides[how].close)
            sides[how].answer(tokens, 2, counts=False)  # nobody's first answer is as fast as those after it
        for turn in range(repeat):
            for side in sides.values():
                side.answer(tokens, new_tokens)
            print(f"  {plan}, {network.name}: {turn + 1} of {repeat}", flush=True)
        return {how: (side.prompts, side.singles) for how, side in sides.items()}, through.means


def kept(
    model: str,
    plan: str,
    network: Network,
    tokens: int,
    runs: dict[str, tuple[Passes, Passes]],
    means: str,
    command: str,
) -> None:
    """Appends the records of all that was measured, and of what was modelled from it; says how they agree."""
    chosen = get_plan(plan)
    suite = suite_of(chosen)
    for index, kind in enumerate(KINDS):
        base = runs["loopback"][index].bill()
        model_of = modelled(base, network, streamed=suite.dealt_while_running, slow_start=means == NETEM)
        seconds = {how: both[index].seconds for how, both in runs.items()} | {"modelled": [model_of.seconds]}
        for how, values in seconds.items():
            over = LOOPBACK if how == "loopback" else network
            append(
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
                    emulated_by=means if how == "emulated" else "",
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


def append(record: BenchRecord, path: Path = RECORDS / FILE) -> None:
    """Adds a record to a file."""
    with path.open("a", encoding="utf-8") as file:
        file.write(record.to_line() + "\n")


def networks_table() -> str:
    """The networks that have names."""
    rows = [
        [
            f"`{each.name}`",
            "" if each.bytes_per_s is None else f"{each.bandwidth / 1e6:,.0f} Mbit/s",
            f"{1000 * each.latency:g} ms" if each.latency else "",
            each.setting,
        ]
        for each in NETWORKS.values()
    ]
    return table(["network", "bandwidth", "latency", "stands for"], rows)


def agreement_table() -> str:
    """The newest records of each case, plan and network: how far what is modelled is from what was run."""
    newest: dict[tuple[str, str, str], dict[str, BenchRecord]] = {}
    loopback: BenchRecord | None = None
    for record in read_records([RECORDS / FILE]):
        if record.how == "loopback":
            loopback = record
            continue
        case = newest.setdefault((record.case, record.plan, record.network), {})
        if loopback is not None and case.get("loopback") is not loopback:  # all of a row are of one run
            case.clear()
            case["loopback"] = loopback
        case[record.how] = record
    rows = [_row(*key, case) for key, case in sorted(newest.items(), key=lambda each: each[0][1:])]
    header = ["pass", "plan", "network", "loopback", "modelled", "emulated", "shaped", "medians", "quickest"]
    return table(header, rows)


def _row(case: str, plan: str, network: str, by_how: dict[str, BenchRecord]) -> list[str]:
    """Medians, and how far modelled is from emulated, of medians and of the quickest passes of both."""
    medians = {how: statistics.median(record.seconds) for how, record in by_how.items()}
    ways = ("loopback", "modelled", "emulated", "shaped")
    shown = [f"{medians[how]:.2f} s" if how in medians else "" for how in ways]
    waiting = medians["modelled"] - medians["loopback"]  # for the network, whatever computing took
    quickest = (min(by_how["loopback"].seconds) + waiting) / min(by_how["emulated"].seconds)
    words = "a token more" if case.endswith("-token") else f"prompt of {by_how['modelled'].tokens}"
    ratios = medians["modelled"] / medians["emulated"], quickest
    return [
        f"{case.rpartition('-')[0]}, {words}",
        f"`{plan}`",
        network,
        *shown,
        *(f"{ratio - 1:+.1%}" for ratio in ratios),
    ]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="tiny-python")
    parser.add_argument("--plans", nargs="+", default=["fss", "crypten"])
    parser.add_argument("--networks", nargs="+", default=["lan-1g", "wan-400m", "wan-100m"])
    parser.add_argument("--tokens", type=int, default=32, help="of the prompt")
    parser.add_argument("--new-tokens", type=int, default=4, help="of an answer")
    parser.add_argument("--repeat", type=int, default=5, help="answers of each session")
    parser.add_argument("--ways", nargs="+", default=["emulated", "shaped"], help="emulated, shaped")
    options = parser.parse_args()
    for name in options.networks:
        network = network_named(name)
        for plan in options.plans:
            runs, means = measured(
                options.model, plan, network, options.tokens, options.new_tokens, options.repeat, options.ways
            )
            command = (
                f"{HEAD} --model {options.model} --plans {plan} --networks {name} --tokens {options.tokens} "
                f"--new-tokens {options.new_tokens} --repeat {options.repeat} --ways {' '.join(options.ways)}"
            )
            kept(options.model, plan, network, options.tokens, runs, means, command)


if __name__ == "__main__":
    main()
