"""Fifty sessions at one service: right, exactly billed, in bounded memory; throughput and latency.

    python -m bench.load
    python -m bench.load --sessions 50 --clients 5 --at-once 4 --model tiny-python --plan fss --tokens 8

Starts a server and a dealer for many on loopback with fresh keys, opens all sessions at once from a process a
client, and compares every answer with the fixed-point reference and every bill with the counted one. The last
exit status is 0 only where all is as it should be. Appends a record to bench/records/load.jsonl.
Seconds mean something on a quiet machine alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.load.asking import Asked
from bench.load.judged import Judge, Verdict, latencies
from bench.load.run import Load, Outcome, most_at_once, run
from bench.load.shown import show
from bench.records import RECORDS, Record
from mpcinfer.models.load import load_public

FILE = "load.jsonl"


def summary(load: Load, outcome: Outcome, verdicts: list[Verdict]) -> dict[str, Any]:
    """What a record keeps."""
    asked, seconds = outcome.asked, outcome.seconds
    made = sum(len(each.ids) for each in asked)
    return {
        "sessions": load.sessions,
        "clients": load.clients,
        "at_once": load.at_once,
        "serve": list(load.serve),
        "most_at_once": most_at_once(asked),
        "answered": sum(not each.error for each in asked),
        "right": sum(each.right for each in verdicts),
        "tied": sum(each.tied for each in verdicts),
        "bills_counted": sum(each.counted for each in verdicts),
        "bills_kernel": sum(each.kernel for each in verdicts),
        "wrong": [f"{one.number}: {each.why}" for one, each in zip(asked, verdicts, strict=True) if each.why],
        "queued": sum(bool(each.places) for each in asked),
        "refused_first": sum(bool(each.refused) for each in asked),
        "deepest_place": max((place for each in asked for place in each.places), default=0),
        "tokens_run": tokens_run(load, asked),
        "seconds": round(seconds, 2),
        "sessions_a_minute": round(60 * sum(not each.error for each in asked) / seconds, 2),
        "tokens_a_second": round(made / seconds, 3),
        "core_s": {name: round(each, 2) for name, each in outcome.core_s.items()},
        "latency": latencies(asked, outcome.lines),
        "memory": dataclasses.asdict(outcome.peaks),
    }


def tokens_run(load: Load, asked: Sequence[Asked]) -> int:
    """Tokens that passes ran, prompts' and answers'; the last of an answer is not run any more."""
    encode = load_public(load.model).tokenizer.encode
    return sum(len(encode(load.prompts[each.number])) + len(each.ids) - 1 for each in asked if each.ids)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--clients", type=int, default=5, help="named clients that share the sessions")
    parser.add_argument("--at-once", type=int, default=4, help="sessions that the service runs at once")
    parser.add_argument("--model", default="tiny-python")
    parser.add_argument("--plan", default="fss")
    parser.add_argument("--tokens", type=int, default=8, help="of every answer")
    parser.add_argument("--case", default="load", help="name of the record")
    parser.add_argument("--serve", nargs="*", default=[], metavar="WORD", help="further words for serve")
    options = parser.parse_args()
    load = Load(
        sessions=options.sessions,
        clients=options.clients,
        at_once=options.at_once,
        model=options.model,
        plan=options.plan,
        tokens=options.tokens,
        serve=tuple(options.serve),
    )
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(load, Path(folder), console.print)
    verdicts = Judge(load).verdicts(outcome.asked)
    found = summary(load, outcome, verdicts)
    show(console, found)
    Record(
        case=options.case,
        plan=load.plan,
        model=load.model,
        tokens=load.tokens,
        measured=True,
        bill=next((each.bill for each in outcome.asked if each.bill), {}),
        seconds=[outcome.seconds],
        network="loopback TCP with CURVE, a process a session",
        extra=found,
    ).append(RECORDS / FILE)
    right = found["right"] + found["tied"]
    as_it_should = right == found["bills_counted"] == found["bills_kernel"] == load.sessions
    sys.exit(0 if as_it_should and found["most_at_once"] >= min(load.at_once, load.sessions) else 1)


if __name__ == "__main__":
    main()
