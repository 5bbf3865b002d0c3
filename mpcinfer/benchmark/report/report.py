"""From files of records to a folder with a report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from mpcinfer.benchmark.record import read_records
from mpcinfer.benchmark.report.contents import other_tables, our_tables
from mpcinfer.benchmark.report.figures import figures
from mpcinfer.benchmark.report.page import page
from mpcinfer.benchmark.report.published import read_published
from mpcinfer.benchmark.report.render import require_drawing, save
from mpcinfer.benchmark.report.rows import ours, report_rows
from mpcinfer.benchmark.report.tables import as_csv, as_latex, as_markdown
from parties.errors import ConfigError

PAGE = "report.html"
_FORMS = {"csv": as_csv, "md": as_markdown, "tex": as_latex}


def write_report(
    records: Sequence[Path],
    out: Path,
    *,
    title: str,
    published: Path | None = None,
    pictures: bool = True,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Writes report.html, FIGURE.svg, FIGURE.png, and TABLE.csv, TABLE.md, TABLE.tex.

    Args:
        records: files of benchmark records.
        out: a folder; made where there is none.
        published: a file of published numbers; None for those that come with the package.
        pictures: also SVG and PNG.
        tell: is told what was written, file by file.

    Returns:
        What was written, the page first.

    Raises:
        ConfigError: a file that cannot be read or has no records, a folder that cannot be written, or nothing
            that draws.
    """
    require_drawing()
    found = list(read_records(records))
    if not found:
        raise ConfigError(f"no records in {', '.join(map(str, records))}")
    rows = report_rows(found)
    mine = ours(rows)
    drawn, tables = figures(mine), our_tables(rows)
    others = other_tables(rows, read_published(published), [each for each in found if each.failed])
    html = page(title, mine, figures=drawn, tables=tables, others=others)
    written: list[Path] = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / PAGE).write_text(html, encoding="utf-8")
        written.append(out / PAGE)
        tell(PAGE)
        for table in (*tables, *others):
            for ending, made in _FORMS.items():
                (out / f"{table.name}.{ending}").write_text(made(table), encoding="utf-8")
                written.append(out / f"{table.name}.{ending}")
            tell(f"{table.name}.csv, .md, .tex")
        for figure in drawn if pictures else ():
            written += save(figure, out)
            tell(f"{figure.name}.svg, .png")
    except OSError as error:
        raise ConfigError(f"{out}: {error.strerror}") from None
    return written
