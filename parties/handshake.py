"""The first exchange on a fresh link: both ends agree on what they are about to do, or part at once.

Each end says its protocol version, role, plan and model, a random nonce, and 32 random secret bytes (the
channel is encrypted). From these both derive the session id, which every later frame carries, and keys for
randomness that the two of them have in common.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from parties.documents import to_bytes
from parties.errors import HandshakeFailed
from parties.link import Link
from parties.meter import Phase
from parties.randomness import KEY_BYTES, Randomness

PROTOCOL_VERSION = 7
HANDSHAKE_LABEL = "session.handshake"
SESSION_ID_BYTES = 16
ROLES = ("server", "client", "dealer")

_NONCE_BYTES = 16
_SECRET_BYTES = 32
MOST_HELLO_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What one end says about itself.

    Attributes:
        role: `server`, `client` or `dealer`.
        plan: hash of the plan. Both parties must give the same; None, which only a dealer may say, agrees
            with any.
        model: hash of the model's configuration; None as for `plan`.
        parent: on a party's link to a dealer, the id of the session between the two parties, so that the
            dealer sees that its two peers belong together; otherwise empty.
        version: of everything on the wire.
    """

    role: str
    plan: str | None
    model: str | None
    parent: bytes = b""
    version: int = PROTOCOL_VERSION

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise HandshakeFailed(f"a role is one of {', '.join(ROLES)}, got {self.role!r}")
        if self.role != "dealer" and (self.plan is None or self.model is None):
            raise HandshakeFailed(f"a {self.role} must name its plan and its model")


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What the two ends of a link agreed on.

    Attributes:
        id: 16 bytes, the same at both ends and fresh each time; in the header of every later frame.
        mine, peer: what each end said.
    """

    id: bytes
    mine: Hello
    peer: Hello
    _secret: bytes = field(repr=False)

    def key(self, purpose: str) -> bytes:
        """16 bytes that only the two ends of this link know: HKDF-SHA256 for a purpose, as in `AesCtrStream`.

        Both ends get the same key for the same purpose. Use every key for one stream only.
        """
        info = b"mpcinfer key: " + purpose.encode()
        return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=self.id, info=info).derive(self._secret)


def shake_hands(link: Link, mine: Hello, peer_role: str, randomness: Randomness) -> Session:
    """Agrees on a session with the peer and puts its id on the link. Both ends call it first.

    Args:
        link: fresh; nothing was sent on it.
        mine: what this end says.
        peer_role: who the other end must be.
        randomness: this end's own; gives nonce and secret.

    Raises:
        HandshakeFailed: the peer differs; says in what, expected and got.
        PeerError: what `Link.recv_document` raises.

    Cost: one exchange, billed as control.
    """
    nonce, secret = randomness.draw_bytes(_NONCE_BYTES), randomness.draw_bytes(_SECRET_BYTES)
    meter = link.meter
    with meter.span("session", "control"), meter.span("handshake", "control"), meter.phase(Phase.CONTROL):
        link.send_document({**asdict(mine), "nonce": nonce, "secret": secret}, HANDSHAKE_LABEL)
        document = link.recv_document(HANDSHAKE_LABEL, MOST_HELLO_BYTES)
    peer, peer_nonce, peer_secret = _parse(document)
    differences = _differences(mine, peer, peer_role)
    if differences:
        raise HandshakeFailed(f"{mine.role} and {peer.role} do not fit: {'; '.join(differences)}")
    sides = sorted([(mine, nonce, secret), (peer, peer_nonce, peer_secret)], key=lambda side: side[0].role)
    agreed = to_bytes([[asdict(hello), its_nonce] for hello, its_nonce, _secret in sides])
    session_id = hashlib.sha256(b"mpcinfer session: " + agreed).digest()[:SESSION_ID_BYTES]
    link.session = session_id
    common = b"".join(its_secret for _hello, _nonce, its_secret in sides)
    return Session(id=session_id, mine=mine, peer=peer, _secret=common)


def _parse(document: dict[str, Any]) -> tuple[Hello, bytes, bytes]:
    """The peer's hello, nonce and secret, every field of the right type and length."""
    version = document.get("version")
    if version != PROTOCOL_VERSION:
        raise HandshakeFailed(f"protocol version: expected {PROTOCOL_VERSION}, got {version!r}")
    types = {
        "role": str,
        "plan": str | None,
        "model": str | None,
        "parent": bytes,
        "version": int,
        "nonce": bytes,
        "secret": bytes,
    }
    wrong = [name for name, wanted in types.items() if not isinstance(document.get(name, ...), wanted)]
    if wrong or len(document) != len(types):
        raise HandshakeFailed(f"the peer's hello has missing, wrong or surplus fields: {wrong or 'surplus'}")
    nonce, secret = document.pop("nonce"), document.pop("secret")
    if len(nonce) != _NONCE_BYTES or len(secret) != _SECRET_BYTES:
        raise HandshakeFailed("the peer's nonce or secret has the wrong length")
    return Hello(**document), nonce, secret


def _differences(mine: Hello, peer: Hello, peer_role: str) -> list[str]:
    """Everything that keeps the two ends from working together."""
    found: list[str] = []
    if peer.role != peer_role:
        found.append(f"role: expected {peer_role}, got {peer.role}")
    for name, expected, got in (("plan", mine.plan, peer.plan), ("model", mine.model, peer.model)):
        if expected is not None and got is not None and expected != got:
            found.append(f"{name}: expected {expected}, got {got}")
    return found
