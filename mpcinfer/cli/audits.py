"""What `mpcinfer audit` does: runs the attacks, prints tables, writes reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table as Shown

from mpcinfer.audit.defence import require_accountant
from mpcinfer.audit.gradients_report import gradients_report
from mpcinfer.audit.heads import REVEALED
from mpcinfer.audit.opened import PROMPT, WEIGHTS, audit_opened
from mpcinfer.audit.openings_report import openings_report
from mpcinfer.audit.report import AuditReport
from mpcinfer.audit.revealed import KINDS, Sizes, deficit_row, extracted_rows, revealed_row
from mpcinfer.audit.shared_gradients import inversion_row, noise_rows
from mpcinfer.audit.verbatim import verbatim_rows
from mpcinfer.audit.verbatim_report import verbatim_report
from mpcinfer.benchmark.report.tables import Table
from mpcinfer.cli.progress import Waiting
from mpcinfer.models.load import load_model
from mpcinfer.new_file import require_folder
from mpcinfer.plans import named_plan

_WIDTHS = range(2, 9)


def audit_openings(
    plans: Sequence[str], candidates: int, trials: int, prompts: int, seed: int, out: Path | None
) -> bool:
    """Whether everything that the plans open is at chance level; arguments are those of the command."""
    _require_out(out)
    console, chosen = Console(highlight=False), [named_plan(each) for each in plans]
    with console.status("") as status:
        opened = [
            audit_opened(
                plan,
                secret,
                candidates=candidates,
                trials=trials,
                seed=seed,
                say=status.update,
            )
            for plan in chosen
            for secret in (PROMPT, WEIGHTS)
        ]
        status.update("tensors of weaker protocols")
        revealed = [
            revealed_row(tensor, kind, Sizes(prompts=prompts), seed) for kind in KINDS for tensor in REVEALED
        ]
        deficits, extracted = [deficit_row(width, seed) for width in _WIDTHS], extracted_rows(seed=seed)
    _tell(console, openings_report(opened, deficits, revealed, extracted), out)
    return all(each.clean for each in opened)


def audit_gradients(texts: int, spans: int, out: Path | None, *, accountant: bool) -> None:
    """Arguments are those of the command."""
    if accountant:
        require_accountant()  # better no minutes of attacks before it fails
    _require_out(out)
    console = Console(highlight=False)
    with console.status("inverting gradients") as status:
        inversions = [inversion_row(n, pooled=pooled) for pooled in (True, False) for n in range(texts)]
        status.update("training on noised gradients")
        noise = noise_rows(texts=spans, account=accountant)
    _tell(console, gradients_report(inversions, noise), out)


def audit_extraction(
    name: str,
    texts: Sequence[Path],
    prefixes: Sequence[int],
    continuation: int,
    stride: int,
    at_most: float | None,
    out: Path | None,
) -> bool:
    """Whether no more than `at_most` is verbatim; arguments are those of the command."""
    _require_out(out)
    console, waiting, model = Console(highlight=False), Waiting(), load_model(name)
    try:
        rows = [
            row
            for path in texts
            for row in verbatim_rows(
                model,
                path,
                prefixes,
                continuation=continuation,
                stride=stride,
                on_rows=lambda what, done, of: waiting.step(what, done, of, f"{done:,} of {of:,}"),
            )
        ]
    finally:
        waiting.close()
    _tell(console, verbatim_report(model.name, rows, at_most), out)
    return at_most is None or all(row.verbatim <= at_most for row in rows)


def _require_out(out: Path | None) -> None:
    if out is not None:
        require_folder(out, "--out")


def _tell(console: Console, report: AuditReport, out: Path | None) -> None:
    for table in report.tables:
        console.print(_shown(table))
        console.print(table.text, markup=False)
    for line in report.lines:
        console.print(line, markup=False, style="bold")
    if out is not None:
        written = ", ".join(str(path) for path in report.write(out))
        console.print(f"written: {written}", markup=False, soft_wrap=True)


def _shown(table: Table) -> Shown:
    shown = Shown(title=table.title, box=None, header_style="bold", title_justify="left")
    for i, column in enumerate(table.columns):
        justify = "right" if table.is_number(i) else "left"
        shown.add_column(column.title, justify=justify, overflow="fold")
    for row in table.rows:
        shown.add_row(*table.shown(row))
    return shown
