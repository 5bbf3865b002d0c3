"""What architectures cost without a dealer at GPT-2's size, counted and measured, beside the papers' numbers.

    mpcinfer bench run 'stack/gpt2/SM+LN+G/two-party/T128' --repeat 3 --out bench/records/two_party.jsonl

measures one; `python -m bench.tables` writes the table of docs/two-party.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from bench.markdown import megabytes, table
from bench.records import RECORDS
from bench.variants_cost import COMPARED, PUBLISHED
from mpcinfer import cost
from parties.bill import BillRow

TOKENS, PLAN = 128, "two-party"
VARIANTS = ("SM+LN+G", "SM+LN+R", "SM+ScFuFFN", "SM+ScFuFFN, folded", "power4")
_BILLED = (
    *("rounds", "offline_rounds", "online_bytes_to_server", "online_bytes_to_client"),
    *("offline_bytes_to_server", "offline_bytes_to_client"),
)


def variants_table() -> str:
    """The blocks' bills, whether a run was billed the same, its seconds, and what was published."""
    totals = {name: cost(COMPARED[name], plan=PLAN, tokens=TOKENS, part="stack").total for name in VARIANTS}
    first = _gigabytes(totals[VARIANTS[0]])
    rows: list[list[str]] = []
    for name, total in totals.items():
        record, published = _measured(name), PUBLISHED[TOKENS].get(name)
        rows.append(
            [
                name,
                f"{total.rounds:,}",
                f"{total.offline_rounds:,}",
                megabytes(total.online_bytes_to_server + total.online_bytes_to_client),
                megabytes(total.offline_bytes_to_server + total.offline_bytes_to_client),
                f"{_gigabytes(total):.2f} GB",
                f"{_gigabytes(total) / first:.0%}",
                "not run" if record is None else "yes" if _same(record["bill"], total) else "older code",
                "" if published is None else f"{published:.2f} GB",
                "" if published is None else f"{published / PUBLISHED[TOKENS][VARIANTS[0]]:.0%}",
            ]
        )
    header = ["blocks", "rounds online", "offline", "online", "offline", "all", "of the first"]
    return table([*header, "latest run agrees", "published", "of the first"], rows)


def _gigabytes(total: BillRow) -> float:
    names = _BILLED[2:]
    return sum(getattr(total, name) for name in names) / 1e9


def _measured(name: str) -> dict[str, Any] | None:
    """The latest record of the blocks."""
    case = f"stack/gpt2/{name}/{PLAN}/T{TOKENS}"
    lines = (RECORDS / "two_party.jsonl").read_text().splitlines()
    records = [record for record in map(json.loads, lines) if record["case"] == case]
    return records[-1] if records else None


def _same(bill: dict[str, int], total: BillRow) -> bool:
    return all(bill.get(name, 0) == getattr(total, name) for name in _BILLED)


TABLES: dict[str, Callable[[], str]] = {"variants two-party": variants_table}
