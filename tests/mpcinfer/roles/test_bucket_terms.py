"""What a server asks prompts to be padded to, what a client makes of it, and folders that decide it."""

from __future__ import annotations

import dataclasses
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mpcinfer.models.batch import SINGLE, Batch
from mpcinfer.models.buckets import DEFAULT_BUCKETS, Buckets
from mpcinfer.models.public import PublicModel
from mpcinfer.roles.client import PrivateClient
from mpcinfer.roles.connect import connect_client
from mpcinfer.roles.server import serve_sessions
from mpcinfer.sessions.addresses import Address, Identity
from mpcinfer.sessions.terms import TERMS_LABEL, fetch_buckets, give_buckets
from mpcinfer.suites.registry import get_plan
from parties.bill import Bill
from parties.errors import ConfigError, CorrelationExhausted, HandshakeFailed, PeerMismatch
from parties.handshake import PROTOCOL_VERSION
from parties.link import Link
from parties.local import local_pair
from parties.meter import CLIENT, SERVER, Meter, Phase
from parties.threads import run_two_threads
from tests.deadlines import HANG_S
from tests.mpcinfer.roles.test_dealt_batches import dealt, over
from tests.mpcinfer.test_batches import NEW, POWER, SMALL, Noting, in_the_clear, model_of
from tests.parties.pairs import CONNECTOR, LISTENER, free_endpoint

PROMPT = "def f("
"""6 tokens."""
SIZES = Buckets((4, 8))


@pytest.mark.parametrize("buckets", [SIZES, Buckets(()), DEFAULT_BUCKETS], ids=str)
def test_a_client_hears_what_the_server_asks_for(buckets: Buckets) -> None:
    given, heard = run_two_threads(lambda link: give_buckets(link, buckets), fetch_buckets)
    assert given is True
    assert isinstance(heard, Buckets)
    assert (heard.sizes, heard.where_possible) == (buckets.sizes, True)


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        ({"version": 0, "buckets": [8]}, HandshakeFailed, "protocol version"),
        ({"buckets": [8]}, HandshakeFailed, "protocol version"),
        ({}, PeerMismatch, "expected a list"),
        ({"buckets": ["8"]}, PeerMismatch, "expected a list"),
        ({"buckets": [8, 9, 10]}, PeerMismatch, "server's buckets: 8 and 9 are too close"),
        ({"buckets": [1 << 30]}, PeerMismatch, "a size is 1 to"),
        ({"buckets": [1] * 17}, PeerMismatch, "17 sizes, at most 16"),
    ],
)
def test_what_cannot_be_used_is_refused(answer: dict[str, object], error: type[Exception], said: str) -> None:
    answer = answer if "protocol" in said else {"version": PROTOCOL_VERSION, **answer}
    ends = local_pair()
    with Link(ends[0], Meter(), SERVER) as server, Link(ends[1], Meter(), CLIENT) as client:
        with server.meter.phase(Phase.CONTROL):
            server.send_document(answer, TERMS_LABEL)
        with pytest.raises(error, match=said):
            fetch_buckets(client)


def test_a_client_that_does_not_ask_is_not_told() -> None:
    ends = local_pair()
    with Link(ends[0], Meter(), SERVER) as server, Link(ends[1], Meter(), CLIENT) as client:
        with client.meter.phase(Phase.CONTROL):
            client.send_document({}, "hello")
        assert give_buckets(server, SIZES) is False
        assert server.next_label(64) == "hello"


# -- over a connection ---------------------------------------------------------------------------------------


def over_tcp(
    served: Buckets, *, buckets: Buckets | None, ask: bool, known: bool = True, power: bool = False
) -> tuple[tuple[int, ...], Bill, list[str]]:
    """A session without a dealer: the answer's tokens, the client's bill, and what the server said."""
    model, plan, endpoint = model_of(POWER if power else SMALL), get_plan("two-party"), free_endpoint()
    public, said = PublicModel.of(model), list[str]()
    serving = threading.Thread(
        target=serve_sessions,
        args=(public, model.weights, plan),
        kwargs={
            "listen": endpoint,
            "identity": Identity(LISTENER, CONNECTOR.public),
            "dealer": None,
            "timeout_s": HANG_S,
            "once": True,
            "say": said.append,
            "buckets": served,
        },
        daemon=True,
    )
    serving.start()
    with connect_client(
        public if known else None,
        plan,
        keys=CONNECTOR,
        server=Address(endpoint, LISTENER.public),
        dealer=None,
        timeout_s=HANG_S,
        prompt=lambda _: PROMPT,
        buckets=buckets,
        ask_buckets=ask,
        answer_tokens=NEW,
    ) as client:
        answer = client.complete(PROMPT, max_new_tokens=NEW)
        bill = client.finish()
    serving.join(HANG_S)
    return answer.ids, bill, said


def notes_on_lengths(bill: Bill) -> list[str]:
    return [note for note in bill.notes if note.startswith(("padded to", "lengths are exact"))]


@pytest.mark.parametrize("known", [True, False])
def test_a_client_pads_to_what_the_server_asks_for(known: bool) -> None:
    ids, bill, said = over_tcp(SIZES, buckets=DEFAULT_BUCKETS, ask=True, known=known)
    [exact] = in_the_clear(model_of(SMALL), [PROMPT], SINGLE, [Noting()], SMALL.context)
    assert ids == exact.ids
    [note] = notes_on_lengths(bill)
    assert note.startswith("padded to 8 tokens: 6 of them are the prompt's; the padding cost ")
    assert any(line.endswith("asked to pad prompts to these numbers of tokens: 4, 8") for line in said)
    assert any("exactly as billed" in note or "does not tell" in note for note in bill.notes)


@pytest.mark.parametrize(
    ("served", "buckets", "ask", "power", "said"),
    [
        (Buckets(()), DEFAULT_BUCKETS, True, False, "exact, .*: the server asks for no padding"),
        (SIZES, Buckets((), why="--exact-lengths"), False, False, "exact, .*: --exact-lengths"),
        (Buckets(()), Buckets((12,)), False, False, "padded to 12 tokens: 6 of them"),
        (SIZES, DEFAULT_BUCKETS, True, True, "exact, .*: attention=power: padded prompts need"),
    ],
    ids=["server wants none", "client wants none", "client's own", "cannot be padded"],
)
def test_the_client_decides_and_the_bill_says_so(
    served: Buckets, buckets: Buckets, ask: bool, power: bool, said: str
) -> None:
    _, bill, _ = over_tcp(served, buckets=buckets, ask=ask, power=power)
    [note] = notes_on_lengths(bill)
    assert re.search(said, note)


def test_nobody_is_met_where_padding_was_asked_for_and_cannot_be() -> None:
    nobody = Address("tcp://127.0.0.1:1", LISTENER.public)
    public = PublicModel.of(model_of(POWER))
    connecting = connect_client(
        public, get_plan("fss"), keys=CONNECTOR, server=nobody, dealer=nobody, timeout_s=0.1, buckets=SIZES
    )
    with pytest.raises(ConfigError, match=r"attention=power: .*--exact-lengths"), connecting:
        pytest.fail("somebody was there")


def test_a_server_does_not_ask_for_buckets_that_tell_lengths() -> None:
    model = model_of(SMALL)
    with pytest.raises(ConfigError, match="8 and 9 are too close"):
        serve_sessions(
            PublicModel.of(model),
            model.weights,
            get_plan("two-party"),
            listen="tcp://127.0.0.1:*",
            identity=Identity(LISTENER, CONNECTOR.public),
            dealer=None,
            timeout_s=1.0,
            once=True,
            say=print,
            buckets=Buckets((8, 9)),
        )


# -- over a folder -------------------------------------------------------------------------------------------


def completing(prompt: str) -> Callable[[PrivateClient], tuple[int, ...]]:
    return lambda client: client.complete(prompt, max_new_tokens=NEW).ids


@pytest.mark.parametrize("wanted", [Batch(1, padded=True), SINGLE], ids=["padding", "exact"])
def test_a_folder_says_what_its_prompts_are_padded_to(tmp_path: Path, wanted: Batch) -> None:
    model = model_of(SMALL)
    folder = dealt(tmp_path / "padded", model, Batch(1, padded=True), 9)
    ids, _ = over(folder, completing(PROMPT), wanted)
    [exact] = in_the_clear(model, [PROMPT], SINGLE, [Noting()], 9 + NEW)
    assert ids == exact.ids
    with pytest.raises(CorrelationExhausted, match="prompts of 9 tokens"):
        over(folder, completing("ten tokens"), wanted)


def test_a_folder_for_exact_lengths_is_followed(tmp_path: Path) -> None:
    model = model_of(SMALL)
    folder = dealt(tmp_path / "exact", model, SINGLE, len(PROMPT))
    ids, _ = over(folder, completing(PROMPT), Batch(1, padded=True))
    [exact] = in_the_clear(model, [PROMPT], SINGLE, [Noting()], len(PROMPT) + NEW)
    assert ids == exact.ids
    with pytest.raises(ConfigError, match="passes of 1 prompts, not for 2"):
        over(folder, completing(PROMPT), dataclasses.replace(SINGLE, size=2))
