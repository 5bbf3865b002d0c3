"""Faults of a running service at random moments, counted: tried and survived.

    python -m bench.faults all --moments 20
    python -m bench.faults serving-worker server-front --moments 3 --plan two-party
    python -m bench.faults client --moments 20 --store

A server and a dealer run as an operator runs them, two workers each, on ports of this machine that are free.
A client begins a session, and somewhere within it the fault happens. Then: everybody else must end with a
named error or the right answer; the next session must give the same answer as ever, with the same bill, which
the kernel's count confirms; no process, port or file may be left over; and where the dealer has a store, its
ledger must say that nothing was used twice. Each kind leaves a record in bench/records/faults.jsonl.
Some kinds take root (half-open, full-disk) or a C compiler (clock); without they are not tried, and said so.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.faults.kinds import KINDS
from bench.faults.service import Setting, has_store
from bench.faults.trying import FILE, FaultRecord, try_kind


def table_of(records: list[FaultRecord]) -> Table:
    """Tried and survived, a line a kind."""
    table = Table("fault", "plan", "tried", "survived", "what became of the session with the fault")
    for record in records:
        seen = [f"{count} x {what}" for what, count in record.seen.items()]
        said = [*seen, *record.failures, *([f"not tried: {record.skipped}"] if record.skipped else [])]
        table.add_row(record.kind, record.plan, str(record.tried), str(record.survived), "\n".join(said))
    return table


def main() -> None:
    """Command line; status 1 where a moment was not survived."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.faults",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("kinds", nargs="+", metavar="KIND", help=f"all, or of {', '.join(KINDS)}")
    parser.add_argument("--moments", type=int, default=20, help="of each kind")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--plan", default="fss", help="fss or two-party")
    parser.add_argument("--store", action="store_true", help="the dealer keeps a store of correlations")
    parser.add_argument("--keep", type=Path, help="folder for what services write; default: a temporary one")
    parser.add_argument("--out", type=Path, default=FILE, help="file that records are added to")
    options = parser.parse_args()
    kinds = list(KINDS) if "all" in options.kinds else options.kinds
    if unknown := [name for name in kinds if name not in KINDS]:
        parser.error(f"no kind {', '.join(unknown)}; there are {', '.join(KINDS)}")
    if options.store and not has_store():
        parser.error("--store: dealers here keep no store")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # ends services, too
    console = Console(highlight=False, soft_wrap=True)
    folder, records = options.keep or Path(tempfile.mkdtemp(prefix="mpcinfer-faults-")), list[FaultRecord]()
    for name in kinds:
        started, at = time.monotonic(), folder / name
        at.mkdir(parents=True)
        store = at / "store" if options.store else None
        setting = Setting(plan=options.plan, store=store)
        record = try_kind(name, KINDS[name], setting, options.moments, options.seed, at, console.print)
        record.append(options.out)
        records.append(record)
        console.print(f"{name}: {record.survived} of {record.tried} in {time.monotonic() - started:.0f} s")
    Console(width=160).print(table_of(records))
    sys.exit(int(any(record.survived < record.tried for record in records)))


if __name__ == "__main__":
    main()
