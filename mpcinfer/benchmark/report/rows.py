"""What a report shows of a benchmark record: totals, kinds, seconds by where they are from."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mpcinfer.benchmark.framing import line_bytes
from mpcinfer.benchmark.modelled import line_seconds, modelled
from mpcinfer.benchmark.network import Network
from mpcinfer.benchmark.record import BenchRecord
from mpcinfer.suites.registry import suite_named
from parties.bill import Bill, BillRow
from parties.errors import ConfigError, MalformedFrame

OURS = "mpcinfer"
"""Records of any other system are a peer's, and stand apart."""
_TOTALS = (
    "rounds",
    "online_bytes_to_server",
    "online_bytes_to_client",
    "offline_bytes_to_server",
    "offline_bytes_to_client",
    "setup_bytes",
)

_BYTE_PER_S = Network(name="a byte a second", bandwidth=8.0, latency=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRow:
    """A record as a report shows it.

    Attributes:
        number: its place among the rows, from 0.
        subject: what was run, the same for all rows that can be compared: kind, model, new tokens.
        label: which of these it is: the variant; without one the model, or a peer's name.
        total: of its bill.
        kinds: its bill by kind, without kinds that cost nothing; empty for bills of totals alone.
        bill: as recorded.
        streamed: its dealer deals while the parties run.
        computing: seconds of compute a label; zeros where nobody measured them.
        compute: their sum: seconds of the newest run of the same thing without a network; None where nobody
            measured it.
        seconds: the median of its repetitions; None where it has none.
    """

    number: int
    record: BenchRecord
    subject: str
    label: str
    total: BillRow
    kinds: tuple[BillRow, ...]
    bill: Bill
    streamed: bool
    computing: tuple[float, ...]
    compute: float | None
    seconds: float | None

    @property
    def online_bytes(self) -> int:
        """Both ways."""
        return self.total.online_bytes_to_server + self.total.online_bytes_to_client

    @property
    def offline_bytes(self) -> int:
        """To both parties."""
        return self.total.offline_bytes_to_server + self.total.offline_bytes_to_client

    @property
    def perplexity(self) -> float | None:
        """Of the model, where that is known."""
        return self.record.quality.get("perplexity")

    @property
    def name(self) -> str:
        """For titles and tooltips."""
        return ", ".join(filter(None, (self.label, self.record.plan, f"{self.record.tokens} tokens")))


def modelled_seconds(row: ReportRow, network: Network) -> float:
    """What the bill takes on a network, with the row's compute; see `mpcinfer.benchmark.modelled`.

    Compute counts as nothing where it was not measured.
    """
    compute = dict(zip((each.label for each in row.bill.rows), row.computing, strict=True))
    return modelled(row.bill, network, compute=compute, streamed=row.streamed).seconds


def terms(row: ReportRow) -> list[list[float]]:
    """What a page computes the same from: a list a label of seconds of compute, rounds, bytes on the line,
    and bytes of correlations that the label waits for. One list for all labels where none waits."""
    labels = [
        [seconds, float(each.rounds), line_seconds(each, _BYTE_PER_S), _dealt(each) if row.streamed else 0.0]
        for each, seconds in zip(row.bill.rows, row.computing, strict=True)
    ]
    return labels if row.streamed else [[sum(column) for column in zip(*labels, strict=True)]]


def _dealt(row: BillRow) -> float:
    return line_bytes(float(row.offline_bytes_to_server))


def report_rows(records: Iterable[BenchRecord]) -> list[ReportRow]:
    """A row for each record with a result, in order.

    Raises:
        ConfigError: a bill that is none; the message has the case.
    """
    done = [(record, _bill(record)) for record in records if not record.failed]
    runs = {
        _key(record): (record, bill) for record, bill in done if record.how == "loopback" and record.seconds
    }
    return [_row(number, *each, runs.get(_key(each[0]))) for number, each in enumerate(done)]


def ours(rows: Iterable[ReportRow]) -> list[ReportRow]:
    """Rows of this project."""
    return [row for row in rows if row.record.system == OURS]


def peers(rows: Iterable[ReportRow]) -> list[ReportRow]:
    """Rows of others' systems."""
    return [row for row in rows if row.record.system != OURS]


def plans_of(rows: Sequence[ReportRow]) -> list[str]:
    """Plans in the order in which they first occur."""
    return list(dict.fromkeys(row.record.plan for row in rows))


def _row(number: int, record: BenchRecord, bill: Bill, run: tuple[BenchRecord, Bill] | None) -> ReportRow:
    peer = record.system if record.system != OURS else ""
    compute = statistics.median(run[0].seconds) if run else None
    return ReportRow(
        number=number,
        record=record,
        subject=_subject(record),
        label=record.variant or peer or record.model,
        total=bill.total,
        kinds=tuple(row for row in bill.by_kind() if _costs(row)) if len(bill.rows) > 1 else (),
        bill=bill,
        streamed=_is_streamed(record),
        computing=_computing(bill, run[1] if run else None, compute or 0.0),
        compute=compute,
        seconds=statistics.median(record.seconds) if record.seconds else None,
    )


def _computing(bill: Bill, run: Bill | None, compute: float) -> tuple[float, ...]:
    """Compute by label, in the shares of a run; where their labels differ, all at the first."""
    spent = {row.label: row.seconds or 0.0 for row in run.rows} if run else {}
    shares = [spent.get(row.label, 0.0) for row in bill.rows]
    whole = sum(shares)
    if not whole:
        return (compute, *[0.0] * (len(shares) - 1))
    return tuple(compute * share / whole for share in shares)


def _is_streamed(record: BenchRecord) -> bool:
    try:
        return suite_named(record.plan_document.get("suite")).dealt_while_running
    except ConfigError:  # a peer, or a suite that is not installed here
        return False


def _bill(record: BenchRecord) -> Bill:
    """A record's bill; where it has totals alone, they are its only row."""
    try:
        if record.bill.get("labels"):
            return Bill.from_json(record.bill, older=True)
        total = BillRow(label="total")
        for name in _TOTALS:
            setattr(total, name, int(record.bill.get(name, 0)))
    except (MalformedFrame, TypeError, ValueError) as error:
        raise ConfigError(f"the record of {record.case!r} has no bill that can be read: {error}") from None
    return Bill(rows=[total])


def _subject(record: BenchRecord) -> str:
    more = f", {record.new_tokens} new tokens" if record.new_tokens > 1 else ""
    return f"{record.kind} of {record.model}{more}" if record.model else f"{record.kind} {record.case}{more}"


def _key(record: BenchRecord) -> tuple[Any, ...]:
    """What has to be the same for a run's compute to be another's."""
    return (
        *(record.system, record.kind, record.plan, record.model, record.variant),
        *(record.tokens, record.new_tokens, tuple(record.shape)),
    )


def _costs(row: BillRow) -> bool:
    return any(getattr(row, name) for name in _TOTALS)
