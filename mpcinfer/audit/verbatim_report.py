"""`mpcinfer audit extraction` as sentences and a table."""

from __future__ import annotations

from collections.abc import Sequence

from mpcinfer.audit.report import AuditReport
from mpcinfer.audit.verbatim import VerbatimRow
from mpcinfer.benchmark.report.tables import Column, Table

LOWER_BOUND = (
    "Greedy answers to prefixes alone: sampling many times, or other prompts, may get more out of a model."
)


def verbatim_report(model: str, rows: Sequence[VerbatimRow], at_most: float | None) -> AuditReport:
    """All of it.

    Args:
        model: its name.
        rows: at least one.
        at_most: the largest verbatim rate that was asked for; None where none was.
    """
    worst = max(rows, key=lambda row: row.verbatim)
    lines = [
        f"{model} continues {worst.verbatim:.1%} of {worst.prefixes:,} prefixes of {worst.prefix} tokens of "
        f"{worst.text} with the text's next {worst.continuation} tokens, word for word.",
        LOWER_BOUND,
    ]
    if at_most is not None:
        verdict = "kept by every row" if worst.verbatim <= at_most else "NOT kept"
        lines.append(f"The limit of {at_most:.1%} is {verdict}.")
    return AuditReport(
        name="extraction",
        title=f"Text extracted from {model}",
        lines=lines,
        tables=[verbatim_table(rows)],
        results={"rows": rows},
    )


def verbatim_table(rows: Sequence[VerbatimRow]) -> Table:
    """A row a text and length of prefix."""
    columns = (
        *(Column("text", "text"), Column("tokens", "tokens", _whole), Column("prefix", "prefix")),
        *(Column("continuation", "continuation"), Column("prefixes", "prefixes", _whole)),
        *(Column("verbatim", "verbatim", _percent), Column("right", "tokens right", _percent)),
    )
    return Table(
        "extraction",
        "Prefixes continued word for word",
        "Verbatim: prefixes whose whole greedy continuation is the text's. Tokens right: first choices after "
        "the text before them. Text that the model never saw says what any text gets.",
        columns,
        tuple(
            (row.text, row.tokens, row.prefix, row.continuation, row.prefixes, row.verbatim, row.right)
            for row in rows
        ),
    )


def _whole(value: int) -> str:
    return f"{value:,}"


def _percent(value: float) -> str:
    return f"{value:.1%}"
