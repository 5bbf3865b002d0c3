"""Private runs pass by pass: a prompt, and tokens after it, each with its seconds and its own bill."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields

from mpcinfer.roles.client import PrivateClient
from parties.bill import Bill, BillRow
from parties.errors import ConfigError

_TEXT = (
    "def read_lines(path):\n    with open(path) as file:\n        return [line.strip() for line in file]\n"
)
Tell = Callable[[str], None]


@dataclass(slots=True)
class Passes:
    """Passes of one kind.

    Attributes:
        seconds: of each, online, as the client waited for it.
        bills: what each added to the client's bill.
    """

    seconds: list[float] = field(default_factory=list[float])
    bills: list[Bill] = field(default_factory=list[Bill])

    def add(self, seconds: float, bill: Bill) -> None:
        """One more."""
        self.seconds.append(seconds)
        self.bills.append(bill)

    def extend(self, other: Passes) -> None:
        """Those of another session."""
        self.seconds.extend(other.seconds)
        self.bills.extend(other.bills)

    @property
    def median(self) -> float:
        """Of the seconds.

        Raises:
            ConfigError: there are none.
        """
        if not self.seconds:
            raise ConfigError("no pass was measured: the answer ended before its second token")
        return statistics.median(self.seconds)

    def bill(self) -> Bill:
        """A typical pass: rounds and bytes of the last one; each label's seconds are a median, and all are
        scaled so that they add up to the median of the passes."""
        rows: list[BillRow] = []
        for row in self.bills[-1].rows:
            seconds = [_seconds(bill, row.label) for bill in self.bills]
            copy = BillRow(label=row.label, kind=row.kind)
            copy.add(row)
            copy.seconds = statistics.median(seconds)
            rows.append(copy)
        scale = self.median / (sum(row.seconds or 0.0 for row in rows) or 1.0)
        for row in rows:
            row.seconds = (row.seconds or 0.0) * scale
        return Bill(rows=rows)


def _seconds(bill: Bill, label: str) -> float:
    return next((row.seconds or 0.0 for row in bill.rows if row.label == label), 0.0)


def measure(client: PrivateClient, tokens: int, new_tokens: int, repeat: int) -> tuple[Passes, Passes]:
    """Answers to a prompt of so many tokens: the prompts' passes, and those of one token after them.

    What a dealer can deal ahead is dealt and prepared before the clock runs.

    Raises:
        ConfigError: no text of so many tokens is at hand, or they do not fit the session.
    """
    prompt = text_of(client.public.tokenizer.encode, tokens)
    prompts, singles = Passes(), Passes()
    for _ in range(repeat):
        client.prepare(tokens, new_tokens)
        marks: list[tuple[float, Bill, float]] = []

        def mark(text: str = "", marks: list[tuple[float, Bill, float]] = marks) -> None:
            came = time.perf_counter()
            marks.append((came, client.bill_so_far(), time.perf_counter()))

        mark()
        client.complete(prompt, max_new_tokens=new_tokens, on_text=mark)
        for index in range(1, len(marks)):
            (_, before, started), (ended, after, _) = marks[index - 1], marks[index]
            (prompts if index == 1 else singles).add(ended - started, difference(before, after))
    return prompts, singles


def text_of(encode: Callable[[str], Sequence[int]], tokens: int) -> str:
    """Some Python of exactly so many tokens.

    Raises:
        ConfigError: none was found.
    """
    text = _TEXT
    while len(encode(text)) < tokens:
        text += _TEXT
    for end in range(len(text), 0, -1):
        length = len(encode(text[:end]))
        if length == tokens:
            return text[:end]
        if length < tokens - 8:
            break
    raise ConfigError(f"no prompt of exactly {tokens} tokens at hand; try one more or one less")


def difference(before: Bill, after: Bill) -> Bill:
    """What was billed in between; labels without any of it are left out."""
    known = {row.label: row for row in before.rows}
    rows: list[BillRow] = []
    for row in after.rows:
        old, new = known.get(row.label, BillRow(label=row.label)), BillRow(label=row.label, kind=row.kind)
        for each in fields(BillRow):
            if each.name in ("label", "kind"):
                continue
            late, early = getattr(row, each.name), getattr(old, each.name)
            setattr(new, each.name, late if late is None or early is None else late - early)
        if any(getattr(new, each.name) for each in fields(BillRow) if each.name not in ("label", "kind")):
            rows.append(new)
    return Bill(rows=rows)
