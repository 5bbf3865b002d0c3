"""Rates of the kernels, in one thread and at the sizes of a GPT-2 layer with 128 tokens.

    python -m bench.kernels                    prints a table
    python -m bench.kernels --sets             every set of kernels that this machine can be, side by side
    python -m bench.kernels --only look-up     only kernels whose name contains this
    python -m bench.kernels --record           appends a line a kernel and set to bench/records/kernels.jsonl

A rate is that of the best of several runs, after one that compiles and touches fresh memory. Seconds are
those of the processor, so that others on the same cores do not count. `bench.kernel_sets` says what the sets
are.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.kernel_cases import CASES, Case
from bench.kernel_sets import KernelSet, possible_sets
from bench.records import RECORDS, KernelRecord
from mpcinfer.benchmark.machine import machine

Rates = dict[str, KernelRecord]
"""Records by kernel."""


def best_seconds(run: Callable[[], object], repeat: int) -> float:
    """The shortest of several runs, after one that is not counted: seconds of the processor."""
    run()
    times: list[float] = []
    for _ in range(repeat):
        started = time.process_time()
        run()
        times.append(time.process_time() - started)
    return min(times)


def measure(case: Case, repeat: int) -> KernelRecord:
    """Runs one case."""
    seconds = best_seconds(case.prepare(), repeat)
    return KernelRecord(kernel=case.kernel, rate=case.work / seconds, unit=case.unit, seconds=seconds)


def measure_all(only: str, repeat: int) -> Iterator[KernelRecord]:
    """Runs the cases whose name contains `only`, in one thread."""
    torch.set_num_threads(1)
    return (measure(case, repeat) for case in CASES if only in case.kernel)


def measure_as(kernel_set: KernelSet, only: str, repeat: int) -> Rates:
    """As `measure_all`, in a process that is such a machine."""
    command = [sys.executable, "-m", "bench.kernels", "--lines", "--only", only, "--repeat", str(repeat)]
    run = subprocess.run(
        command, env=kernel_set.environment(os.environ), check=True, stdout=subprocess.PIPE, text=True
    )
    records = (KernelRecord(**json.loads(line)) for line in run.stdout.splitlines())
    return {record.kernel: record for record in records}


def comparison(rates: dict[str, Rates]) -> Table:
    """Kernels by set: the rate under the first, milliseconds under each, and how many times the first's."""
    first, *others = rates
    table = Table("kernel", f"rate, {first}", *(f"ms, {name}" for name in rates))
    for kernel, record in rates[first].items():
        cells = [f"{record.rate / 1e6:,.0f} M {record.unit}/s", f"{record.seconds * 1e3:.2f}"]
        for name in others:
            seconds = rates[name][kernel].seconds
            cells.append(f"{seconds * 1e3:.2f}  x{seconds / record.seconds:.1f}")
        table.add_row(kernel, *cells)
    return table


def _alone(options: argparse.Namespace) -> list[KernelRecord]:
    """What this process runs, as lines of JSON or as a table."""
    records: list[KernelRecord] = []
    table = Table("kernel", "rate", "unit", "ms")
    for record in measure_all(options.only, options.repeat):
        records.append(record)
        if options.lines:
            print(json.dumps(asdict(record)), flush=True)
        rate, seconds = f"{record.rate / 1e6:,.1f}", f"{record.seconds * 1e3:.2f}"
        table.add_row(record.kernel, rate, f"M {record.unit}/s", seconds)
    if not options.lines:
        Console().print(table)
    return records


def _side_by_side(options: argparse.Namespace) -> list[KernelRecord]:
    """What this machine can be, set by set."""
    console = Console(width=max(140, Console().width))
    rates: dict[str, Rates] = {}
    for each in track(possible_sets(), "measuring", console=Console(stderr=True), transient=True):
        rates[each.name] = measure_as(each, options.only, options.repeat)
    console.print(comparison(rates))
    for name, records in rates.items():
        kernels = next(iter(records.values())).kernels
        console.print(f"{name}: {', '.join(kernels['features'])}", highlight=False)
    console.print(machine(), highlight=False)
    return [record for records in rates.values() for record in records.values()]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", default="", help="measure the kernels whose name contains this")
    parser.add_argument("--repeat", type=int, default=7, help="runs of which the best counts")
    parser.add_argument("--sets", action="store_true", help="every set of kernels this machine can be")
    parser.add_argument("--lines", action="store_true", help="print records as lines of JSON")
    parser.add_argument("--record", action="store_true", help="keep the rates in bench/records")
    options = parser.parse_args()
    if not any(options.only in case.kernel for case in CASES):
        parser.error(f"no kernel has {options.only!r} in its name")
    records = _side_by_side(options) if options.sets else _alone(options)
    if options.record:
        for record in records:
            record.append(RECORDS / "kernels.jsonl")


if __name__ == "__main__":
    main()
