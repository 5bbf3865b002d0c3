"""Bills and lists as tables in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from parties.bill import Bill, BillRow


def human_bytes(count: int) -> str:
    """Bytes with three digits and a decimal unit: 999 B, 12.3 kB, 4.57 MB."""
    if count < 1000:
        return f"{count} B"
    size = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        size /= 1000
        if size < 999.5 or unit == "TB":
            digits = 2 if size < 9.995 else 1 if size < 99.95 else 0
            return f"{size:.{digits}f} {unit}"
    raise AssertionError("unreachable")


_COLUMNS: list[tuple[str, Callable[[BillRow], str]]] = [
    ("rounds", lambda row: f"{row.rounds:,}"),
    ("online\nto server", lambda row: human_bytes(row.online_bytes_to_server)),
    ("online\nto client", lambda row: human_bytes(row.online_bytes_to_client)),
    ("offline", lambda row: human_bytes(row.offline_bytes_to_server + row.offline_bytes_to_client)),
    ("offline\nrounds", lambda row: f"{row.offline_rounds:,}"),
    ("setup", lambda row: human_bytes(row.setup_bytes)),
    ("wire", lambda row: human_bytes(row.wire_bytes_to_server + row.wire_bytes_to_client)),
    ("seconds", lambda row: "" if row.seconds is None else f"{row.seconds:.2f}"),
]


_SPARED = ("offline\nrounds", "wire", "setup")
"""Columns that a narrow terminal goes without, in this order."""


def bill_table(title: str, rows: Sequence[BillRow], total: BillRow, without: Collection[str] = ()) -> Table:
    """A bill's rows under one total. Columns that are empty for every row are left out, and empty rows."""
    table = Table(title=title, title_justify="left", show_footer=True, header_style="bold", box=None)
    shown = [(name, show) for name, show in _COLUMNS if name not in without]
    used = [(name, show) for name, show in shown if show(total) not in ("0 B", "0", "")]
    table.add_column("", footer="total", no_wrap=True)
    for name, show in used:
        table.add_column(name, footer=show(total), justify="right", no_wrap=True)
    for row in rows:
        cells = [_blank_zero(show(row)) for _, show in used]
        if any(cells):
            table.add_row(row.label, *cells)
    return table


def print_bill(console: Console, bill: Bill, *, layers: bool = False, labels: bool = False) -> None:
    """The bill by nonlinearity; by layer and by label where asked for; then its notes."""
    total = bill.total
    _print_whole(console, "The bill, by kind of operation", bill.by_kind(), total)
    if layers:
        console.print()
        _print_whole(console, "The bill, by layer", bill.by_layer(), total)
    if labels:
        console.print()
        _print_whole(console, "The bill, by label", bill.rows, total)
    if total.offline_seconds is not None:
        console.print(f"offline: {total.offline_seconds:.2f} s, ahead of the input or beside it", style="dim")
    for note in bill.notes:
        printable = "".join(letter for letter in note if letter.isprintable())  # some come from the peer
        console.print(f"note: {printable}", style="yellow", markup=False)


def _print_whole(console: Console, title: str, rows: Sequence[BillRow], total: BillRow) -> None:
    """A table none of whose numbers is cut: in a narrow terminal with fewer columns, elsewhere as wide as it
    is."""

    def width_of(table: Table) -> int:
        return Measurement.get(console, console.options.update(width=10_000), table).maximum

    table, spared = bill_table(title, rows, total), list[str]()
    while console.is_terminal and width_of(table) > console.width and len(spared) < len(_SPARED):
        spared.append(_SPARED[len(spared)])
        table = bill_table(title, rows, total, spared)
    usual, console.width = console.width, max(width_of(table), console.width)
    console.print(table, crop=False)
    console.width = usual
    if spared:
        names = ", ".join(name.replace("\n", " ") for name in spared)
        console.print(f"left out for a terminal of {console.width} columns: {names}", style="dim")


def _blank_zero(text: str) -> str:
    return "" if text in ("0 B", "0", "0.00") else text
