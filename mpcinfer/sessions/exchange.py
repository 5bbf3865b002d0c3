"""The conversation around a private run: which pass is next, what to prepare, and the bills at the end.

    client -> server   session.step   {"start": s, "tokens": T, "rows": R}: the next pass; tokens from s
                                      on are forgotten, and logits opened after the last R of the T; of
                                      several sequences also "batch": how many
                                      {"start": s, "prepare": [T, ...], "rows": R, "settle": bool}: passes
                                      that may come
                                      {"end": true}
    server -> client   session.bill   the server's bill, once, at the end
    client -> server   session.end    {}: the client has what it wants, the connection may go

These are control frames: they reveal how many tokens each pass has, after how many of them the client wants
to know what comes next, and how many are forgotten again; nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch

from mpcinfer.models.batch import Batch
from mpcinfer.models.column_weights import ColumnWeights
from mpcinfer.sessions.session import PrivateSession
from mpcinfer.sessions.session_config import IDLE_S, idle_timeout
from mpcinfer.sessions.step_limits import UNLIMITED, StepCount, StepLimits
from parties.bill import Bill, BillRow
from parties.errors import AdmissionRefused, PeerClosed, PeerMismatch
from parties.link import Link
from parties.meter import Phase
from parties.shaped import Shaped
from parties.tcp import TcpChannel
from parties.wire import Frame

_STEP, _BILL, _END = "session.step", "session.bill", "session.end"
_REFUSAL_S = 2.0
_MAX_STEP_BYTES = 1 << 15
_AGREED = (
    "rounds",
    "online_bytes_to_server",
    "online_bytes_to_client",
    "offline_bytes_to_server",
    "offline_bytes_to_client",
    "offline_rounds",
    "setup_bytes",
    "setup_rounds",
)


def serve_steps(
    link: Link, session: PrivateSession, idle_s: float = IDLE_S, limits: StepLimits = UNLIMITED
) -> Bill:
    """The server's side: follows the client's steps until it ends the session.

    Args:
        idle_s: the longest silence of the client before a step.
        limits: what the session may take.

    Returns:
        The server's bill.

    Raises:
        PeerMismatch: the client asked for a step that the context cannot hold.
        PeerError: the client went away, said nothing, or sent what it should not.
        AdmissionRefused: the session went beyond a limit; the client was told.
    """
    count = StepCount(limits)
    try:
        if limits.context is not None:
            count.require_context(session.context)
        while _follow(link, session, idle_s, count):
            pass
    except AdmissionRefused as refused:
        link.refuse(refused)
        raise
    session.finish()
    bill = link.meter.bill()
    with link.meter.phase(Phase.CONTROL), link.meter.span("session", "control"):
        link.send_document(bill.to_json(), _BILL)
        link.recv_document(_END, max_bytes=16)
    return bill


def _follow(link: Link, session: PrivateSession, idle_s: float, count: StepCount) -> bool:
    """One step of the client's; False when it was the end."""
    with link.meter.phase(Phase.CONTROL), link.meter.span("session", "control"), idle_timeout(link, idle_s):
        document = link.recv_document(_STEP, _MAX_STEP_BYTES)
    match document:
        case {"end": True}:
            return False
        case {"start": int() as start, "tokens": int() as tokens, "rows": int() as rows}:
            _require_room(session, start, [tokens], rows)
            _require_batch(session, document)
            count.require([tokens])
            _at(session, start)
            session.advance(None, tokens, rows)
            count.ran(tokens)
        case {"start": int() as start, "prepare": list(), "rows": int() as rows, "settle": bool() as settle}:
            lengths = _lengths(document)
            _require_room(session, start, lengths, rows, session.prepared_end)
            count.require(lengths)
            _prepare(session, start, lengths, rows, settle)
        case _:
            raise PeerMismatch("a step says how many tokens it has, what to prepare, or that it is the end")
    return True


def _lengths(document: dict[str, Any]) -> list[int]:
    lengths = cast(list[object], document["prepare"])
    if not lengths or not all(type(tokens) is int for tokens in lengths):
        raise PeerMismatch("what is to be prepared is a list of numbers of tokens")
    return cast(list[int], lengths)


def _require_room(
    session: PrivateSession, start: int, lengths: Sequence[int], rows: int, end: int | None = None
) -> None:
    """Passes follow tokens that the session holds, or `end`, fit its maximum context, and have as many
    rows."""
    if not (session.first <= start <= session.length or start == end):
        raise PeerMismatch(f"a step from token {start} on, after {session.length}")
    room, tokens = session.context - start, sum(lengths)
    if min(lengths) < 1 or tokens > room:
        raise PeerMismatch(f"the client asked for {tokens} tokens, the context has room for {room}")
    if not 1 <= rows <= min(lengths):
        raise PeerMismatch(f"the client asked for logits after {rows} of {min(lengths)} tokens")


def _require_batch(session: PrivateSession, document: dict[str, Any]) -> None:
    """A step has as many sequences as the session."""
    if document.get("batch", 1) != session.batch.size:
        raise PeerMismatch(
            f"a step of {document.get('batch', 1)!r} sequences, the session has {session.batch.size}"
        )


def _at(session: PrivateSession, start: int) -> None:
    """Forgets tokens from `start` on."""
    if start != session.length:
        session.rewind(start)


def _prepare(session: PrivateSession, start: int, lengths: Sequence[int], rows: int, settle: bool) -> None:
    """Asks for passes; where they do not follow those asked for before, those are given up."""
    if start != session.prepared_end:
        session.rewind(start)
    session.prepare(lengths, rows)
    if settle:
        session.settle()


class StepClient:
    """The client's side: announces each step, then runs it with the server."""

    def __init__(self, link: Link, session: PrivateSession) -> None:
        self._link, self._session = link, session
        self._start = session.length
        self._more = 0

    @property
    def length(self) -> int:
        """Tokens that the next step follows."""
        return self._start

    @property
    def context(self) -> int:
        """The most tokens the session can hold."""
        return self._session.context

    @property
    def batch(self) -> Batch:
        """The sequences of every step."""
        return self._session.batch

    @property
    def first_tokens(self) -> int | None:
        """Tokens of the step that a conversation begins with; see `PrivateSession.first_tokens`."""
        return self._session.first_tokens

    def pad(self, padding: Sequence[int]) -> None:
        """How many tokens at the start of each sequence are padding; from the next first token on."""
        self._session.padding = padding

    def weigh(self, columns: ColumnWeights | None) -> None:
        """Weights of keys, see `PrivateSession.weigh`. The server is told nothing."""
        self._session.weigh(columns)

    @property
    def apart(self) -> bool:
        """See `PrivateSession.apart`."""
        return self._session.apart

    @property
    def on_demand(self) -> bool:
        """Whether passes can be asked for that nobody foresaw; see `PrivateSession.on_demand`."""
        return self._session.on_demand

    def rewind(self, length: int) -> None:
        """The next step follows the first `length` tokens; what came after them is forgotten."""
        assert self._session.first <= length <= self._start, f"{length} of {self._start} tokens"
        self._start = length

    def restart(self) -> None:
        """The next step starts a new sequence, after a public prefix where there is one."""
        self.rewind(self._session.first)

    def expect(self, steps: int) -> None:
        """How many steps of one token may follow the next step: passes to prepare ahead of time."""
        self._more = steps

    def prepare(self, lengths: Sequence[int]) -> None:
        """Prepares passes of these lengths after the tokens so far, and waits until they are ready.

        Raises:
            CorrelationExhausted: there are no correlations for them.
            PeerError: the server or the dealer went away or sent what it should not.
        """
        with self._hearing():
            self._ask(self._start, lengths, settle=True)

    def step(self, ids: Sequence[int], rows: int = 1, *, then: int = 0) -> torch.Tensor:
        """Runs new tokens; logits [rows, V] of what comes after each of the last `rows` of them.

        Args:
            ids: of several sequences one after the other, each with as many; logits then are [B * rows, V].
            then: of how many tokens, a row each, the next step will most likely be if it follows this one: it
                is dealt for meanwhile, and given up if it does not come. 0 for what `expect` says.

        Raises:
            CorrelationExhausted: there are no correlations for them.
            PeerError: the server or the dealer went away or sent what it should not.
        """
        with self._hearing():
            return self._stepped(ids, rows, then)

    def _stepped(self, ids: Sequence[int], rows: int, then: int) -> torch.Tensor:
        session, start = self._session, self._start
        tokens, several = len(ids) // session.batch.size, session.batch.several
        _at(session, start)
        then = then or int(self._more > 0)
        while wanted := session.wanted(tokens, rows, then):
            after, wanted_tokens, wanted_rows = wanted
            self._ask(after, [wanted_tokens], wanted_rows)
        batch = {"batch": session.batch.size} if several else {}
        self._say({"start": start, "tokens": tokens, "rows": rows, **batch})
        logits = session.advance(ids, tokens, rows)
        assert logits is not None
        self._start, self._more = start + tokens, self._more - 1
        return logits

    def watch_sent(self, on_sent: Callable[[Frame], None]) -> None:
        """`on_sent` is told of every frame to the server."""
        self._link.on_sent = on_sent

    def bill_so_far(self) -> Bill:
        """This party's bill up to now, which nobody has confirmed."""
        return self._link.meter.bill()

    def finish(self) -> Bill:
        """Ends the steps; this party's bill, confirmed by the server's. The server waits for `part`.

        Raises:
            PeerMismatch: the two bills disagree on what was exchanged.
        """
        self._say({"end": True})
        self._session.finish()
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

    @contextmanager
    def _hearing(self) -> Generator[None]:
        """Where somebody went away the server may have said why: it left first, and then its dealer did."""
        try:
            yield
        except PeerClosed:
            channel = self._link.channel
            if isinstance(channel, TcpChannel | Shaped):
                channel.recv_timeout_s = min(channel.recv_timeout_s, _REFUSAL_S)
                self._link.hear_refusal()
            raise

    def _ask(self, start: int, lengths: Sequence[int], rows: int = 1, *, settle: bool = False) -> None:
        self._session.check(start, lengths, rows)
        self._say({"start": start, "prepare": list(lengths), "rows": rows, "settle": settle})
        _prepare(self._session, start, lengths, rows, settle)

    def _say(self, document: dict[str, Any]) -> None:
        meter = self._link.meter
        with meter.phase(Phase.CONTROL), meter.span("session", "control"):
            self._link.send_document(document, _STEP)


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
