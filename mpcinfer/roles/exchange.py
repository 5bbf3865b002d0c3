"""The conversation around a private run: which step is next, and the bills at the end.

    client -> server   session.step   {"tokens": T, "restart": bool}, before each forward pass; T = 0 ends
    server -> client   session.bill   the server's bill, once, at the end
    client -> server   session.end    {}: the client has what it wants, the connection may go

These are control frames: they reveal how many tokens each step has and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mpcinfer.roles.party import PrivateSession
from parties.bill import Bill, BillRow
from parties.errors import PeerMismatch
from parties.link import Link
from parties.meter import Phase

_STEP, _BILL, _END = "session.step", "session.bill", "session.end"
_AGREED = (
    "rounds",
    "online_bytes_to_server",
    "online_bytes_to_client",
    "offline_bytes_to_server",
    "offline_bytes_to_client",
    "setup_bytes",
    "setup_rounds",
)


def serve_steps(link: Link, session: PrivateSession) -> Bill:
    """The server's side: follows the client's steps until it ends the session.

    Returns:
        The server's bill.

    Raises:
        PeerMismatch: the client asked for a step that the context cannot hold.
        PeerError: the client went away or sent what it should not.
    """
    while True:
        tokens, restart = _next_step(link, session)
        if restart:
            session.restart()
        if tokens == 0:
            break
        session.advance(None, tokens)
    bill = link.meter.bill()
    with link.meter.phase(Phase.CONTROL), link.meter.span("session", "control"):
        link.send_document(bill.to_json(), _BILL)
        link.recv_document(_END, max_bytes=16)
    return bill


def _next_step(link: Link, session: PrivateSession) -> tuple[int, bool]:
    with link.meter.phase(Phase.CONTROL), link.meter.span("session", "control"):
        document = link.recv_document(_STEP, max_bytes=256)
    tokens, restart = document.get("tokens"), document.get("restart")
    if type(tokens) is not int or type(restart) is not bool:
        raise PeerMismatch("a step must say how many tokens it has and whether it starts afresh")
    room = session.context - (0 if restart else session.length)
    if not 0 <= tokens <= room:
        raise PeerMismatch(f"the client asked for {tokens} tokens, the context has room for {room}")
    return tokens, restart


class StepClient:
    """The client's side: announces each step, then runs it with the server."""

    def __init__(self, link: Link, session: PrivateSession) -> None:
        self._link, self._session = link, session
        self._restart = False

    def restart(self) -> None:
        """The next step starts a new sequence."""
        self._restart = True
        self._session.restart()

    def step(self, ids: Sequence[int]) -> torch.Tensor:
        """Runs new tokens; logits [V] of the token after them.

        Raises:
            PeerError: the server went away or sent what it should not.
        """
        self._announce(len(ids))
        logits = self._session.advance(ids, len(ids))
        assert logits is not None
        return logits

    def finish(self) -> Bill:
        """Ends the steps; this party's bill, confirmed by the server's. The server waits for `part`.

        Raises:
            PeerMismatch: the two bills disagree on what was exchanged.
        """
        self._announce(0)
        meter = self._link.meter
        with meter.phase(Phase.CONTROL), meter.span("session", "control"):
            its = Bill.from_json(self._link.recv_document(_BILL))
        bill = checked(meter.bill(), its)
        bill.notes.extend(self._session.notes)
        return bill

    def part(self) -> None:
        """Lets the server go; after `finish`."""
        with self._link.meter.phase(Phase.CONTROL):
            self._link.send_document({}, _END)

    def _announce(self, tokens: int) -> None:
        meter = self._link.meter
        with meter.phase(Phase.CONTROL), meter.span("session", "control"):
            self._link.send_document({"tokens": tokens, "restart": self._restart}, _STEP)
        self._restart = False


def checked(client: Bill, server: Bill) -> Bill:
    """The client's bill, which the server's must confirm: both metered the same frames.

    Raises:
        PeerMismatch: a label's rounds or bytes differ, or a label has a bill at one party only.
    """
    theirs = {row.label: row for row in server.rows}
    for row in client.rows:
        other = theirs.pop(row.label, BillRow(label=row.label))
        for name in _AGREED:
            mine, its = getattr(row, name), getattr(other, name)
            if mine != its:
                raise PeerMismatch(f"{row.label}: {name} is {mine} here and {its} at the server")
    surplus = [row.label for row in theirs.values() if any(getattr(row, name) for name in _AGREED)]
    if surplus:
        raise PeerMismatch(f"only the server has a bill for {surplus[0]}")
    client.notes.extend(note for note in server.notes if note not in client.notes)
    return client
