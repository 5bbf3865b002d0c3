"""Who watches sessions come and go: a role tells it, and does nothing else for it."""

from __future__ import annotations

from parties.bill import Bill
from parties.errors import MpcInferError


class Watch:
    """Is told what becomes of sessions. This one keeps nothing."""

    def listening(self) -> None:
        """Whoever comes from now on is let in."""

    def session_started(self) -> None:
        """A client is there."""

    def session_ended(self, bill: Bill | None) -> None:
        """The session that started is over; a dealer has no bill."""

    def session_failed(self, error: MpcInferError) -> None:
        """The session that started, or somebody who came for one, ended with an error."""
