"""Whose session is next, and who is admitted at all."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from mpcinfer.service.admitting import Admitting
from mpcinfer.service.allow_list import AllowList
from mpcinfer.service.limits import Limits
from mpcinfer.service.pool import Pool
from mpcinfer.service.queue import Entry, FairQueue
from mpcinfer.service.worker_process import WorkerProcess
from parties.admission import Request
from parties.errors import AdmissionRefused, ConfigError
from parties.keys import new_keypair
from parties.tcp import Visitor


def entry(name: str, client: str, **more: Any) -> Entry:
    return Entry(id=name.encode(), client=client, since_s=0.0, keys={"client": client}, **more)


def test_clients_take_turns_whoever_queued_first() -> None:
    queue = FairQueue()
    for name in ("a1", "a2", "a3", "b1", "c1", "b2"):
        queue.add(entry(name, name[0]))
    assert [each.id.decode() for each in queue.order()] == ["a1", "b1", "c1", "a2", "b2", "a3"]
    served = []
    while (following := queue.next(lambda each: True)) is not None:
        served.append(following.id.decode())
        if len(served) == 2:
            queue.add(entry("d1", "d"))  # who was never served is next
    assert served == ["a1", "b1", "c1", "d1", "a2", "b2", "a3"]


def test_who_may_not_run_keeps_its_place_and_others_go_on() -> None:
    queue = FairQueue()
    for name in ("a1", "b1"):
        queue.add(entry(name, name[0]))
    following = queue.next(lambda each: each.client != "a")
    assert following is not None
    assert following.id == b"b1"
    assert [each.id for each in queue] == [b"a1"]


@dataclass
class Desk:
    """The rules of a front, without one."""

    folder: Path
    limits: Limits = field(default_factory=lambda: Limits(sessions=1))
    roles: tuple[str, ...] = ("client",)

    def __post_init__(self) -> None:
        self.keys: dict[str, str] = {}
        lists: dict[str, AllowList] = {}
        for role in self.roles:
            place = self.folder / role
            place.mkdir()
            for name in ("alice", "bob"):
                self.keys[f"{role}.{name}"] = new_keypair(place, name).public
            lists[role] = AllowList(place)
        self.queue = FairQueue()
        self.running: Mapping[WorkerProcess, Entry] = {}
        self.pool = Pool(self.limits.sessions, lambda: cast(WorkerProcess, None))
        self.rules = Admitting(self.limits, lists, self.queue, self.running, self.pool)

    def ask(self, name: str, **more: Any) -> Entry:
        role, key = name.partition(".")[0], self.keys[name]
        asked = self.rules.entry_of(key, Request(role=role, **more))
        asked.pending[role] = (Visitor(b"", key), 0.0)  # as the front does
        return asked

    def refusal(self, name: str, **more: Any) -> AdmissionRefused:
        with pytest.raises(AdmissionRefused) as raised:
            self.ask(name, **more)
        return raised.value


def test_a_ticket_keeps_the_place_and_is_its_owners_alone(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    mine = desk.ask("client.alice")
    assert desk.ask("client.alice", ticket=mine.id) is mine
    assert desk.refusal("client.bob", ticket=mine.id).reason == "pair"
    assert desk.ask("client.alice") is not mine
    assert len(desk.queue) == 2


def test_who_died_in_the_queue_gets_no_worker_until_it_asks_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    dead, living = desk.ask("client.alice"), desk.ask("client.bob")
    dead.pending.clear()  # it was told that it waits
    assert desk.queue.next(desk.rules.may_run) is living
    assert desk.queue.next(desk.rules.may_run) is None
    assert desk.ask("client.alice", ticket=dead.id) is dead  # it was only slow
    assert desk.queue.next(desk.rules.may_run) is dead


def test_every_bound_is_a_reason_with_a_hint(tmp_path: Path) -> None:
    limits = Limits(sessions=1, waiting=3, client_waiting=2, context=100, rate=4.0)
    desk = Desk(tmp_path, limits)
    assert desk.refusal("client.alice", context=101).reason == "context"
    assert desk.refusal("client.alice", context=101).retry_s is None
    for _ in range(2):
        desk.ask("client.alice", context=100)
    refused = desk.refusal("client.alice")
    assert (refused.reason, refused.retry_s and refused.retry_s >= 1.0) == ("sessions", True)
    desk.ask("client.bob")
    assert desk.refusal("client.bob").reason == "full"
    for _ in range(2):
        assert desk.refusal("client.bob").reason == "full"
    refused = desk.refusal("client.bob")
    assert refused.reason == "rate"
    assert refused.retry_s is not None
    assert 0 < refused.retry_s <= 60
    desk.rules.draining = True
    assert desk.refusal("client.alice").reason == "draining"


def test_at_a_dealer_two_parties_of_one_session_meet(tmp_path: Path) -> None:
    desk = Desk(tmp_path, roles=("server", "client"))
    session = bytes(range(16))
    first = desk.ask("server.alice", parent=session)
    assert not desk.rules.may_run(first)
    assert desk.ask("client.bob", parent=session) is first
    assert desk.rules.may_run(first)
    assert first.client == "bob"
    assert desk.refusal("client.alice", parent=session).reason == "pair"
    assert desk.refusal("server.bob", parent=session).reason == "pair"
    assert desk.refusal("client.bob").reason == "pair"  # of no session
    other = desk.rules
    with pytest.raises(AdmissionRefused, match="role client"):
        other.entry_of(desk.keys["server.alice"], Request(role="client", parent=session))


def test_who_may_not_join_now_may_not_by_asking_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Limits(sessions=1, rate=1.0), roles=("server", "client"))
    first, second = bytes(range(16)), bytes(range(1, 17))
    desk.ask("server.alice", parent=first)
    desk.ask("client.bob", parent=first)
    waits = desk.ask("server.alice", parent=second)
    for _ in range(2):
        assert desk.refusal("client.bob", parent=second).reason == "rate"
    assert "client" not in waits.keys
    assert not desk.rules.may_run(waits)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"role": "client", "parent": b"", "ticket": b"", "context": True},
        {"role": "client", "parent": b"", "ticket": b"", "context": -1},
        {"role": "dealer", "parent": b"", "ticket": b"", "context": 0},
        {"role": "client", "parent": b"x", "ticket": b"", "context": 0},
        {"role": "client", "parent": b"", "ticket": "", "context": 0},
        {"role": "client", "parent": b"", "ticket": b"", "context": 0, "more": 1},
    ],
)
def test_a_request_that_is_none_is_refused_by_name(document: dict[str, Any]) -> None:
    version = Request(role="client").to_document()["version"]
    with pytest.raises(AdmissionRefused) as raised:
        Request.from_document({"version": version, **document} if document else {"version": version})
    assert raised.value.reason == "malformed"
    with pytest.raises(AdmissionRefused, match="version"):
        Request.from_document({**document, "version": version + 1})


def test_an_allow_list_follows_its_folder(tmp_path: Path) -> None:
    said: list[str] = []
    alice = new_keypair(tmp_path, "alice").public
    (tmp_path / "broken.public").write_text("no key")
    allowed = AllowList(tmp_path, said.append)
    assert alice in allowed
    assert any("broken.public" in line for line in said)
    assert allowed.refresh() == set()
    bob = new_keypair(tmp_path, "bob").public
    (tmp_path / "alice.public").unlink()
    assert allowed.refresh() == {alice}
    assert bob in allowed
    assert allowed.names[bob] == "bob"
    assert "+bob, -alice" in said[-1]


def test_a_list_of_nobody_is_refused_at_the_start(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ConfigError):
            AllowList(place)
    with pytest.raises(ConfigError, match="at least 1"):
        Limits(sessions=0)


def test_a_session_time_makes_the_hint(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Limits(sessions=2))
    before = desk.rules.busy("full", "x").retry_s
    for _ in range(50):
        desk.rules.took(100.0)
    after = desk.rules.busy("full", "x").retry_s
    assert before is not None
    assert after is not None
    assert after > 5 * before
    assert time.monotonic() > 0
