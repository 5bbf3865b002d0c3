"""The measured table of docs/comparison.md: a block of every main variant under every plan.

`python -m bench.comparison --measure` runs them, `python -m bench.tables` writes the table.
"""

from __future__ import annotations

import statistics

from bench.comparison import PLANS, VARIANTS, measured_blocks
from bench.markdown import megabytes, table
from mpcinfer.benchmark.modelled import modelled_seconds
from mpcinfer.benchmark.network import network_named
from mpcinfer.benchmark.record import BenchRecord
from mpcinfer.suites.registry import get_plan, suite_of
from parties.bill import Bill

NETWORKS = ("lan-1g", "wan-400m")
NOT_MEASURED = "Not measured yet."


def measured_table() -> str:
    """Seconds, bytes and error of one block of 128 tokens; networks are modelled from its bill."""
    found = measured_blocks()
    if not found:
        return NOT_MEASURED
    header = ["block", "plan", "rounds", "online", "seconds", *NETWORKS, "offline", "offline s", "error"]
    rows = [
        _row(name, plan, found[name, plan]) for name in VARIANTS for plan in PLANS if (name, plan) in found
    ]
    return table(header, rows, left=("plan",))


def _row(name: str, plan: str, record: BenchRecord) -> list[str]:
    if record.failed:
        return [name, f"`{plan}`", record.failed, *[""] * 7]
    bill, streamed = Bill.from_json(record.bill, older=True), suite_of(get_plan(plan)).dealt_while_running
    total = bill.total
    networks = [modelled_seconds(bill, network_named(each), streamed=streamed) for each in NETWORKS]
    ahead = [*record.offline_seconds, *record.dealer_seconds]
    offline = statistics.median(record.offline_seconds or [0.0]) + statistics.median(
        record.dealer_seconds or [0.0]
    )
    return [
        name,
        f"`{plan}`",
        f"{total.rounds:,}",
        megabytes(total.online_bytes_to_server + total.online_bytes_to_client),
        f"{statistics.median(record.seconds):.2f}",
        *(f"{each:.2f}" for each in networks),
        megabytes(total.offline_bytes_to_server + total.offline_bytes_to_client),
        f"{offline:.2f}" if ahead else "within",
        f"{max(record.error.values(), default=0.0):.1g}",
    ]
