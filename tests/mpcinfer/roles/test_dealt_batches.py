"""Batches over folders that were dealt before anybody asked: the reference's bits, exact bills, used once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import torch

from mpcinfer.answer import Answer
from mpcinfer.clear import ClearModel
from mpcinfer.counting import count
from mpcinfer.models.batch import SINGLE, Batch
from mpcinfer.models.model import Model
from mpcinfer.models.public import PublicModel
from mpcinfer.roles.client import PrivateClient
from mpcinfer.sessions.exchange import StepClient, serve_steps
from mpcinfer.sessions.session_config import SessionConfig
from mpcinfer.suites.fss.connect import fss_session
from mpcinfer.suites.registry import suite_of
from mpcinfer.suites.requests import Ahead
from parties.bill import Bill
from parties.errors import ConfigError, CorrelationExhausted, PeerError
from parties.link import Link
from parties.threads import run_two_threads
from tests.mpcinfer.test_batches import (
    EQUAL,
    EXACT,
    NEW,
    POWER,
    SMALL,
    UNEQUAL,
    Noting,
    in_the_clear,
    model_of,
    samplers,
)
from tests.mpcinfer.test_encoders import EMBEDDING
from tests.mpcinfer.three_parties import random_model

T = TypeVar("T")
ANY, SAME = Batch(3, padded=True), Batch(3)
TOKENS = 9
"""Of the folder's prompts: one more than the longest has."""


def dealt(folder: Path, model: Model, batch: Batch, prompt: int, answer: int = NEW) -> Path:
    """Two conversations."""
    ahead = Ahead(prompt=prompt, answer=answer, count=2, out=folder, command="mpcinfer deal", batch=batch)
    suite_of(EXACT).deal_ahead(EXACT, model.config, model.ranges, ahead)
    return folder


@pytest.fixture
def correlations(tmp_path: Path) -> Path:
    return dealt(tmp_path / "correlations", model_of(SMALL), ANY, TOKENS)


def over(
    folder: Path, use: Callable[[PrivateClient], T], batch: Batch = ANY, model: Model | None = None
) -> tuple[T, Bill]:
    """What a client makes of a session over both folders, and its bill."""
    model = model or model_of(SMALL)
    config = SessionConfig(plan=EXACT, public=PublicModel.of(model))

    def server(link: Link) -> Bill:
        own = dataclasses.replace(config, weights=model.weights, correlations=folder / "server")
        with fss_session(link, own) as session:
            return serve_steps(link, session)

    def client(link: Link) -> tuple[T, Bill]:
        own = dataclasses.replace(config, correlations=folder / "client", batch=batch)
        with fss_session(link, own) as session:
            steps = StepClient(link, session)
            result, bill = use(PrivateClient(config.public, steps, None)), steps.finish()
            steps.part()
            return result, bill

    return run_two_threads(server, client)[1]


def completing(prompts: tuple[str, ...], by: list[Noting]) -> Callable[[PrivateClient], list[Answer]]:
    return lambda client: client.complete_batch(prompts, max_new_tokens=NEW, sampler=by)


def test_a_batch_over_a_folder_is_the_reference_and_costs_what_was_counted(correlations: Path) -> None:
    """Prompts are padded to what was dealt for, whatever the longest has."""
    model, mine, theirs = model_of(SMALL), samplers(3), samplers(3)
    context = TOKENS + NEW
    answers, bill = over(correlations, completing(UNEQUAL, mine))
    assert answers == in_the_clear(model, UNEQUAL, ANY, theirs, context, TOKENS)
    for got, expected in zip(mine, theirs, strict=True):
        assert torch.equal(torch.stack(got.logits), torch.stack(expected.logits))
    counted = count(
        SMALL, EXACT, tokens=TOKENS, new_tokens=NEW, ranges=model.ranges, batch=ANY, max_context=context
    )
    for name in ("rounds", "online_bytes_to_server", "online_bytes_to_client", "setup_bytes"):
        assert getattr(bill.total, name) == getattr(counted.total, name), name
    assert bill.total.offline_bytes_to_client == counted.total.offline_bytes_to_client
    assert bill.total.offline_bytes_to_server == counted.total.offline_bytes_to_server


def test_fewer_prompts_than_a_folder_has_places_for(correlations: Path) -> None:
    two = UNEQUAL[:2]
    answers, _ = over(correlations, completing(two, samplers(2)), Batch(2, padded=True))
    assert answers == in_the_clear(model_of(SMALL), two, ANY, samplers(2), TOKENS + NEW, TOKENS)


def test_a_conversation_that_broke_off_is_never_dealt_for_again(correlations: Path) -> None:
    class Dies(Noting):
        def __call__(self, logits: torch.Tensor) -> int:
            raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, PeerError)):
        over(correlations, completing(UNEQUAL, [Dies(), Dies(), Dies()]))
    for party in ("server", "client"):
        assert (correlations / party / "next").read_text() == "1\n"
        assert not list((correlations / party).glob("000000.*"))
    answers, _ = over(correlations, completing(UNEQUAL, samplers(3)))
    assert len(answers) == 3
    with pytest.raises(CorrelationExhausted, match="used up"):
        over(correlations, completing(UNEQUAL, samplers(3)))


def test_prompts_of_one_length_need_no_padding(tmp_path: Path) -> None:
    folder = dealt(tmp_path / "equal", model_of(SMALL), SAME, 4)
    with pytest.raises(ConfigError, match="dealt for prompts of one length: say so"):
        over(folder, completing(EQUAL, samplers(3)))
    with pytest.raises(CorrelationExhausted, match="prompts of 4 tokens"):
        over(folder, completing(("a", "b", "c"), samplers(3)), SAME)
    answers, _ = over(folder, completing(EQUAL, samplers(3)), SAME)
    assert answers == in_the_clear(model_of(SMALL), EQUAL, SAME, samplers(3), 4 + NEW)


@pytest.mark.parametrize("batch", [SINGLE, Batch(4, padded=True)], ids=["one", "too many"])
def test_a_folder_without_a_place_for_the_prompts_is_refused(correlations: Path, batch: Batch) -> None:
    with pytest.raises(
        ConfigError, match=f"passes of 3 prompts, not for {batch.size}: .*--batch {batch.size}"
    ):
        over(correlations, completing(UNEQUAL, samplers(3)), batch)
    assert not (correlations / "client" / "next").exists()


def test_texts_that_are_read_whole(tmp_path: Path) -> None:
    model, texts = random_model(EMBEDDING), ("f(x, y)", "if", "x = 1", "[]")
    folder = dealt(tmp_path / "texts", model, ANY, 8, answer=1)
    found, _ = over(folder, lambda client: client.embed(texts), model=model)
    assert float((found - ClearModel(model).embed(texts)).abs().max()) < 0.1
    with pytest.raises(ConfigError, match="--answer 1"):
        dealt(tmp_path / "more", model, ANY, 8)
    assert not (tmp_path / "more").exists()


def test_what_cannot_leave_out_padding_is_not_dealt_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="attention=power"):
        dealt(tmp_path / "power", model_of(POWER), ANY, TOKENS)
    assert not (tmp_path / "power").exists()
