"""What a report shows of a benchmark record: totals, kinds, seconds by where they are from."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mpcinfer.benchmark.network import Network
from mpcinfer.benchmark.record import BenchRecord
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRow:
    """A record as a report shows it.

    Attributes:
        number: its place among the rows, from 0.
        subject: what was run, the same for all rows that can be compared: kind, model, new tokens.
        label: which of these it is: the variant; without one the model, or a peer's name.
        total: of its bill.
        kinds: its bill by kind, without kinds that cost nothing; empty for bills of totals alone.
        line_bytes: each label's bytes in its busier direction, added up: what a link with the same
            bandwidth each way is busy with.
        compute: seconds of its run without a network, or of the newest such run of the same thing; None
            where nobody measured it.
        seconds: the median of its repetitions; None where it has none.
    """

    number: int
    record: BenchRecord
    subject: str
    label: str
    total: BillRow
    kinds: tuple[BillRow, ...]
    line_bytes: int
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
    """What the bill takes on a network: compute, a latency a round, bytes over bandwidth.

    Directions have their bandwidth each, so that a label takes as long as its busier one. Compute counts as
    nothing where it was not measured. Nothing overlaps.

    Source: the alpha-beta model (Hockney, Parallel Computing 20, 1994).
    """
    sending = 0.0 if math.isinf(network.bandwidth) else 8 * row.line_bytes / network.bandwidth
    return (row.compute or 0.0) + row.total.rounds * network.latency + sending


def report_rows(records: Iterable[BenchRecord]) -> list[ReportRow]:
    """A row for each record with a result, in order.

    Raises:
        ConfigError: a bill that is none; the message has the case.
    """
    done = [record for record in records if not record.failed]
    compute = {_key(each): statistics.median(each.seconds) for each in done if _is_compute(each)}
    return [_row(number, record, compute) for number, record in enumerate(done)]


def ours(rows: Iterable[ReportRow]) -> list[ReportRow]:
    """Rows of this project."""
    return [row for row in rows if row.record.system == OURS]


def peers(rows: Iterable[ReportRow]) -> list[ReportRow]:
    """Rows of others' systems."""
    return [row for row in rows if row.record.system != OURS]


def plans_of(rows: Sequence[ReportRow]) -> list[str]:
    """Plans in the order in which they first occur."""
    return list(dict.fromkeys(row.record.plan for row in rows))


def _row(number: int, record: BenchRecord, compute: dict[Any, float]) -> ReportRow:
    bill = _bill(record)
    kinds = tuple(row for row in bill.by_kind() if _costs(row)) if len(bill.rows) > 1 else ()
    peer = record.system if record.system != OURS else ""
    slower = sum(max(row.online_bytes_to_server, row.online_bytes_to_client) for row in bill.rows)
    return ReportRow(
        number=number,
        record=record,
        subject=_subject(record),
        label=record.variant or peer or record.model,
        total=bill.total,
        kinds=kinds,
        line_bytes=slower,
        compute=compute.get(_key(record)),
        seconds=statistics.median(record.seconds) if record.seconds else None,
    )


def _bill(record: BenchRecord) -> Bill:
    """A record's bill; where it has totals alone, they are its only row."""
    try:
        if record.bill.get("labels"):
            return Bill.from_json(record.bill)
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


def _is_compute(record: BenchRecord) -> bool:
    return record.how == "loopback" and bool(record.seconds)


def _costs(row: BillRow) -> bool:
    return any(getattr(row, name) for name in _TOTALS)
