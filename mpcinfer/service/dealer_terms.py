"""How a dealer deals, as the front and its workers are told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mpcinfer.service.store_terms import StoreTerms
from parties.shaped import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class DealerTerms:
    """One dealer's configuration.

    Attributes:
        key: the dealer's .secret file.
        listen: `tcp://host:port` for servers and for clients; workers listen at the first one's host.
        timeout_s: longest silence of a party within a session.
        shaped: the network that connections behave like, as `Shape.to_text` says it.
        accept_s: how long a worker waits for its two parties.
        store: of correlations dealt ahead; None for dealing live.
    """

    key: str
    listen: tuple[str, ...]
    timeout_s: float = 600.0
    shaped: str | None = None
    accept_s: float = 30.0
    store: StoreTerms | None = None

    def to_document(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> DealerTerms:
        """Of `to_document`."""
        fields = dict(document)
        fields["listen"] = tuple(fields["listen"])
        if fields["store"] is not None:
            fields["store"] = StoreTerms.from_document(fields["store"])
        return cls(**fields)

    @property
    def shape(self) -> Shape | None:
        """What `shaped` says."""
        return None if self.shaped is None else Shape.from_text(self.shaped)
