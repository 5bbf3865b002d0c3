"""Sessions of the FSS suite with a dealer: passes ahead of time, on demand, kept, rewound and thrown away."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from mpcinfer.counting import count
from mpcinfer.models.decoder import KVCache
from mpcinfer.models.model import Model
from mpcinfer.models.public import PublicModel
from mpcinfer.roles.dealer import deal_session
from mpcinfer.sessions.exchange import StepClient, serve_steps
from mpcinfer.sessions.progress import Progress, Stage
from mpcinfer.sessions.session import rewind_cache
from mpcinfer.sessions.session_config import SessionConfig, announce
from mpcinfer.sessions.tally import Tally
from mpcinfer.suites.fss.connect import encoded_weights, fss_over, fss_session
from mpcinfer.suites.fss.dealing import serve_fss
from mpcinfer.suites.fss.program import Program
from mpcinfer.suites.registry import get_plan, suite_of
from mpcinfer.suites.requests import Ahead
from parties.bill import Bill
from parties.errors import (
    ConfigError,
    CorrelationExhausted,
    HandshakeFailed,
    PeerClosed,
    PeerMismatch,
)
from parties.link import Link
from parties.local import local_pair
from parties.meter import Meter
from parties.threads import run_two_threads
from protocols.fss.executors.clear import Clear
from protocols.fss.executors.counting_executor import Counting
from protocols.fss.preprocessing.source import DealerSource
from protocols.plan import Plan
from protocols.share import Share
from tests.mpcinfer.test_private_models import GPT2, LLAMA
from tests.mpcinfer.three_parties import random_model, run_model, run_three

EXACT = get_plan("fss-faithful")
SMALL = dataclasses.replace(GPT2, layers=1, width=16, head_width=8, hidden=24)
PROMPT = [100, 101, 102, 32, 120]


@cache
def small() -> Model:
    return random_model(SMALL)


class Reference:
    """The program in the clear, step by step; floor for floor what an exact private run computes."""

    def __init__(self, model: Model, max_context: int | None = None) -> None:
        self._program = Program.of(EXACT, model.config, model.ranges, max_context)
        self._weights = encoded_weights(self._program, model.weights)
        self._cache: KVCache[Share] = KVCache()

    def step(self, ids: list[int]) -> torch.Tensor:
        executor = Clear(Meter(timed=False), exact_truncation=True)
        logits = self._program.walk(executor, self._weights, self._cache, len(ids), ids)
        assert logits is not None
        return logits

    def rewind(self, length: int) -> None:
        rewind_cache(self._cache, length)


@pytest.mark.parametrize("config", [SMALL, dataclasses.replace(LLAMA, layers=1)], ids=["gpt2", "llama"])
def test_a_exact_session_is_the_reference_bit_by_bit(config: Any) -> None:
    model = random_model(config)

    def use(steps: StepClient) -> list[torch.Tensor]:
        steps.expect(2)
        return [steps.step(PROMPT), steps.step([7]), steps.step([8])]

    logits, bill, _ = run_model(model, EXACT, use, max_context=8)
    reference = Reference(model, 8)
    for got, ids in zip(logits, (PROMPT, [7], [8]), strict=True):
        assert torch.equal(got, reference.step(ids))
    assert bill.notes == []


def test_passes_may_be_prepared_before_they_are_wanted() -> None:
    def use(steps: StepClient) -> list[torch.Tensor]:
        steps.prepare([len(PROMPT), 1, 1])
        before.extend(steps._link.meter.bill().rows)
        return [steps.step(PROMPT), steps.step([7]), steps.step([8])]

    before: list[Any] = []
    logits, bill, _ = run_model(small(), EXACT, use, max_context=7)
    assert sum(row.rounds for row in before) == 0
    assert sum(row.offline_bytes_to_server for row in before) > 0
    counted = count(SMALL, EXACT, tokens=5, new_tokens=3, ranges=small().ranges)
    assert bill.total.offline_bytes_to_server == counted.total.offline_bytes_to_server
    assert bill.total.rounds == counted.total.rounds
    reference = Reference(small(), 7)
    assert torch.equal(torch.stack(logits), torch.stack([reference.step(s) for s in (PROMPT, [7], [8])]))


def test_what_was_prepared_and_not_run_is_thrown_away_and_billed() -> None:
    def use(steps: StepClient) -> list[torch.Tensor]:
        steps.prepare([9, 1])  # for another prompt
        first = steps.step(PROMPT)
        steps.expect(3)  # the answer ends after one of them
        return [first, steps.step([7])]

    logits, bill, server_bill = run_model(small(), EXACT, use, max_context=12)
    reference = Reference(small(), 12)
    assert torch.equal(torch.stack(logits), torch.stack([reference.step(s) for s in (PROMPT, [7])]))
    rows = {row.label: row for row in bill.rows}
    assert rows["unused"].offline_bytes_to_client > 0
    assert bill.total.offline_bytes_to_server == server_bill.total.offline_bytes_to_server
    [note] = [note for note in bill.notes if "never run" in note]
    assert note.startswith("3 passes were dealt for")  # two for the other prompt, one for the token after


def test_a_conversation_goes_on_or_is_rewound() -> None:
    """The masks of keys and values stay as they are; a rewound end is forgotten by all three."""

    def use(steps: StepClient) -> list[torch.Tensor]:
        steps.expect(4)
        result = [steps.step(PROMPT), steps.step([7]), steps.step([8, 9, 10])]
        steps.rewind(6)
        result.append(steps.step([11, 12]))
        steps.restart()
        return [*result, steps.step([3])]

    logits, _, _ = run_model(small(), EXACT, use, max_context=16)
    reference = Reference(small(), 16)
    expected = [reference.step(ids) for ids in (PROMPT, [7], [8, 9, 10])]
    reference.rewind(6)
    expected.append(reference.step([11, 12]))
    reference.rewind(0)
    expected.append(reference.step([3]))
    for got, wanted in zip(logits, expected, strict=True):
        assert torch.equal(got, wanted)


def test_no_more_than_the_maximum_context() -> None:
    with pytest.raises((PeerMismatch, ConfigError), match=r"6.*5"):
        run_model(small(), EXACT, lambda steps: steps.step([1] * 6), max_context=5)
    with pytest.raises(ConfigError, match="context of 24"):
        Program.of(EXACT, SMALL, small().ranges, 25)


@pytest.mark.parametrize(
    "document",
    [
        {"tokens": 1, "rows": 1},
        {"start": 0, "tokens": 1},
        {"start": 0, "tokens": 0, "rows": 1},
        {"start": 1, "tokens": 1, "rows": 1},
        {"start": -1, "tokens": 1, "rows": 1},
        {"start": 0, "tokens": 25, "rows": 1},
        {"start": 0, "tokens": 2, "rows": 0},
        {"start": 0, "tokens": 2, "rows": 3},
        {"start": 0, "prepare": [], "rows": 1, "settle": False},
        {"start": 0, "prepare": [1, "1"], "rows": 1, "settle": False},
        {"start": 0, "prepare": [20, 5], "rows": 1, "settle": False},
        {"start": 0, "prepare": [3, 2], "rows": 3, "settle": False},
        {"start": 2, "prepare": [1], "rows": 1, "settle": False},
        {"end": False},
        {},
    ],
)
def test_steps_that_a_server_refuses(document: dict[str, Any]) -> None:
    with pytest.raises(PeerMismatch):
        run_model(small(), EXACT, lambda steps: steps._say(document))


# -- the dealer ----------------------------------------------------------------------------------------------


def _program(max_context: int = 8) -> Program:
    return Program.of(EXACT, SMALL, small().ranges, max_context)


def test_a_program_survives_the_way_to_the_dealer() -> None:
    document = _program().to_document()
    assert Program.from_document(document).to_document() == document
    endless = {**document["model"], "layers": 1 << 40}
    changes = ({"max_context": 25}, {"model": {}}, {"model": endless}, {"ranges": 1})
    for broken in ({}, *({**document, **change} for change in changes)):
        with pytest.raises(PeerMismatch, match="no description"):
            Program.from_document(broken)


def test_a_dealer_refuses_parties_that_want_different_passes() -> None:
    def asking(tokens: int) -> Any:
        def party(link: Link, dealer: Link) -> None:
            assert link.rank is not None
            weights = encoded_weights(_program(), small().weights) if link.rank == 0 else None
            with (
                closing(DealerSource(link.rank, dealer)) as source,
                closing(fss_over(link, _program(), weights, source)) as session,
            ):
                session.prepare([tokens])
                session.settle()

        return party

    def deal(server: Link, client: Link) -> None:
        serve_fss(server, client, _program())

    with pytest.raises(PeerMismatch, match=r"the server asks for .*the client for"):
        run_three(deal, asking(3), asking(4))


def test_a_dealer_refuses_parties_that_want_different_sessions() -> None:
    (server_end, server), (client_end, client) = local_pair(), local_pair()
    links = [Link(end, Meter(), None) for end in (server_end, client_end)]
    announce(Link(server, Meter(), None), "fss", max_context=5)
    announce(Link(client, Meter(), None), "fss", max_context=6)
    with pytest.raises(HandshakeFailed, match="max_context differ"):
        deal_session(*links)


def test_a_dealer_refuses_suites_that_it_does_not_know() -> None:
    (server_end, server), (client_end, client) = local_pair(), local_pair()
    for end in (server, client):
        announce(Link(end, Meter(), None), "ot")
    with pytest.raises(PeerMismatch, match="no suite 'ot'"):
        deal_session(*(Link(end, Meter(), None) for end in (server_end, client_end)))


def test_nobody_deals_for_itself() -> None:
    public = PublicModel.of(small())

    def party(link: Link) -> None:
        with fss_session(link, SessionConfig(plan=EXACT, public=public)):
            pytest.fail("opened")

    with pytest.raises(ConfigError, match="needs a dealer"):
        run_two_threads(party, party)


def test_progress_counts_passes_and_bytes() -> None:
    seen: list[Progress] = []

    def party(link: Link, dealer: Link) -> None:
        assert link.rank is not None
        tally = Tally(seen.append if link.rank == 1 else None)
        source = DealerSource(link.rank, dealer, on_bytes=lambda size: tally.add(dealt_bytes=size))
        weights = encoded_weights(_program(), small().weights) if link.rank == 0 else None
        with closing(source), closing(fss_over(link, _program(), weights, source, tally)) as session:
            session.prepare([5, 1, 1])
            session.settle()
            session.finish()

    run_three(lambda server, client: serve_fss(server, client, _program()), party, party)
    dealt = [each for each in seen if each.stage is Stage.DEALING]
    counted = _program().dealt_bytes(5)
    assert {(each.of, each.in_bytes) for each in dealt[1:]} == {(counted, True)}
    assert dealt[-1].done == counted
    assert [each.done for each in dealt] == sorted(each.done for each in dealt)
    setup = [each for each in seen if each.stage is Stage.SETUP]
    assert setup[-1].done == setup[-1].of > 0
    assert [each.done for each in seen if each.stage is Stage.OFFLINE] == 3 * [0, 0]


# -- correlations on disk
# ----------------------------------------------------------------------------------------


@pytest.fixture
def correlations(tmp_path: Path) -> Path:
    """Two conversations: prompts of five tokens, three new ones."""
    out = tmp_path / "correlations"
    ahead = Ahead(prompt=5, answer=3, count=2, out=out, command="mpcinfer deal")
    suite_of(EXACT).deal_ahead(EXACT, SMALL, small().ranges, ahead)
    return out


def _talk(
    correlations: Path, prompts: list[list[int]], model: Model | None = None
) -> tuple[list[torch.Tensor], Bill]:
    """Each prompt, and two tokens after it; logits of all steps."""
    serving = model or small()

    def server(link: Link) -> Bill:
        public = PublicModel.of(small())
        session_config = SessionConfig(
            plan=EXACT, public=public, weights=serving.weights, correlations=correlations / "server"
        )
        with fss_session(link, session_config) as session:
            return serve_steps(link, session)

    def client(link: Link) -> tuple[list[torch.Tensor], Bill]:
        session_config = SessionConfig(
            plan=EXACT, public=PublicModel.of(small()), correlations=correlations / "client"
        )
        with fss_session(link, session_config) as session:
            steps, logits = StepClient(link, session), list[torch.Tensor]()
            for prompt in prompts:
                steps.restart()
                steps.expect(2)
                logits += [steps.step(prompt), steps.step([7]), steps.step([8])]
            bill = steps.finish()
            steps.part()
            return logits, bill

    return run_two_threads(server, client)[1]


def test_a_session_over_folders_is_the_same(correlations: Path) -> None:
    logits, bill = _talk(correlations, [PROMPT, PROMPT[::-1]])
    reference = Reference(small(), 8)
    for i, prompt in enumerate((PROMPT, PROMPT[::-1])):
        reference.rewind(0)
        for got, ids in zip(logits[3 * i : 3 * i + 3], (prompt, [7], [8]), strict=True):
            assert torch.equal(got, reference.step(ids))
    program, counting = _program(8), Counting(Meter(timed=False), exact_truncation=True)
    kept: KVCache[Share] = KVCache()
    for tokens in (5, 1, 1):
        program.walk(counting, program.matrices(), kept, tokens)
    once = counting.meter.bill().total
    assert bill.total.offline_bytes_to_client == 2 * once.offline_bytes_to_client + 32
    assert bill.total.offline_bytes_to_server == 2 * once.offline_bytes_to_server + 48
    with pytest.raises(CorrelationExhausted, match="used up"):
        _talk(correlations, [PROMPT])


def test_a_prompt_of_another_length_is_refused_and_nothing_is_used(correlations: Path) -> None:
    with pytest.raises(CorrelationExhausted, match="prompts of 5 tokens and 3 new ones, not for 4 tokens"):
        _talk(correlations, [PROMPT[:4]])
    assert not (correlations / "client" / "next").exists()
    assert not (correlations / "server" / "next").exists()


def test_masks_never_hide_a_second_set_of_weights(correlations: Path) -> None:
    _talk(correlations, [PROMPT])
    with pytest.raises(CorrelationExhausted, match="other weights"):
        _talk(correlations, [PROMPT], dataclasses.replace(small(), weights=random_model(SMALL, 2).weights))


def test_correlations_for_another_model_is_refused(correlations: Path) -> None:
    other = random_model(dataclasses.replace(SMALL, hidden=32))

    def party(link: Link) -> None:
        public = PublicModel.of(other)
        folder = correlations / ("client" if link.rank else "server")
        with fss_session(link, SessionConfig(plan=EXACT, public=public, correlations=folder)):
            pytest.fail("opened")

    with pytest.raises(ConfigError, match="dealt for another model, plan"):
        run_two_threads(party, party)


def test_correlations_of_different_dealings_is_refused(correlations: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    ahead = Ahead(prompt=5, answer=3, count=1, out=other, command="mpcinfer deal")
    suite_of(EXACT).deal_ahead(EXACT, SMALL, small().ranges, ahead)

    def party(link: Link) -> None:
        folder = other / "client" if link.rank else correlations / "server"
        with fss_session(
            link, SessionConfig(plan=EXACT, public=PublicModel.of(small()), correlations=folder)
        ):
            pytest.fail("opened")

    with pytest.raises((HandshakeFailed, PeerClosed), match="plan"):
        run_two_threads(party, party)


def test_what_cannot_be_dealt_to_disk(tmp_path: Path) -> None:
    ahead = Ahead(prompt=5, answer=3, count=1, out=tmp_path / "a", command="")

    def deal(plan: Plan, ranges: Mapping[str, float], **changed: int) -> None:
        suite_of(plan).deal_ahead(plan, SMALL, ranges, dataclasses.replace(ahead, **changed))

    with pytest.raises(ConfigError, match="plan crypten"):
        deal(get_plan("crypten"), small().ranges)
    with pytest.raises(ConfigError, match="calibrated"):
        deal(EXACT, {})
    with pytest.raises(ConfigError, match="context of 24"):
        deal(EXACT, small().ranges, prompt=22)
    with pytest.raises(ConfigError, match="at least 1"):
        deal(EXACT, small().ranges, count=0)
    assert not (tmp_path / "a").exists()
