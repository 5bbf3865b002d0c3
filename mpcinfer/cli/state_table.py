"""What the command `cost` says of tokens over a state, beside those over keys and values."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from mpcinfer.cli.tables import human_bytes
from parties.errors import ConfigError
from protocols.plan import Plan

_AT = (128, 512, 2048, 8192, 32768, 131072)
"""Tokens before; those that the model has room for are shown."""


def token_costs(model: str, plan: Plan, max_context: int | None) -> dict[str, Any] | None:
    """Counted, as plain values; None where the context has no room for two chunks."""
    from mpcinfer.models.load import load_config, load_ranges_of
    from mpcinfer.state_costs import token_cost

    config = load_config(model)
    try:
        found = token_cost(config, plan, ranges=load_ranges_of(model), max_context=max_context)
    except ConfigError:
        return None
    room = max_context or config.context
    return {
        "rows": [
            [n, found.kept.at(n), found.state, found.kept_memory.at(n), found.state_memory]
            for n in _AT
            if n <= room
        ],
        "break_even": found.break_even(),
        "memory_break_even": found.memory_break_even(),
        "chunk": plan.chunk,
        "context": room,
    }


def print_token_costs(console: Console, found: dict[str, Any]) -> None:
    """A table, and from which context on the state is cheaper."""
    table = Table(
        title=f"one token, state in chunks of {found['chunk']}: online both ways, memory at a party"
    )
    for name in ("tokens before", "sent, kv", "sent, state", "kept, kv", "kept, state"):
        table.add_column(name, justify="right")
    for n, *sizes in found["rows"]:
        table.add_row(f"{n:,}", *(human_bytes(int(size)) for size in sizes))
    console.print(table)
    beyond = " (beyond this session's context)" if found["break_even"] > found["context"] else ""
    console.print(
        f"The state sends less from {found['break_even']:,} tokens on{beyond}, and takes less memory from "
        f"{found['memory_break_even']:,}."
    )
