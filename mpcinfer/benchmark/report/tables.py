"""A report's tables, and each as CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Value = str | int | float | None
Cells = Sequence[Value]


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        key: its name in CSV, with its unit.
        title: its heading elsewhere.
        show: its numbers as text; words stay as they are.
    """

    key: str
    title: str
    show: Callable[[Any], str] = str


@dataclass(frozen=True, slots=True)
class Table:
    """One table.

    Attributes:
        name: of its files.
        title, text: above it, and what it says.
        rows: a value a column; None where there is nothing.
        numbers: of the report's rows, where its rows are such; the page fills in what depends on the network.
    """

    name: str
    title: str
    text: str
    columns: tuple[Column, ...]
    rows: tuple[Cells, ...]
    numbers: tuple[int, ...] = ()

    def shown(self, row: Cells) -> list[str]:
        """A row's cells as text."""
        return [_text(column, value) for column, value in zip(self.columns, row, strict=True)]

    def is_number(self, index: int) -> bool:
        """Whether a column has numbers alone, and is aligned right."""
        values = [row[index] for row in self.rows if row[index] is not None]
        return bool(values) and not any(isinstance(value, str) for value in values)


def without_empty(table: Table) -> Table:
    """The table without columns in which no row has anything."""
    kept = [
        i for i in range(len(table.columns)) if any(row[i] is not None and row[i] != "" for row in table.rows)
    ]
    return Table(
        table.name,
        table.title,
        table.text,
        tuple(table.columns[i] for i in kept),
        tuple([row[i] for i in kept] for row in table.rows),
        table.numbers,
    )


def as_csv(table: Table) -> str:
    """Whole numbers and fractions as they are, for programs."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([column.key for column in table.columns])
    writer.writerows([["" if value is None else value for value in row] for row in table.rows])
    return file.getvalue()


def as_markdown(table: Table) -> str:
    """A table of GitHub's Markdown, numbers aligned right, under its title."""
    marks = ["---:" if table.is_number(i) else "---" for i in range(len(table.columns))]
    lines = [[column.title for column in table.columns], marks, *(table.shown(row) for row in table.rows)]
    body = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return f"**{table.title}.** {table.text}\n\n{body}\n"


def as_latex(table: Table) -> str:
    """A `table` with `tabular`, for `\\usepackage{booktabs}`."""
    aligned = "".join("r" if table.is_number(i) else "l" for i in range(len(table.columns)))
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{_latex(table.title)}. {_latex(table.text)}}}",
        rf"  \label{{tab:{table.name}}}",
        rf"  \begin{{tabular}}{{{aligned}}}",
        r"    \toprule",
        f"    {_latex_row([column.title for column in table.columns])}",
        r"    \midrule",
        *(f"    {_latex_row(table.shown(row))}" for row in table.rows),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def significant(value: int | float) -> str:
    """Three digits, without an exponent: 0.00123, 1.23, 12,300."""
    if value == 0:
        return "0"
    digits = max(0, 2 - _magnitude(value))
    return f"{round(value, 2 - _magnitude(value)):,.{digits}f}"


def _magnitude(value: int | float) -> int:
    return int(f"{abs(value):.2e}".split("e")[1])


def _text(column: Column, value: Value) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else column.show(value)


_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"} | {
    sign: f"\\{sign}" for sign in "&%$#_{}"
}


def _latex(text: str) -> str:
    return "".join(_SPECIAL.get(letter, letter) for letter in text)


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(_latex, cells)) + r" \\"
