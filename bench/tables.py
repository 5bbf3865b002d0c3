"""The tables of the README, made from records and counted bills.

python -m bench.tables           writes them between their markers
python -m bench.tables --check   fails where what stands there is out of date
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from bench.records import RECORDS
from mpcinfer import cost

README = Path(__file__).parent.parent / "README.md"
PLANS = ("crypten-stock", "crypten")


def _latest(case_file: str, plan: str) -> dict[str, Any]:
    """The newest record of a case and plan."""
    lines = (RECORDS / case_file).read_text().splitlines()
    records = [record for line in lines if (record := json.loads(line))["plan"] == plan]
    if not records:
        sys.exit(f"no record of plan {plan} in {case_file}; run the benchmark first")
    return records[-1]


def _megabytes(count_bytes: int) -> str:
    return f"{count_bytes / 1e6:,.0f} MB" if count_bytes >= 1e7 else f"{count_bytes / 1e6:,.2f} MB"


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "| --- |" + " ---: |" * (len(header) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def block_table() -> str:
    """One GPT-2-size block, measured."""
    rows: list[list[str]] = []
    for plan in PLANS:
        record = _latest("block.jsonl", plan)
        bill, error = record["bill"], record["error"]
        rows.append(
            [
                f"`{plan}`",
                str(bill["rounds"]),
                _megabytes(bill["online_bytes_to_server"] + bill["online_bytes_to_client"]),
                _megabytes(bill["offline_bytes_to_server"]),
                f"{statistics.median(record['seconds']):.1f} s",
                f"{error['max']:.1g}",
            ]
        )
    machine = _latest("block.jsonl", "crypten")
    header = ["plan", "rounds", "online, both ways", "offline", "wall", "largest error"]
    return (
        _table(header, rows)
        + f"\n\nMeasured, median of {len(machine['seconds'])}, {machine['network']}, {machine['machine']}."
    )


def counted_table() -> str:
    """Whole models, counted."""
    rows: list[list[str]] = []
    for model, tokens in (("gpt2", 128), ("gpt2-medium", 128), ("llama2-7b", 512)):
        for plan in PLANS:
            total = cost(model, plan=plan, tokens=tokens, part="stack").total
            rows.append(
                [
                    f"{model}, {tokens} tokens, `{plan}`",
                    f"{total.rounds:,}",
                    f"{(total.online_bytes_to_server + total.online_bytes_to_client) / 1e9:,.2f} GB",
                    f"{total.offline_bytes_to_server / 1e9:,.2f} GB",
                    f"{total.setup_bytes / 1e9:,.2f} GB",
                ]
            )
    return _table(["blocks of", "rounds", "online, both ways", "offline", "setup"], rows)


def answer_table() -> str:
    """A private answer of the shipped model, measured."""
    record = _latest("answer.jsonl", "crypten")
    bill, tokens = record["bill"], record["tokens"]
    setup = cost("tiny-python", tokens=1).total.setup_bytes
    row = [
        "`tiny-python`",
        f"{statistics.median(record['seconds']):.2f} s",
        f"{bill['rounds'] / tokens:.0f}",
        _megabytes((bill["online_bytes_to_server"] + bill["online_bytes_to_client"]) // tokens),
        _megabytes(bill["offline_bytes_to_server"] // tokens),
        _megabytes(setup),
    ]
    return _table(["a token of", "wall", "rounds", "online, both ways", "offline", "setup, once"], [row])


TABLES = {"block": block_table, "counted": counted_table, "answer": answer_table}


def updated(text: str) -> str:
    """The text with every table made anew between `<!-- table: NAME -->` and `<!-- end -->`."""
    for name, make in TABLES.items():
        start, end = f"<!-- table: {name} -->", "<!-- end -->"
        if start not in text:
            sys.exit(f"README.md has no place for table {name}: {start}")
        before, rest = text.split(start, 1)
        after = rest.split(end, 1)[1]
        text = f"{before}{start}\n{make()}\n{end}{after}"
    return text


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where out of date")
    options = parser.parse_args()
    text = README.read_text()
    fresh = updated(text)
    if options.check:
        if fresh != text:
            sys.exit("README.md: tables are out of date; run python -m bench.tables")
        return
    README.write_text(fresh)


if __name__ == "__main__":
    main()
