"""What one run of a case gives, whatever ran it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from parties.bill import Bill


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One repetition.

    Attributes:
        bill: of the client; of what the case is about alone, without what brings its input in.
        seconds: online, at the client.
        offline_seconds: parties' preparation; None where a dealer deals while they run.
        dealer_seconds: None where the dealer was not timed by itself.
        setup_seconds: None where there was none.
        error: largest and mean absolute difference to float64.
        memory: largest resident size in bytes, by role.
        off: how the bill differs from the counted one, in words; empty where it does not.
        emulated_by: what made the network slow, where something outside of the parties did.
    """

    bill: Bill
    seconds: float
    offline_seconds: float | None = None
    dealer_seconds: float | None = None
    setup_seconds: float | None = None
    error: dict[str, float] = field(default_factory=dict[str, float])
    memory: dict[str, int] = field(default_factory=dict[str, int])
    off: list[str] = field(default_factory=list[str])
    emulated_by: str = ""

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {name: getattr(self, name) for name in _PLAIN} | {"bill": self.bill.to_json()}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Measured:
        """The one of `to_json`."""
        return cls(bill=Bill.from_json(document["bill"]), **{name: document[name] for name in _PLAIN})


_PLAIN = (
    *("seconds", "offline_seconds", "dealer_seconds", "setup_seconds", "error", "memory", "off"),
    "emulated_by",
)
