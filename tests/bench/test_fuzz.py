"""Bad input, in small: the campaigns of bench.fuzz, and that they would find something."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from bench.fuzz import parser
from bench.fuzz.agreeing import agreeing_scenes
from bench.fuzz.dealing import dealing_scenes
from bench.fuzz.exchanges import fuzz_exchanges
from bench.fuzz.live import Live
from bench.fuzz.mutations import Message
from bench.fuzz.outcomes import Outcomes
from bench.fuzz.parser import fuzz_parser
from bench.fuzz.recording import recorded
from bench.fuzz.running import running
from bench.fuzz.scenes import Links, Scene
from bench.fuzz.strangers import besiege
from parties.errors import MalformedFrame, MpcInferError

SEED = 20


@pytest.fixture(scope="module")
def sound() -> list[Message]:
    return list(recorded(("fss",)))


def test_frames_against_all_that_reads_one(sound: list[Message]) -> None:
    outcomes = fuzz_parser(sound, 2000, SEED)
    assert not outcomes.found
    assert sum(outcomes.ways.values()) == 2000
    assert len(outcomes.ways) == 10


def test_every_exchange_of_documents() -> None:
    outcomes = fuzz_exchanges(agreeing_scenes(), 2000, SEED)
    assert not outcomes.found
    assert len({what for what, _ in outcomes.counts}) == len(agreeing_scenes())


@pytest.mark.slow
def test_dealers_and_whole_sessions() -> None:
    outcomes = fuzz_exchanges(dealing_scenes(), 150, SEED)
    assert not outcomes.found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["server in a session", "client in a session"])
def test_a_session_that_fails_gives_up_its_files_at_once(name: str) -> None:
    (scene,) = (each for each in dealing_scenes() if each.name == name)
    said = scene.recorded()
    gc.collect()
    files, kept = len(os.listdir("/proc/self/fd")), list[MpcInferError]()
    gc.disable()
    try:
        for link, stream in enumerate(said):
            for index in range(len(stream)):
                bad = [list(each) for each in said]
                bad[link][index] = [b"no frame"]
                with pytest.raises(MpcInferError) as caught:
                    scene.read(bad)
                kept.append(caught.value)  # and with it all that was under way
        assert len(os.listdir("/proc/self/fd")) == files
    finally:
        gc.enable()


def test_a_frame_is_drawn_from_the_seed_and_its_number_alone(sound: list[Message]) -> None:
    whole, part = Outcomes(SEED), Outcomes(SEED)
    fuzz_parser(sound, 20, SEED, outcomes=whole)
    for number in range(20):
        fuzz_parser(sound, 1, SEED, first=number, outcomes=part)
    assert (whole.counts, whole.ways) == (part.counts, part.ways)


@pytest.mark.parametrize("error", [KeyError("a"), ValueError(), RecursionError(), MemoryError()])
def test_an_error_without_a_name_is_found(error: Exception) -> None:
    def careless(links: Links) -> object:
        try:
            return links[0].recv_document("label")
        except MalformedFrame:
            raise error from None

    scene = Scene("careless", careless, lambda links: links[0].send_document({"a": 1}, "label"))
    outcomes = fuzz_exchanges([scene], 50, SEED)
    assert outcomes.counts["careless", f"BUG {type(error).__name__}"] == len(outcomes.found) > 5


def test_such_an_error_is_counted_as_one(sound: list[Message], monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(raw: object, max_bytes: int) -> object:
        raise UnicodeError("not caught")

    monkeypatch.setattr(parser, "from_bytes", careless)
    outcomes = fuzz_parser(sound, 10, SEED)
    assert outcomes.counts["from_bytes", "BUG UnicodeError"] > 5
    assert all("UnicodeError" in each for each in outcomes.found)


def test_a_message_that_quotes_a_payload_or_has_no_end_is_found() -> None:
    outcomes, payload = Outcomes(SEED), b"\x01secrets!"

    def refuse(said: str) -> None:
        raise ValueError if not said else MalformedFrame(said)

    outcomes.judge("quoting", 0, [b"", payload], lambda: refuse(f"got {payload[:8].hex()}"))
    assert len(outcomes.found) == 1
    outcomes.judge("sound", 1, [b"", payload], lambda: refuse("expected 3, got 4"))
    assert len(outcomes.found) == 1


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize(("plan", "lies"), [("fss", 4), pytest.param("two-party", 4, marks=pytest.mark.long)])
def test_a_running_server_outlives_what_it_is_sent(sound: list[Message], plan: str, lies: int) -> None:
    with running(plan) as here:
        live = Live(here, SEED, sound)
        live.lie(lies, batch=lies // 2)
        live.write_raw(40)
        live.knock(1)
        document = live.end()
    assert not document["found"]
    assert document["honest_sessions"] == 5


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.long
def test_it_serves_an_honest_client_in_the_midst_of_strangers() -> None:
    with running("fss") as here:
        document = besiege(here, 64, rounds=1)
    assert not document["found"]
    assert document["honest_sessions"] == len(document["kinds"])


def test_records_name_no_place_of_this_machine() -> None:
    path = Path(__file__).parents[2] / "bench" / "records" / "fuzz.jsonl"
    assert not path.exists() or "/tmp" not in path.read_text(encoding="utf-8")
