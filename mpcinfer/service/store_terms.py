"""A dealer's store, as its front, its workers and its refill are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreTerms:
    """Where it is, and its bounds.

    Attributes:
        folder: of this dealer alone.
        budget_bytes: the most that bundles take on disk.
        quota_bytes: of correlations a client may have in 24 hours; None for any number.
        expiry_s: how old a bundle may get.
    """

    folder: str
    budget_bytes: int
    quota_bytes: int | None
    expiry_s: float

    def to_document(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> StoreTerms:
        """Of `to_document`."""
        return cls(**document)

    def options(self, say: Callable[[str], None]) -> dict[str, Any]:
        """As `OpenStore.open` takes them."""
        return {
            "budget_bytes": self.budget_bytes,
            "quota_bytes": self.quota_bytes,
            "expiry_s": self.expiry_s,
            "say": say,
        }

    @property
    def path(self) -> Path:
        """The folder."""
        return Path(self.folder)
