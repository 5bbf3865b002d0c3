"""What a peer can send without a dealer: a frame that is not the one expected ends in a named error."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from mpcinfer.models.model import Model
from mpcinfer.models.public import PublicModel
from mpcinfer.sessions.exchange import StepClient
from mpcinfer.sessions.session_config import SessionConfig
from mpcinfer.suites.registry import get_plan
from mpcinfer.suites.two_party import session
from mpcinfer.suites.two_party.ring import ring_bits
from mpcinfer.suites.two_party.session import two_party_session
from parties.errors import HandshakeFailed, MalformedFrame, PeerError, PeerMismatch
from parties.link import Link
from parties.meter import CLIENT, SERVER
from parties.threads import run_two_threads
from parties.wire import Spec
from protocols.plan import Plan
from tests.mpcinfer.spoiled import Spoiler
from tests.mpcinfer.test_private_models import GPT2
from tests.mpcinfer.three_parties import random_model
from tests.mpcinfer.two_parties import run_two_parties

PLAN = get_plan("two-party")
SMALL = dataclasses.replace(GPT2, layers=1, width=16, head_width=8, hidden=24)
RANKS = {"server": SERVER, "client": CLIENT}


@pytest.fixture(scope="module")
def small() -> Model:
    return random_model(SMALL)


def use(steps: StepClient) -> torch.Tensor:
    return steps.step([1, 2])


# -- frames that the link refuses, at every place of a session --


def test_a_thousand_malformed_frames_are_refused_by_name(
    small: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tried one by one where the session waits for a frame; it goes on with the sound one, and is billed."""
    recv, recv_document = Link.recv, Link.recv_document
    spoiler, labels = Spoiler(seed=1, each=5), set[str]()

    def spoiled_recv(self: Link, specs: Sequence[Spec], label: str | None = None) -> Any:
        labels.add((label or self.meter.label).rpartition("/")[2])
        spoiler.attack(self, lambda probe: recv(probe, specs, label))
        return recv(self, specs, label)

    def spoiled_document(self: Link, label: str | None = None, max_bytes: int = 1 << 20) -> Any:
        spoiler.attack(self, lambda probe: recv_document(probe, label, max_bytes))
        return recv_document(self, label, max_bytes)

    monkeypatch.setattr(Link, "recv", spoiled_recv)
    monkeypatch.setattr(Link, "recv_document", spoiled_document)
    run_two_parties(small, use)
    assert spoiler.accepted == []
    assert sum(spoiler.tried.values()) >= 1000, spoiler.tried
    assert len(spoiler.tried) == 16, spoiler.tried
    assert {"base.sender", "base.receiver", "ot.columns", "rlwe.keys", "rlwe.query", "rlwe.answer"} <= labels


# -- a session whose peer sends something else --


Sent = tuple[list[Any], Any, str]
Attack = Callable[[list[Any], Any, str], list[Sent]]


def shorter(arrays: list[Any], bits: Any, label: str) -> list[Sent]:
    return [([*arrays[:-1], arrays[-1].reshape(-1)[:-1]], bits, label)]


def longer(arrays: list[Any], bits: Any, label: str) -> list[Sent]:
    return [([*arrays[:-1], np.resize(arrays[-1], 1 << 22)], bits, label)]


def elsewhere(arrays: list[Any], bits: Any, label: str) -> list[Sent]:
    return [(arrays, bits, f"{label}.x")]


def twice(arrays: list[Any], bits: Any, label: str) -> list[Sent]:
    return [(arrays, bits, label)] * 2


def saturated(arrays: list[Any], bits: Any, label: str) -> list[Sent]:
    """No residue below its prime, and no point."""
    return [([np.full_like(array, np.iinfo(array.dtype).max) for array in arrays], bits, label)]


def identity(arrays: list[Any], bits: Any, label: str) -> list[Sent]:
    """The neutral element in place of every point."""
    points = np.zeros_like(arrays[-1]).reshape(-1, 32)
    points[:, 0] = 1
    return [([points.reshape(arrays[-1].shape)], bits, label)]


FORMS: dict[str, Attack] = {each.__name__: each for each in (shorter, longer, elsewhere, twice)}
CONTENTS: dict[str, Attack] = {each.__name__: each for each in (saturated, identity)}
LINEAR = ("rlwe.keys", "rlwe.query")
"""The client's alone; answers are the server's."""
CASES = [
    *(("server", label, form) for label in ("base.receiver", "base.sender", *LINEAR) for form in FORMS),
    *(("server", label, form) for label in ("ot.columns", "ot.choices", "ot.values") for form in FORMS),
    *(("client", label, form) for label in ("base.receiver", "rlwe.answer", "ot.columns") for form in FORMS),
    *(("server", label, form) for label in ("/linear", "/truncate", "/place", "/choose") for form in FORMS),
    *(("client", label, form) for label in ("/truncate", "/output") for form in ("shorter", "longer")),
    *(("server", label, "saturated") for label in (*LINEAR, "base.receiver", "base.sender")),
    *((who, label, "identity") for who in RANKS for label in ("base.receiver", "base.sender")),
]
"""Victim, label of the spoiled frame, and how."""
SHORT = [
    ("server", "rlwe.keys", "saturated"),
    ("server", "rlwe.query", "saturated"),
    ("server", "base.sender", "identity"),
    ("client", "base.receiver", "identity"),
    ("client", "rlwe.answer", "longer"),
    ("server", "ot.columns", "twice"),
]


@pytest.mark.parametrize(
    ("victim", "where", "how"),
    [pytest.param(*case, marks=() if case in SHORT else pytest.mark.long) for case in CASES],
)
def test_the_victim_names_it(
    small: Model, victim: str, where: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, met = Link.send, list[str]()
    attack = (FORMS | CONTENTS)[how]

    def send(self: Link, arrays: Any, bits: Any, label: str | None = None) -> None:
        name = label or self.meter.label
        if self.rank != RANKS[victim] and where in name and not met:
            met.append(name)
            for sent in attack(list(arrays), bits, name):
                honest(self, *sent)
        else:
            honest(self, arrays, bits, label)

    monkeypatch.setattr(Link, "send", send)
    with pytest.raises(MalformedFrame if how in CONTENTS else PeerError) as caught:
        run_two_parties(small, use)
    assert met, "nothing was sent under this label"
    assert isinstance(caught.value, MalformedFrame | PeerMismatch)
    assert f"raised by the {victim}" in caught.value.__notes__


# -- a peer of another plan or ring --


def greeted(model: Model, plans: tuple[Plan, Plan], publics: tuple[PublicModel, PublicModel]) -> None:
    def party(link: Link) -> None:
        assert link.rank is not None
        weights = dict(model.weights) if link.rank == SERVER else None
        config = SessionConfig(plan=plans[link.rank], public=publics[link.rank], weights=weights)
        with two_party_session(link, config):
            pass

    run_two_threads(party, party)


@pytest.mark.parametrize("other", [PLAN.replace(gelu="piecewise"), get_plan("fss"), get_plan("crypten")])
def test_a_peer_of_another_plan(small: Model, other: Plan) -> None:
    public = PublicModel.of(small)
    with pytest.raises(HandshakeFailed, match="plan"):
        greeted(small, (PLAN, other), (public, public))


def test_a_peer_of_other_ranges(small: Model) -> None:
    public = PublicModel.of(small)
    other = dataclasses.replace(public, ranges={key: 64 * value for key, value in public.ranges.items()})
    with pytest.raises(HandshakeFailed, match="model"):
        greeted(small, (PLAN, PLAN), (public, other))


def test_a_peer_that_computes_in_another_ring(small: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it said in the handshake: its first frame has another width."""
    widths = iter([0, 1])
    monkeypatch.setattr(session, "ring_bits", lambda *given: ring_bits(*given) + next(widths))
    with pytest.raises(PeerMismatch, match=r"expected .*-bit"):
        run_two_parties(small, use)
