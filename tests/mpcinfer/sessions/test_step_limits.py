"""What one session may take, and how its client hears that it took too much."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mpcinfer.sessions.step_limits import StepCount, StepLimits
from parties.errors import AdmissionRefused, MalformedFrame, MpcInferError, PeerClosed
from parties.link import Link
from parties.local import local_pair
from parties.meter import CLIENT, SERVER, Meter
from parties.refusals import REFUSED_LABEL, from_document, to_document
from parties.wire import spec_of
from tests.deadlines import until
from tests.parties.pairs import tcp_pair


def reason_of(count: StepCount, lengths: list[int]) -> tuple[str, float | None]:
    with pytest.raises(AdmissionRefused) as raised:
        count.require(lengths)
    return raised.value.reason, raised.value.retry_s


def test_each_limit_has_its_reason() -> None:
    count = StepCount(StepLimits(prompt_tokens=8, session_tokens=20, context=64))
    count.require([8, 1, 1])
    assert reason_of(count, [9]) == ("prompt", None)
    assert reason_of(count, [8, 8, 5]) == ("tokens", 0.0)
    count.ran(8)
    count.ran(8)
    count.require([4])
    assert reason_of(count, [5])[0] == "tokens"
    count.require_context(64)
    with pytest.raises(AdmissionRefused, match=r"at most 64 tokens here, not 65 \(context\)"):
        count.require_context(65)


def test_time_is_looked_at_between_passes() -> None:
    clock = [100.0]
    count = StepCount(StepLimits(session_s=30.0), now=lambda: clock[0])
    clock[0] = 130.0
    count.require([1])
    clock[0] = 130.5
    assert reason_of(count, [1])[0] == "time"


@pytest.mark.parametrize(
    "awaits",
    [
        lambda link: link.recv([spec_of(64, (3,))], "layer0.open"),
        lambda link: link.recv_document("session.bill"),
    ],
)
def test_the_peer_hears_the_reason_whatever_it_awaits(awaits: Callable[[Link], object]) -> None:
    ends = local_pair(5.0)
    server, client = Link(ends[0], Meter(), SERVER), Link(ends[1], Meter(), CLIENT)
    server.refuse(AdmissionRefused("tokens", "enough", 2.0))
    with pytest.raises(AdmissionRefused, match=r"enough \(tokens\); try again in 2 s") as raised:
        awaits(client)
    assert (raised.value.reason, raised.value.retry_s) == ("tokens", 2.0)
    assert server.meter.bill().total.rounds == client.meter.bill().total.rounds == 0


def test_a_peer_that_only_sends_hears_the_reason_too() -> None:
    ends = tcp_pair()
    server, client = Link(ends[0], Meter(), SERVER), Link(ends[1], Meter(), CLIENT)
    server.send([np.zeros(3, np.uint64)], 64, "layer0.open")
    server.refuse(AdmissionRefused("tokens", "enough"))
    server.close()
    assert until(lambda: ends[1].lost)
    with pytest.raises(AdmissionRefused, match="enough"):
        client.send([np.zeros(3, np.uint64)], 64, "layer0.open")
    with pytest.raises(PeerClosed):
        client.send([np.zeros(3, np.uint64)], 64, "layer0.open")
    client.close()


def test_a_refusal_that_is_none_is_a_malformed_frame() -> None:
    ends = local_pair(5.0)
    server, client = Link(ends[0], Meter(), SERVER), Link(ends[1], Meter(), CLIENT)
    server.send_document({"refused": "whim", "message": "no"}, REFUSED_LABEL)
    with pytest.raises(MpcInferError, match="a refusal has"):
        client.recv_document("session.bill")


def test_what_a_peer_says_is_cut_and_printable() -> None:
    sent = to_document(AdmissionRefused("full", "\x1b[31mred\n" + "a" * 5_000, 1e9))
    heard = from_document(sent)
    assert heard.message.startswith("[31mred")
    assert len(heard.message) <= 300
    assert heard.retry_s == 86_400.0
    for wrong in ({"retry_s": True}, {"retry_s": float("inf")}, {"message": 5}):
        with pytest.raises(MalformedFrame):
            from_document({**sent, **wrong})
