"""Asking for a session, first on a fresh link to a server or to a dealer.

    party -> front   session.admission   {"version": v, "role": r, "parent": id, "ticket": t, "context": n}
    front -> party   session.admission   {"here": true}: the session follows on this link
                                         {"wait": place, "ticket": t}: ask again, at once; the front answers
                                         when something changes, and after a few seconds anyway
                                         {"port": p}: a worker awaits this party there, at the same host,
                                         or with "host": h at that one
                                         {"refused": reason, "message": text, "retry_s": s}

All of it is billed as control where the session follows on the same link, and in no session's bill otherwise.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from parties import refusals
from parties.channel import Channel
from parties.errors import AdmissionRefused, HandshakeFailed, PeerClosed, PeerMismatch, PeerTimeout
from parties.handshake import PROTOCOL_VERSION, SESSION_ID_BYTES
from parties.link import Link
from parties.meter import Meter, Phase

ADMISSION_LABEL = "session.admission"
TICKET_BYTES = 16
MOST_ADMISSION_BYTES = 1024
WORKER_S = 20.0
"""A worker listens before its port is told: who does not reach it in so many seconds asks again."""
Dial = Callable[[str, float | None], Channel]
HOLD_S = 4.0
"""A front answers within so many seconds, that there is nothing new if nothing else."""
PATIENCE_S = 600.0
"""How long a party waits in a queue where nobody says."""
_ROLES = ("server", "client")
_MOST_CONTEXT = 1 << 31
_MOST_NAME = 253
_LABEL = r"(?!\d[^.]*$)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
"""The last one of a name begins with no digit, or it would be an address in another notation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a party asks for.

    Attributes:
        role: of the party, `server` or `client`.
        parent: at a dealer, the id of the session between the two parties, 16 bytes; empty at a server.
        ticket: what the front gave with a place in its queue; empty the first time.
        context: the most tokens that the session will hold; 0 where that is not known.
    """

    role: str
    parent: bytes = b""
    ticket: bytes = b""
    context: int = 0

    def to_document(self) -> dict[str, Any]:
        """As it is sent."""
        return {
            "version": PROTOCOL_VERSION,
            "role": self.role,
            "parent": self.parent,
            "ticket": self.ticket,
            "context": self.context,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Request:
        """What a peer asks for, checked.

        Raises:
            AdmissionRefused: another version, or not what a request is.
        """
        if document.get("version") != PROTOCOL_VERSION:
            raise AdmissionRefused(
                "version", f"protocol version: expected {PROTOCOL_VERSION}, got another; install the same"
            )
        match document:
            case {
                "role": str() as role,
                "parent": bytes() as parent,
                "ticket": bytes() as ticket,
                "context": int() as context,
            } if (
                len(document) == 5
                and role in _ROLES
                and len(parent) in (0, SESSION_ID_BYTES)
                and len(ticket) in (0, TICKET_BYTES)
                and type(context) is int
                and 0 <= context < _MOST_CONTEXT
            ):
                return cls(role=role, parent=parent, ticket=ticket, context=context)
            case _:
                raise AdmissionRefused("malformed", "a request has a role, a parent, a ticket and a context")


def seek(
    dial: Dial,
    endpoint: str,
    request: Request,
    *,
    rank: int | None = None,
    on_wait: Callable[[int], None] | None = None,
    patience_s: float = PATIENCE_S,
) -> Link:
    """A fresh link to whoever serves the session: to the endpoint itself, or to a worker behind it.

    A worker that cannot be reached has died since: the front is asked once more.

    Args:
        dial: connects to an endpoint; for so many seconds at most, or as long as usual.
        endpoint: `tcp://host:port`.
        rank: of the link, as for `Link`.
        on_wait: is told the place in the queue, from 1, whenever that is said.
        patience_s: how long to wait in the queue.

    Raises:
        AdmissionRefused: not now; the error says why and when to try again.
        PeerTimeout: still in the queue after `patience_s`.
        PeerError: the front went away or sent what it should not; what `dial` raises.
    """
    give_up = time.monotonic() + patience_s
    for last in (False, True):
        found = _admitted(dial, endpoint, request, rank, on_wait, give_up)
        if isinstance(found, Link):
            return found
        try:
            return Link(dial(found, WORKER_S), Meter(), rank)
        except (PeerTimeout, HandshakeFailed):
            if last:
                raise
    raise AssertionError("unreachable")


def _admitted(
    dial: Dial,
    endpoint: str,
    request: Request,
    rank: int | None,
    on_wait: Callable[[int], None] | None,
    give_up: float,
) -> Link | str:
    """The link on which the session follows, or the endpoint of the worker that awaits this party.

    A connection that is lost while the party waits is made anew, once: the ticket keeps its place.
    """
    ticket, lost = b"", False
    while True:
        with ExitStack() as unless_here:
            link = unless_here.enter_context(Link(dial(endpoint, None), Meter(), rank))
            try:
                while True:
                    answer = _ask(link, dataclasses.replace(request, ticket=ticket))
                    match answer:
                        case {"here": True}:
                            unless_here.pop_all()
                            return link
                        case {"port": int() as port} if type(port) is int and 0 < port < 1 << 16:
                            return worker_endpoint(endpoint, answer.get("host"), port)
                        case {"wait": int() as place, "ticket": bytes() as ticket} if (
                            len(ticket) == TICKET_BYTES and place > 0
                        ):
                            lost = False
                            if on_wait is not None:
                                on_wait(place)
                        case {"refused": _}:
                            raise refusals.from_document(answer)
                        case _:
                            raise PeerMismatch(f"{ADMISSION_LABEL}: the answer is none")
                    if time.monotonic() > give_up:
                        raise PeerTimeout(f"still in the queue of {endpoint}, for too long")
            except PeerClosed:
                if lost or not ticket:
                    raise
                lost = True


def answer_here(link: Link, most_bytes: int) -> None:
    """The side of a party that serves one session, first on a fresh link: it answers a peer that asks for
    admission that the session follows here, and leaves any other frame where it is.

    Args:
        most_bytes: that the first frame may have where it is another.

    Raises:
        AdmissionRefused: the peer is of another version; it was told.
        PeerError: the peer went away or sent what it should not.
    """
    if link.next_label(max(most_bytes, MOST_ADMISSION_BYTES)) != ADMISSION_LABEL:
        return
    meter = link.meter
    with meter.phase(Phase.CONTROL), meter.span("session", "control"), meter.span("admission", "control"):
        document = link.recv_document(ADMISSION_LABEL, MOST_ADMISSION_BYTES)
        try:
            Request.from_document(document)
        except AdmissionRefused as refused:
            link.send_document(refusals.to_document(refused), ADMISSION_LABEL)
            raise
        link.send_document({"here": True}, ADMISSION_LABEL)


def _ask(link: Link, request: Request) -> dict[str, Any]:
    meter = link.meter
    with meter.phase(Phase.CONTROL), meter.span("session", "control"), meter.span("admission", "control"):
        link.send_document(request.to_document(), ADMISSION_LABEL)
        return link.recv_document(ADMISSION_LABEL, MOST_ADMISSION_BYTES)


def worker_endpoint(endpoint: str, host: object, port: int) -> str:
    """The endpoint of a worker behind a front.

    Only an authenticated front says it, and whoever answers there must have the front's own key: a front
    cannot send a party to somebody else, but could have it knock at any address. So a front elsewhere sends
    nobody to addresses that mean something else on every machine: loopback, link-local, multicast.

    Args:
        endpoint: of the front.
        host: an IP address or a DNS name; None for the front's own host.

    Raises:
        PeerMismatch: it is neither, or such an address.
    """
    if host is None:
        return re.sub(r":[^:\]]*$", f":{port}", endpoint)
    own = endpoint.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    if not isinstance(host, str) or not (_is_name(host) or _address(host)):
        raise PeerMismatch(f"{ADMISSION_LABEL}: the worker's host is neither an IP address nor a DNS name")
    if _means_oneself(host) and not _means_oneself(own):
        raise PeerMismatch(f"{ADMISSION_LABEL}: a front elsewhere sends nobody to {host}")
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An IP address, without a zone; None for anything else."""
    try:
        return None if "%" in host else ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_name(host: str) -> bool:
    return len(host) <= _MOST_NAME and re.fullmatch(rf"{_LABEL}(\.{_LABEL})*", host) is not None


def _means_oneself(host: str) -> bool:
    """Whether a host is another one on every machine, or none."""
    address = _address(host)
    if address is None:
        return host.lower().rstrip(".").rpartition(".")[2] == "localhost"
    embedded = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    address = embedded or address
    return address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified
