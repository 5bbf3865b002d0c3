"""What `mpcinfer plan` chose, and why, as tables in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mpcinfer.benchmark.planner import Chosen, Other, Predicted, Task
from mpcinfer.cli.tables import human_bytes
from mpcinfer.suites.registry import PLANS


def print_choice(model: str, task: Task, chosen: Chosen, out: Path) -> None:
    """The plan operation by operation with its runners-up, whole plans, and where the seconds go."""
    console, best = Console(highlight=False), chosen.best
    console.print(
        f"{model}, a prompt of {task.tokens} tokens and {task.new_tokens} of answer, over "
        f"{task.network.name}; objective: {task.objective}",
        style="bold",
        soft_wrap=True,
    )
    console.print(_choices(task, chosen))
    console.print()
    console.print(_plans(best, chosen.presets))
    for title, spent in (("prompt", best.prompt), ("a token more", best.single)):
        console.print(
            f"{title}: {spent.seconds:.2f} s, of them {spent.compute:.2f} computing, {spent.latency:.2f} "
            f"latency, {spent.transfer:.2f} bandwidth, {spent.dealer:.2f} waiting for the dealer",
            style="dim",
            soft_wrap=True,
        )
    for name, why in chosen.left_out.items():
        if name not in PLANS:
            continue
        console.print(f"left out: {name}: {why}", style="dim", markup=False, soft_wrap=True)
    console.print(f"wrote {out}: --plan {out} at both parties (digest {best.plan.digest()})", soft_wrap=True)


def _choices(task: Task, chosen: Chosen) -> Table:
    table = Table(title="The choice", title_justify="left", header_style="bold", box=None)
    for column in ("operation", "protocol", "because the runner-up", "would take"):
        table.add_column(column)
    for operation, others in chosen.others.items():
        runner_up, why = _runner_up(task.objective, chosen.best, others)
        table.add_row(operation, chosen.best.plan.choices[operation], runner_up, why)
    return table


def _runner_up(objective: str, best: Predicted, others: Sequence[Other]) -> tuple[str, str]:
    """Which it is, and what it costs."""
    if not others:
        return "", "there is no other"
    other = others[0]
    if other.predicted is None:
        return other.protocol, f"left out: {other.why_not}"
    more = other.predicted.of(objective) - best.of(objective)
    if not more and other.predicted.seconds == best.seconds:
        return other.protocol, "the same: the model has none of it, or it costs as much"
    extra = f"{more:+.3f} s" if objective == "seconds" else f"+{human_bytes(round(more))}"
    rounds = other.predicted.rounds - best.rounds
    return other.protocol, f"{extra}{f', {rounds:+,} rounds' if rounds else ''}"


def _plans(best: Predicted, presets: Sequence[Predicted]) -> Table:
    table = Table(title="Whole plans", title_justify="left", header_style="bold", box=None)
    for column in ("plan", "online seconds", "rounds", "online", "offline"):
        table.add_column(column, justify="left" if column == "plan" else "right")
    for each in (best, *(preset for preset in presets if preset is not best)):
        table.add_row(
            f"{each.plan.name}{' (chosen)' if each is best else ''}",
            f"{each.seconds:.2f}",
            f"{each.rounds:,}",
            human_bytes(each.online),
            human_bytes(each.offline),
        )
    return table
