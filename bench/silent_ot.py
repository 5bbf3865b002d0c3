"""Silent correlated OTs: how many a core makes in a second, and what each sends.

    python -m bench.silent_ot                 prints a table
    python -m bench.silent_ot --repeats 9     more extensions

Both parties run in this process over an in-process channel, one thread each, one direction. A rate is that of
the best of several extensions of the largest stage, in processor seconds of the party's own thread, so that
others on the same cores do not count. Bits are the meter's. Base OTs are those of both directions; the start
takes COTs from base OTs to the first extension that repeats.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table

from parties.link import Link
from parties.randomness import SystemRandom
from parties.threads import run_two_threads
from protocols.kernels.processor import kernel_set
from protocols.two_party.ot.security import security_bits
from protocols.two_party.ot.stages import STAGES
from protocols.two_party.ot.two_party_ot import TwoPartyOt

_LAST = STAGES[-1]
_YIELD = _LAST.made - _LAST.taken
_MANY = 1 << 30


@dataclass(frozen=True)
class Measured:
    """One party's numbers: seconds, COTs a second, payload bits a COT, and bytes of the start."""

    base_seconds: float
    start_seconds: float
    rate: float
    bits: float
    start_bytes: int


def party(link: Link, repeats: int) -> Measured:
    """Runs one party."""
    made: list[TwoPartyOt] = []
    base_seconds = _timed(lambda: made.append(TwoPartyOt.set_up(link, SystemRandom())))
    stream = made[0].stream(0)
    base_bytes = _payload(link)
    start_seconds = _timed(lambda: stream.take(1, _MANY))
    start_bytes = _payload(link)
    stream.take(stream.available)
    seconds = [_timed(lambda: stream.take(_YIELD)) for _ in range(repeats)]
    bits = 8 * (_payload(link) - start_bytes) / (repeats * _YIELD)
    return Measured(base_seconds, start_seconds, _YIELD / min(seconds), bits, start_bytes - base_bytes)


def _timed(run: Callable[[], object]) -> float:
    """Processor seconds of this thread."""
    before = time.thread_time()
    run()
    return time.thread_time() - before


def _payload(link: Link) -> int:
    rows = link.meter.bill().rows
    return sum(row.online_bytes_to_server + row.online_bytes_to_client for row in rows)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description="Rates of silent correlated OTs.")
    parser.add_argument("--repeats", type=int, default=5, help="extensions, of which the best counts")
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    run_two_threads(lambda link: party(link, 1), lambda link: party(link, 1))  # compiles
    measured = run_two_threads(lambda link: party(link, repeats), lambda link: party(link, repeats))
    table = Table(title=f"Silent COTs, {kernel_set()}, {_YIELD:,} an extension")
    for column in ("party", "COT/s a core", "bits each", "base OTs", "start", "start, bytes"):
        table.add_column(column, justify="right")
    for name, each in zip(("sender", "receiver"), measured, strict=True):
        seconds = f"{each.base_seconds:.3f} s", f"{each.start_seconds:.3f} s"
        table.add_row(name, f"{each.rate / 1e6:.1f} M", f"{each.bits:.3f}", *seconds, f"{each.start_bytes:,}")
    console = Console()
    console.print(table)
    levels = ", ".join(str(int(security_bits(stage.instance))) for stage in STAGES)
    console.print(f"bits of security of the stages: {levels}")


if __name__ == "__main__":
    main()
