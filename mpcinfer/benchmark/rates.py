"""How fast this machine computes: seconds a round and a byte, by suite and kind of operation.

They are fitted to measured passes of one model under one plan of each suite: a prompt's, and that of one
token, which has as many rounds and far fewer bytes. What they predict for that model and plan is what was
measured; for other protocols of the suite and for other models it is an extrapolation.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parties.bill import Bill, BillRow
from parties.errors import ConfigError

ALL = ""
"""The kind of rates that hold where a kind was not measured."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Seconds of computing.

    Attributes:
        per_round: for each round, or for a label that has none.
        per_byte: for each byte that is sent online or dealt.
    """

    per_round: float
    per_byte: float

    def seconds(self, row: BillRow) -> float:
        """What a row takes."""
        steps, size = _work(row)
        return self.per_round * steps + self.per_byte * size


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """A machine's.

    Attributes:
        model, tokens: what was measured.
        machine: in words; measured: when (UTC).
        suites: suite -> kind -> rate.
    """

    model: str
    tokens: int
    machine: str
    measured: str
    suites: Mapping[str, Mapping[str, Rate]]

    def compute(self, suite: str, bill: Bill) -> dict[str, float]:
        """Seconds by label of a pass.

        Raises:
            ConfigError: nothing of this suite was measured.
        """
        kinds = self.suites.get(suite)
        if kinds is None:
            raise ConfigError(f"no measured rates of the suite {suite}; there are {', '.join(self.suites)}")
        return {row.label: kinds.get(row.kind, kinds[ALL]).seconds(row) for row in bill.rows}

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(document: Any) -> Rates:
        """Rates of `to_json`.

        Raises:
            ConfigError: they are none.
        """
        try:
            suites = {
                str(suite): {str(kind): Rate(**rate) for kind, rate in kinds.items()}
                for suite, kinds in document["suites"].items()
            }
            return Rates(
                model=str(document["model"]),
                tokens=int(document["tokens"]),
                machine=str(document["machine"]),
                measured=str(document["measured"]),
                suites=suites,
            )
        except (KeyError, TypeError, AttributeError, ValueError):
            raise ConfigError("no rates: they have a model, tokens, a machine and suites") from None

    @staticmethod
    def read(path: Path) -> Rates:
        """Rates of a file.

        Raises:
            ConfigError: it cannot be read or has none.
        """
        try:
            return Rates.from_json(json.loads(path.read_text("utf-8")))
        except OSError as error:
            raise ConfigError(f"rates {path}: {error.strerror}") from None
        except ValueError:
            raise ConfigError(f"rates {path}: not JSON") from None


def fitted(prompt: Bill, single: Bill) -> dict[str, Rate]:
    """Rates by kind from a prompt's pass and that of one token, as measured on loopback."""
    every = [sum(_work(row)[0] for row in bill.rows) for bill in (prompt, single)]
    rates = {ALL: _fit(prompt.total, single.total, *every)}
    singles = {row.kind: (row, steps) for row, steps in _by_kind(single)}
    for row, steps in _by_kind(prompt):
        other = singles.get(row.kind)
        if row.kind and other is not None:
            rates[row.kind] = _fit(row, other[0], steps, other[1])
    return rates


def _by_kind(bill: Bill) -> list[tuple[BillRow, int]]:
    """Sums of a kind, each with how many steps its labels have."""
    groups: dict[str, tuple[BillRow, int]] = {}
    for row in bill.rows:
        total, steps = groups.get(row.kind, (BillRow(label=row.kind, kind=row.kind), 0))
        total.add(row)
        groups[row.kind] = total, steps + _work(row)[0]
    return list(groups.values())


def _fit(large: BillRow, small: BillRow, large_steps: int, small_steps: int) -> Rate:
    """The line through both; without a part that would be below zero."""
    steps = large_steps, small_steps
    sizes = _work(large)[1], _work(small)[1]
    seconds = large.seconds or 0.0, small.seconds or 0.0
    determinant = steps[0] * sizes[1] - steps[1] * sizes[0]
    if determinant:
        per_round = (seconds[0] * sizes[1] - seconds[1] * sizes[0]) / determinant
        per_byte = (steps[0] * seconds[1] - steps[1] * seconds[0]) / determinant
        if per_round >= 0 and per_byte >= 0:
            return Rate(per_round, per_byte)
        if per_round < 0:
            return Rate(0.0, sum(seconds) / max(1, sum(sizes)))
    return Rate(sum(seconds) / max(1, sum(steps)), 0.0)


def _work(row: BillRow) -> tuple[int, int]:
    """Steps and bytes."""
    size = row.online_bytes_to_server + row.online_bytes_to_client
    return max(1, row.rounds), size + row.offline_bytes_to_server + row.offline_bytes_to_client
