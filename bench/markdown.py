"""Tables in Markdown, and documents that hold generated ones."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping, Sequence

END = "<!-- end -->"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[str] = ()) -> str:
    """A table; all columns but the first, and those in `left`, are aligned right."""
    aligned = [" --- " if i == 0 or name in left else " ---: " for i, name in enumerate(header)]
    lines = ["| " + " | ".join(header) + " |", "|" + "|".join(aligned) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def megabytes(count_bytes: int) -> str:
    """Decimal megabytes; two digits after the point below ten."""
    return f"{count_bytes / 1e6:,.0f} MB" if count_bytes >= 1e7 else f"{count_bytes / 1e6:,.2f} MB"


def updated(text: str, tables: Mapping[str, Callable[[], str]], document: str) -> str:
    """A document with every table made anew between `<!-- table: NAME -->` and `<!-- end -->`."""
    for name, make in tables.items():
        start = f"<!-- table: {name} -->"
        if start not in text:
            sys.exit(f"{document} has no place for table {name}: {start}")
        before, rest = text.split(start, 1)
        after = rest.split(END, 1)[1]
        text = f"{before}{start}\n{make()}\n{END}{after}"
    return text
