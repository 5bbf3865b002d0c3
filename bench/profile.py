"""Where a GPT-2-size block's time goes under the FSS suite, gate by gate.

    python -m bench.profile --repeat 5

Runs some blocks as `bench.stack` does and looks at the last of them, on one party's side. Of every gate's
time it says what was computing, taking key material, and waiting for the other party's message. A record is
appended to bench/records/profile.jsonl; docs/performance.md has its table.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from collections.abc import Sequence

from rich.console import Console

from bench.block import GPT2_BLOCK, described
from bench.markdown import table
from bench.records import RECORDS, Record, latest
from bench.stack_parties import measure_stack
from bench.timed_party import Step
from parties.meter import CLIENT, SERVER

PARTIES = {"server": SERVER, "client": CLIENT}
_PARTS = ("computing", "reading", "waiting")
Times = dict[str, dict[str, float]]
"""Seconds by gate, and by what they went into."""
_NOW = {"Hold": "ToServerHeld", "Octaves": "RangeReduction", "Publish": "OpenToClient"}
"""Gates of older records, as they are called now."""


def times_of(steps: Sequence[Step], layer: int) -> Times:
    """One layer's, added up by gate."""
    times: Times = {}
    for step in steps:
        if step.label.split(".")[0] == f"layer{layer}":
            parts = times.setdefault(step.gate, dict.fromkeys(_PARTS, 0.0))
            parts["reading"] += step.reading
            parts["waiting"] += step.waiting
            parts["computing"] += step.seconds - step.reading - step.waiting
    return times


def medians(runs: Sequence[Times]) -> Times:
    """Of several runs, entry by entry."""
    return {
        gate: {part: statistics.median(run[gate][part] for run in runs) for part in _PARTS}
        for gate in runs[0]
    }


def profile_table(times: Times | None = None) -> str:
    """Gates by what they compute; of the newest record where no times are given."""
    if times is None:
        record = latest("profile.jsonl", "fss")
        times = {} if record is None else record["extra"]["times"]
    rows = sorted(times.items(), key=lambda item: -sum(item[1].values()))
    total = {part: sum(parts[part] for _, parts in rows) for part in _PARTS}
    lines = [[f"`{_NOW.get(gate, gate)}`", *_milliseconds(parts)] for gate, parts in rows]
    return table(["gate", "computing", "key material", "waiting"], [*lines, ["all", *_milliseconds(total)]])


def _milliseconds(parts: dict[str, float]) -> list[str]:
    return [f"{1000 * parts[part]:.1f} ms" for part in _PARTS]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--plan", default="fss")
    parser.add_argument("--layers", type=int, default=4, help="how many blocks; the last one is looked at")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--party", choices=PARTIES, default="server")
    parser.add_argument("--port", type=int, default=7800, help="first of the loopback ports to use")
    options = parser.parse_args()
    config = dataclasses.replace(GPT2_BLOCK, layers=options.layers)
    runs = [
        measure_stack(options.plan, config, options.tokens, options.port + i, timed=True)
        for i in range(options.repeat)
    ]
    times = medians([times_of(run.steps[PARTIES[options.party]], options.layers - 1) for run in runs])
    Console().print(profile_table(times), markup=False)
    Record(
        case="gpt2-profile",
        plan=options.plan,
        model=described(options.layers),
        tokens=options.tokens,
        measured=True,
        bill={},
        seconds=[run.online_s for run in runs],
        network="loopback TCP with CURVE, two processes, dealt ahead to disk",
        extra={"party": options.party, "times": times},
    ).append(RECORDS / "profile.jsonl")


if __name__ == "__main__":
    main()
