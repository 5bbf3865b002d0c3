"""How a client that has nothing of a model gets its public part from the server, before the handshake.

    client -> server   session.public   {"version": v}
    server -> client   session.public   {"version": v, "head": bytes}, of `PublicModel.head`
    server -> client   session.public   the tokenizer's text, in frames of `_CHUNK_BYTES` and a rest

The client checks the head field by field, its SHA-256 against a digest that it may have pinned, and the text
against length and SHA-256 in the head; then the `tokenizers` library alone parses that. The handshake, in
which the server says its digest, follows on the same connection. Without a pin the client believes whoever
has the server's key. All of it is billed as control.
"""

from __future__ import annotations

import numpy as np

from mpcinfer.models.public import PublicModel
from mpcinfer.models.public_document import MOST_HEAD_BYTES, Head
from parties.errors import ConfigError, HandshakeFailed, PeerMismatch
from parties.handshake import PROTOCOL_VERSION
from parties.link import Link
from parties.meter import Phase
from parties.wire import spec_of

PUBLIC_LABEL = "session.public"
_CHUNK_BYTES = 1 << 20
_MOST_REQUEST_BYTES = 64
MOST_FIRST_BYTES = 1 << 12
"""Of a handshake, which may come first as well."""
_SOURCE = "what the server says of its model"


def fetch_public(link: Link, *, name: str, pinned: str | None = None) -> PublicModel:
    """The client's side, first on a fresh link.

    Args:
        name: what to call the model here.
        pinned: the digest that it must have, 64 hex digits; None to believe the server.

    Raises:
        HandshakeFailed: another version, or another digest than the pinned one.
        PeerMismatch: a document that cannot be used.
        PeerError: the server went away or sent what it should not.
    """
    meter = link.meter
    with meter.phase(Phase.CONTROL), meter.span("session", "control"), meter.span("public", "control"):
        link.send_document({"version": PROTOCOL_VERSION}, PUBLIC_LABEL)
        answer = link.recv_document(PUBLIC_LABEL, MOST_HEAD_BYTES + _MOST_REQUEST_BYTES)
        raw = answer.get("head")
        require_version(answer)
        if not isinstance(raw, bytes):
            raise PeerMismatch(f"{_SOURCE} has no head")
        try:
            head = Head.read(raw, _SOURCE)
            if pinned is not None and head.digest != pinned:
                raise HandshakeFailed(
                    f"the server's model is not the one that was pinned: expected digest {pinned}, got "
                    f"{head.digest}"
                )
            return head.model(_text(link, head.tokenizer_bytes), name=name, source=_SOURCE)
        except ConfigError as error:
            raise PeerMismatch(str(error)) from None


def give_public(link: Link, public: PublicModel) -> bool:
    """The server's side, first on a fresh link: waits for the client's first frame, and answers it where it
    asks for the model's public part. Whether it did.

    Raises:
        HandshakeFailed: the client is of another version.
        PeerError: the client went away or sent what it should not.
    """
    if link.next_label(MOST_FIRST_BYTES) != PUBLIC_LABEL:
        return False
    meter = link.meter
    with meter.phase(Phase.CONTROL), meter.span("session", "control"), meter.span("public", "control"):
        require_version(link.recv_document(PUBLIC_LABEL, _MOST_REQUEST_BYTES))
        text = np.frombuffer(public.text(), np.uint8)
        link.send_document({"version": PROTOCOL_VERSION, "head": public.head()}, PUBLIC_LABEL)
        for start in range(0, len(text), _CHUNK_BYTES):
            link.send([text[start : start + _CHUNK_BYTES]], 8, PUBLIC_LABEL)
    return True


def _text(link: Link, size: int) -> bytes:
    """So many bytes, as they come."""
    parts: list[bytes] = []
    for start in range(0, size, _CHUNK_BYTES):
        (part,) = link.recv([spec_of(8, (min(_CHUNK_BYTES, size - start),))], PUBLIC_LABEL)
        parts.append(part.tobytes())
    return b"".join(parts)


def require_version(document: dict[str, object]) -> None:
    """Raises HandshakeFailed where a peer's first document is of another protocol version."""
    version = document.get("version")
    if version != PROTOCOL_VERSION:
        raise HandshakeFailed(f"protocol version: expected {PROTOCOL_VERSION}, got {version!r}")
