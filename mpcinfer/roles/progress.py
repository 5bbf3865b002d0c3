"""How far a session is, for whoever waits for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the dealing is.

    Attributes:
        runs, of: passes that are ready, and passes asked for.
        dealt_bytes: what this party has received from the dealer in this session.
    """

    runs: int
    of: int
    dealt_bytes: int
