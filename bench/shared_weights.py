"""Memory of a server's workers: weights once, whatever their number, and what a worker and a session cost.

    python -m bench.shared_weights workers    1, 2, 4 and 8 processes that map a model's weights and read them
    python -m bench.shared_weights imports    a process that imports what workers do, part by part
    python -m bench.shared_weights session    a server's process in a session, of shared weights and its own

All append to bench/records/shared_weights.jsonl. Memory is as Linux accounts it (`smaps_rollup`): summed over
processes, `proportional` is what they take together; `private` is what one of them alone has.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bench.records import RECORDS, Record
from bench.weights_process import WORKER
from mpcinfer.models.load import load_model, load_public
from mpcinfer.plans import plan_from
from mpcinfer.service.process_memory import ProcessMemory
from mpcinfer.service.shared_weights import SharedWeights
from mpcinfer.sessions.exchange import StepClient
from mpcinfer.sessions.session_config import SessionConfig
from mpcinfer.suites.registry import suite_of
from mpcinfer.suites.requests import Ahead
from mpcinfer.suites.suite import DEALER
from parties.link import Link
from parties.meter import CLIENT, Meter
from parties.tcp import connect

FILE = "shared_weights.jsonl"
MAPPING = "mpcinfer-weights"
PROCESSES = (0, 1, 2, 4, 8)
PROMPT = 8
_SAMPLED_S = 0.05
_TIMEOUT_S = 600.0
IMPORTS: dict[str, Sequence[str]] = {
    "Python": (),
    "numpy": ("numpy",),
    "torch": ("torch",),
    "torch, numba": ("torch", "numba"),
    "the server": ("mpcinfer.roles.server",),
    "a worker": WORKER,
    "a worker, fss": (*WORKER, "mpcinfer.suites.fss.connect", "mpcinfer.suites.fss.ready"),
}


@contextmanager
def process(*arguments: str, pass_fds: Sequence[int] = ()) -> Generator[subprocess.Popen[str]]:
    """One of `bench.weights_process`, until the block ends."""
    command = [sys.executable, "-m", "bench.weights_process", *arguments]
    started = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=tuple(pass_fds)
    )
    with started:
        yield started
        started.communicate(timeout=_TIMEOUT_S)


def line(started: subprocess.Popen[str]) -> str:
    """What it says next."""
    assert started.stdout is not None
    said = started.stdout.readline().strip()
    if not said:
        raise RuntimeError(f"a process ended with {started.wait()}")
    return said


def shared_of(model: str, plan: str) -> SharedWeights:
    """As a front shares them, which keeps nothing else."""
    public = load_public(model)
    return SharedWeights.of(
        SessionConfig(plan=plan_from(plan, None), public=public, weights=load_model(model).weights)
    )


def workers(model: str, plan: str, counts: Sequence[int]) -> None:
    """So many processes at once, each having read all weights."""
    with shared_of(model, plan) as shared:
        for count in counts:
            with ExitStack() as stack:
                arguments = ("map", str(shared.fd), model, plan)
                started = [
                    stack.enter_context(process(*arguments, pass_fds=[shared.fd])) for _ in range(count)
                ]
                for each in started:
                    line(each)
                whole = [ProcessMemory.of(each.pid) for each in started]
                mapped = [ProcessMemory.of_mapping(each.pid, MAPPING) for each in started]
            extra = {
                "processes": count,
                "shared": shared.nbytes,
                "total": sum(each.proportional for each in whole),
                "mapped_total": sum(each.proportional for each in mapped),
                "whole": [dataclasses.asdict(each) for each in whole],
                "mapped": [dataclasses.asdict(each) for each in mapped],
            }
            _record("workers", extra, model=model, plan=plan)


def imports() -> None:
    """A process a set of modules, alone."""
    for name, modules in IMPORTS.items():
        with process("imports", *modules) as started:
            line(started)
            memory = ProcessMemory.of(started.pid)
        _record("imports", {"name": name, **dataclasses.asdict(memory)}, model="", plan="")


def session(model: str, plan: str) -> None:
    """A prompt and two tokens; the server's largest private memory before and during it."""
    with tempfile.TemporaryDirectory() as folder, shared_of(model, plan) as shared:
        for kind in ("shared", "own"):
            own, other = _folders(model, plan, Path(folder) / kind)
            fd = str(shared.fd) if kind == "shared" else "own"
            with process("serve", fd, model, plan, own, pass_fds=[shared.fd]) as started:
                endpoint = line(started)
                before = ProcessMemory.of(started.pid)
                with largest_of(started.pid) as seen:
                    _ask(model, plan, endpoint, other)
                    line(started)
                after = ProcessMemory.of(started.pid)
            extra = {
                "weights": kind,
                "shared": shared.nbytes,
                "before": dataclasses.asdict(before),
                "largest_private": seen[0],
                "after": dataclasses.asdict(after),
            }
            _record("session", extra, model=model, plan=plan)


@contextmanager
def largest_of(pid: int) -> Generator[list[int]]:
    """The largest private memory of a process while the block runs, looked at now and then."""
    seen, over = [0], threading.Event()

    def look() -> None:
        while not over.wait(_SAMPLED_S):
            seen[0] = max(seen[0], ProcessMemory.of(pid).private)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield seen
    finally:
        over.set()
        looking.join()


def _folders(model: str, plan: str, out: Path) -> tuple[str, str]:
    """Correlations for server and client, of plans that take them from a folder."""
    chosen, public = plan_from(plan, None), load_public(model)
    if chosen.suite != "fss":
        return "-", "-"
    ahead = Ahead(prompt=PROMPT, answer=3, count=1, out=out, command="this bench again")
    suite_of(chosen).deal_ahead(chosen, public.config, public.ranges, ahead)
    return str(out / "server"), str(out / "client")


def _ask(model: str, plan: str, endpoint: str, folder: str) -> None:
    """The client's part."""
    chosen = plan_from(plan, None)
    suite = suite_of(chosen)
    session_config = SessionConfig(
        plan=chosen,
        public=load_public(model),
        correlations=None if folder == "-" else Path(folder),
        insecure_dealer=folder == "-" and DEALER in suite.helpers,
        timeout_s=_TIMEOUT_S,
    )
    channel = connect(
        endpoint, None, None, connect_timeout_s=_TIMEOUT_S, recv_timeout_s=_TIMEOUT_S, allow_insecure=True
    )
    with Link(channel, Meter(), CLIENT) as link, suite.open(link, session_config) as opened:
        steps = StepClient(link, opened)
        steps.expect(2)
        for ids in (list(range(1, PROMPT + 1)), [7], [8]):
            steps.step(ids)
        steps.finish()
        steps.part()


def _record(case: str, extra: dict[str, Any], *, model: str, plan: str) -> None:
    record = Record(case=case, plan=plan, model=model, tokens=0, measured=True, bill={}, extra=extra)
    record.append(RECORDS / FILE)
    shown = {name: value for name, value in extra.items() if not isinstance(value, list)}
    print(case, model, plan, shown, flush=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("case", choices=["workers", "imports", "session"])
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--plan", default="fss")
    parser.add_argument("--processes", type=int, nargs="+", default=list(PROCESSES))
    options = parser.parse_args()
    os.environ.setdefault("PYTHONPATH", os.getcwd())
    if options.case == "workers":
        workers(options.model, options.plan, options.processes)
    elif options.case == "imports":
        imports()
    else:
        session(options.model, options.plan)


if __name__ == "__main__":
    main()
