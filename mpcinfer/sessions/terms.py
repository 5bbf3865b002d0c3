"""How a client hears what lengths a server would have prompts padded to, before the handshake.

    client -> server   session.terms   {"version": v}
    server -> client   session.terms   {"version": v, "buckets": [tokens, ...]}; none for exact lengths

First on a fresh connection, where the client asks; what else is said before the handshake follows. The
client decides: a server that asks for nothing cannot keep it from padding, and one that asks for something
gets exact lengths from a client that wants them. Sizes so close that they would tell lengths are refused.
Billed as control.
"""

from __future__ import annotations

from mpcinfer.models.buckets import Buckets
from mpcinfer.sessions.public_exchange import require_version
from parties.errors import ConfigError, PeerMismatch
from parties.handshake import PROTOCOL_VERSION
from parties.link import Link
from parties.meter import Phase

TERMS_LABEL = "session.terms"
_MOST_REQUEST_BYTES = 64
_MOST_ANSWER_BYTES = 512
_MOST_FIRST_BYTES = 1 << 12
"""Of a handshake, which may come first as well."""


def fetch_buckets(link: Link) -> Buckets:
    """The client's side: what the server asks for, to be done where it is possible.

    Raises:
        HandshakeFailed: another version.
        PeerMismatch: buckets that cannot be used, or too close to each other.
        PeerError: the server went away or sent what it should not.
    """
    meter = link.meter
    with meter.phase(Phase.CONTROL), meter.span("session", "control"), meter.span("terms", "control"):
        link.send_document({"version": PROTOCOL_VERSION}, TERMS_LABEL)
        answer = link.recv_document(TERMS_LABEL, _MOST_ANSWER_BYTES)
        require_version(answer)
        try:
            return Buckets.from_document(answer)
        except ConfigError as error:
            raise PeerMismatch(f"the server's {error}") from None


def give_buckets(link: Link, buckets: Buckets) -> bool:
    """The server's side: waits for the client's first frame, and answers it where it asks. Whether it did.

    Raises:
        HandshakeFailed: the client is of another version.
        PeerError: the client went away or sent what it should not.
    """
    if link.next_label(_MOST_FIRST_BYTES) != TERMS_LABEL:
        return False
    meter = link.meter
    with meter.phase(Phase.CONTROL), meter.span("session", "control"), meter.span("terms", "control"):
        require_version(link.recv_document(TERMS_LABEL, _MOST_REQUEST_BYTES))
        link.send_document({"version": PROTOCOL_VERSION, **buckets.to_document()}, TERMS_LABEL)
    return True
