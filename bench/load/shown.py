"""The summary of a load as tables on a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from bench.load.judged import PERCENTILES


def show(console: Console, found: dict[str, Any]) -> None:
    """What went right, how fast, how long, and in how much memory."""
    _show_right(console, found)
    _show_latency(console, found["latency"])
    _show_memory(console, found["memory"])
    for line in found["wrong"]:
        console.print(f"session {line}", style="red", markup=False)


def _show_right(console: Console, found: dict[str, Any]) -> None:
    table = Table("", "", title="sessions", show_header=False)
    sessions = found["sessions"]
    for name, value in {
        "asked for at once": f"{sessions}, by {found['clients']} clients",
        "told a place in the queue": f"{found['queued']}, the deepest {found['deepest_place']}",
        "refused, and asked again": str(found["refused_first"]),
        "at once, the most": f"{found['most_at_once']}, of {found['at_once']} that may",
        "answers right": f"{found['right']} of {sessions}, and {found['tied']} up to a tie of two logits",
        "bills as counted": f"{found['bills_counted']} of {sessions}",
        "bills as the kernel counted": f"{found['bills_kernel']} of {sessions}",
        "throughput": f"{found['sessions_a_minute']} sessions a minute, "
        f"{found['tokens_a_second']} tokens a second",
        "in all": f"{found['seconds']} s",
        "core seconds": ", ".join(f"{name} {each:.0f}" for name, each in found["core_s"].items()),
    }.items():
        table.add_row(name, value)
    console.print(table)


def _show_latency(console: Console, latency: dict[str, dict[str, float]]) -> None:
    table = Table("seconds", *(f"{each}%" for each in PERCENTILES), title="latency")
    for name, values in latency.items():
        cells = [f"{values[f'p{each}']:.2f}" for each in PERCENTILES] if values else ["not told"]
        table.add_row(name, *cells)
    console.print(table)


def _show_memory(console: Console, memory: dict[str, Any]) -> None:
    header = ("MB", "processes", "one: proportional", "private", "shared", "all of them")
    table = Table(*header, title="memory, peaks")
    for kind, peak in sorted(memory["kinds"].items()):
        sizes = [f"{peak[name] / 1e6:,.0f}" for name in ("proportional", "private", "shared", "together")]
        table.add_row(kind, str(peak["processes"]), *sizes)
    table.add_row("together", "", "", "", "", f"{memory['together'] / 1e6:,.0f}")
    console.print(table)
