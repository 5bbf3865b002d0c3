"""A dealer that serves sessions from its store."""

from __future__ import annotations

import time
from pathlib import Path

from mpcinfer.roles.dealer import wanted_session
from mpcinfer.service.dealing.ledger import Ledger
from mpcinfer.service.dealing.open_store import LEDGER, OpenStore
from mpcinfer.service.dealing.session import StockedSession
from mpcinfer.service.dealing.status import DealerStatus, read_status
from mpcinfer.service.dealing.wants import Pair
from parties.link import Link


class DealerStore(OpenStore):
    """As `OpenStore`, with sessions."""

    def deal_session(
        self, server_link: Link, client_link: Link, *, server_key: str, client_key: str, client_name: str = ""
    ) -> str:
        """As `mpcinfer.roles.dealer.deal_session`, from the store where it has what the session wants.

        Args:
            server_key, client_key: public keys of the two parties, as authenticated.
            client_name: what the operator calls the client.

        Raises:
            AdmissionRefused: the client is over its quota, at the start or by now.
            ConfigError: a stored bundle cannot be read in the middle of a pass.
            HandshakeFailed, PeerMismatch, PeerClosed, PeerTimeout: as there.
        """
        session = StockedSession(self, Pair(server_key, client_key, client_name))
        session.admit()
        suite, wanted = wanted_session(server_link, client_link)
        server_link.on_sent = client_link.on_sent = session.sent
        try:
            return suite.deal_from(server_link, client_link, wanted, session)
        finally:
            server_link.on_sent = client_link.on_sent = None
            session.close()

    def status(self) -> DealerStatus:
        """What there is, and what became of the rest."""
        return read_status(self.ledger, self.now())


def status_of(folder: Path) -> DealerStatus:
    """The status of a store, whether a dealer uses it or not; raises ConfigError where there is none."""
    ledger = Ledger(folder / LEDGER, create=False)
    try:
        return read_status(ledger, time.time())
    finally:
        ledger.close()
