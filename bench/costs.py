"""The tables of docs/costs.md: everything in them is counted from what protocols and gates declare.

`python -m bench.tables` writes them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from bench.markdown import table
from mpcinfer import cost
from mpcinfer.catalogue import listing
from mpcinfer.cli.tables import human_bytes
from mpcinfer.suites.entry import Entry
from mpcinfer.suites.registry import PLANS
from parties.bill import BillRow
from parties.errors import ConfigError, RangeError

PROMPT_TOKENS = 32
"""Of the whole models' prompts."""


def _plan_row(name: str, count: Callable[[], BillRow]) -> list[str]:
    """A plan's costs, or why it cannot run the model."""
    try:
        total = count()
    except RangeError as error:
        return [f"`{name}`", f"cannot: {error}", "", "", "", "", ""]
    except ConfigError as error:  # what to do about it comes after the colon
        return [f"`{name}`", f"cannot: {str(error).split(':')[0]}", "", "", "", "", ""]
    return [f"`{name}`", *_amounts(total), _size(total.setup_bytes)]


def _amounts(row: BillRow) -> list[str]:
    online = (row.online_bytes_to_server, row.online_bytes_to_client)
    offline = (row.offline_bytes_to_server, row.offline_bytes_to_client)
    return [f"{row.rounds:,}", *map(_size, (*online, *offline))]


def _size(count_bytes: int) -> str:
    return human_bytes(count_bytes) if count_bytes else ""


_AMOUNTS = ["rounds", "online to server", "online to client", "offline to server", "offline to client"]


def stack_table() -> str:
    """The blocks of GPT-2 on 128 tokens."""
    rows = [
        _plan_row(name, lambda name=name: cost("gpt2", plan=name, tokens=128, part="stack").total)
        for name in PLANS
    ]
    return table(["plan", *_AMOUNTS, "setup, once"], rows)


def _more(model: str, plan: str) -> BillRow:
    """What one more token costs after a prompt."""
    first, second = (cost(model, plan=plan, tokens=PROMPT_TOKENS, new_tokens=count).total for count in (1, 2))
    for field in dataclasses.fields(BillRow):
        if field.name not in ("label", "kind", "seconds", "offline_seconds"):
            setattr(second, field.name, getattr(second, field.name) - getattr(first, field.name))
    return second


def model_table(model: str) -> str:
    """A whole model: a prompt with the first token of its answer, and one token more."""
    rows: list[list[str]] = []
    for name in PLANS:
        rows.append(_plan_row(name, lambda name=name: cost(model, plan=name, tokens=PROMPT_TOKENS).total))
        rows[-1][0] += ", prompt"
        if not rows[-1][1].startswith("cannot"):
            rows.append([f"`{name}`, a token more", *_amounts(_more(model, name)), ""])
    return table(["plan", *_AMOUNTS, "setup, once"], rows)


def kinds_table(plan: str) -> str:
    """The same blocks of GPT-2 by kind of operation."""
    bill = cost("gpt2", plan=plan, tokens=128, part="stack")
    rows = [[row.kind, *_amounts(row)] for row in bill.by_kind() if any(_amounts(row)[1:])]
    rows.append(["all", *_amounts(bill.total)])
    return table(["kind", *_AMOUNTS], rows)


def protocols_table(suite: str) -> str:
    """Everything registered for a suite."""
    rows = [
        [
            f"`{entry.operation}={entry.name}`",
            *_bits(entry),
            entry.cost.element,
            "" if entry.error is None else str(entry.error),
            _with_note(entry),
        ]
        for entry in listing.protocols(suite)
    ]
    return table([*_PROTOCOL, "error", "source"], rows, left=("source",))


def gates_table() -> str:
    """Every gate of the suite `fss`."""
    rows = [[f"`{e.name}`", *_bits(e), e.cost.element, e.summary] for e in listing.gates()]
    return table(["gate", *_PROTOCOL[1:], "what it computes"], rows, left=("what it computes",))


_PROTOCOL = ["protocol", "rounds", "online to server", "to client", "offline to server", "to client", "per"]


def _bits(entry: Entry) -> Sequence[str]:
    cost = entry.cost
    amounts = (
        cost.online_bits_to_server,
        cost.online_bits_to_client,
        cost.offline_bits_to_server,
        cost.offline_bits_to_client,
    )
    return [str(cost.rounds), *(f"{bits:,.1f}".removesuffix(".0") if bits else "" for bits in amounts)]


def _with_note(entry: Entry) -> str:
    return f"{entry.source}. {entry.reveals}" if entry.reveals else entry.source


def securities() -> str:
    """Against whom all of them hold."""
    known = dict.fromkeys(entry.security for entry in [*listing.protocols(), *listing.gates()])
    return "Security of everything below: " + "; ".join(known) + "."


TABLES: dict[str, Callable[[], str]] = {
    "stack": stack_table,
    "smollm2": lambda: model_table("smollm2-135m-instruct"),
    "tiny-python": lambda: model_table("tiny-python"),
    "kinds fss": lambda: kinds_table("fss"),
    "kinds fss-faithful": lambda: kinds_table("fss-faithful"),
    "kinds crypten": lambda: kinds_table("crypten"),
    "security": securities,
    "protocols fss": lambda: protocols_table("fss"),
    "gates": gates_table,
    "protocols crypten": lambda: protocols_table("crypten"),
}
