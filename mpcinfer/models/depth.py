"""What a homomorphic evaluation of a model would take: levels, products and rotations."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True, kw_only=True)
class DepthRow:
    """A part of a model, or one kind of operation.

    Attributes:
        depth: products of two ciphertexts, one after the other, that it adds to the longest chain.
        levels: the same with products by plaintexts counted too, each of which is rescaled.
        products, plain_products, rotations: of ciphertexts, for the packing of the report.
    """

    name: str
    depth: int = 0
    levels: int = 0
    products: int = 0
    plain_products: int = 0
    rotations: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthReport:
    """Rows by part of the model in order, and by kind of operation, whose depths are left at 0.

    Attributes:
        slots: numbers a ciphertext.
    """

    slots: int
    parts: Sequence[DepthRow]
    kinds: Sequence[DepthRow]

    @property
    def total(self) -> DepthRow:
        """The sum of all parts."""
        names = [field.name for field in dataclasses.fields(DepthRow) if field.name != "name"]
        sums = {name: sum(getattr(row, name) for row in self.parts) for name in names}
        return DepthRow(name="total", **sums)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        rows = {"parts": self.parts, "kinds": self.kinds, "total": [self.total]}
        return {"slots": self.slots} | {
            name: [dataclasses.asdict(row) for row in each] for name, each in rows.items()
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> DepthReport:
        """The report of `to_json`."""
        parts, kinds = ([DepthRow(**row) for row in document[name]] for name in ("parts", "kinds"))
        return cls(slots=document["slots"], parts=parts, kinds=kinds)
