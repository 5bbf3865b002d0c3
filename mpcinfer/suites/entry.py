"""A line of the catalogue: what one protocol or gate costs, and what its documentation says."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from parties.bill import Bill, BillRow

SAMPLE = "sample"
"""The label under which a sample is counted."""
CORRELATIONS = "correlations"
"""That of correlations which are made for many places at once, wherever in a model these are."""


class ErrorKind(StrEnum):
    """What a stated error is of."""

    ABSOLUTE = "absolute"
    RELATIVE = "relative"
    UNITS = "units of the last place"


@dataclass(frozen=True, slots=True)
class StatedError:
    """The largest error that a protocol states; 0 where it is exact."""

    value: float
    kind: ErrorKind = ErrorKind.ABSOLUTE

    def __str__(self) -> str:
        if not self.value:
            return "exact"
        if self.kind is ErrorKind.UNITS:
            return f"{self.value:g} unit"
        return f"{self.value:.2g}{' rel' if self.kind is ErrorKind.RELATIVE else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleCost:
    """What a counted sample costs.

    Attributes:
        element: what bits are counted for: an element, a score, a row, a token.
        rounds: of the whole sample.
        online_bits_to_server, online_bits_to_client, offline_bits_to_server, offline_bits_to_client: for one
            element; what the sample rounds up to bytes, or has once for many elements, is spread over them.
    """

    element: str
    rounds: int
    online_bits_to_server: float
    online_bits_to_client: float
    offline_bits_to_server: float
    offline_bits_to_client: float

    @classmethod
    def of(cls, bill: Bill, elements: int, element: str) -> SampleCost:
        """From a bill's rows under the labels `SAMPLE` and `CORRELATIONS`."""
        total = BillRow(label=SAMPLE)
        for row in bill.rows:
            if row.label.split(".")[0] in (SAMPLE, CORRELATIONS):
                total.add(row)
        return cls(
            element=element,
            rounds=total.rounds,
            online_bits_to_server=8 * total.online_bytes_to_server / elements,
            online_bits_to_client=8 * total.online_bytes_to_client / elements,
            offline_bits_to_server=8 * total.offline_bytes_to_server / elements,
            offline_bits_to_client=8 * total.offline_bytes_to_client / elements,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One protocol on its suite's sample.

    Attributes:
        operation: the field of a plan; for a gate its reason, as in frame labels.
        name: as in `--set operation=name`; for a gate its class.
        summary: the first sentence of its documentation.
        error: None where documentation and class state none.
        source: from the documentation.
        reveals: what a party learns by design of whoever chooses it; empty where nothing.
    """

    suite: str
    operation: str
    name: str
    summary: str
    security: str
    cost: SampleCost
    error: StatedError | None
    source: str
    reveals: str = ""

    def to_json(self) -> dict[str, Any]:
        """As plain values in one map; the error as its value and what it is of, or None."""
        fields = dataclasses.asdict(self)
        fields |= fields.pop("cost")
        error = self.error
        fields["error"] = None if error is None else {"value": error.value, "of": str(error.kind)}
        return fields

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Entry:
        """The entry of `to_json`."""
        costs = {field.name: document[field.name] for field in dataclasses.fields(SampleCost)}
        fields = {name: value for name, value in document.items() if name not in costs}
        if (error := fields.pop("error")) is not None:
            error = StatedError(error["value"], ErrorKind(error["of"]))
        return cls(**fields, cost=SampleCost(**costs), error=error)


def summary_of(*documented: object) -> str:
    """The first paragraph of the first documentation there is, up to its first full stop."""
    for each in documented:
        paragraph = " ".join(_documentation(each).split("\n\n")[0].split())
        if paragraph:
            return re.split(r"(?<=[.:;]) ", paragraph)[0].rstrip(".:;")
    return ""


def source_of(*documented: object) -> str:
    """What follows `Source:` in the first documentation that has it, up to its first full stop or `;`."""
    for each in documented:
        text = _documentation(each)
        if "Source:" in text:
            paragraph = text.split("Source:", 1)[1].split("\n\n")[0]
            return re.split(r"(?<=[.;]) (?=[A-Za-z])", " ".join(paragraph.split()))[0].rstrip(".;")
    return ""


def _documentation(documented: object) -> str:
    """A text as it stands; otherwise what a class, function or module says of itself, not of its base."""
    if isinstance(documented, str):
        return documented
    return inspect.cleandoc(getattr(documented, "__doc__", None) or "")
