"""Whole sessions over weights that are mapped and cannot be written: a write would end the tests' process."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest
import torch

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.model import Model
from mpcinfer.models.public import PublicModel
from mpcinfer.service.shared_weights import SharedWeights
from mpcinfer.sessions.exchange import StepClient, serve_steps
from mpcinfer.sessions.session_config import SessionConfig
from mpcinfer.suites.fss import connect
from mpcinfer.suites.fss.connect import checked_weights
from mpcinfer.suites.registry import get_plan, suite_of
from mpcinfer.suites.requests import Ahead
from parties.link import Link
from parties.threads import run_two_threads
from protocols.fss.preprocessing.matrix import Matrix
from protocols.plan import Plan
from tests.mpcinfer.test_fss_models import LLAMA
from tests.mpcinfer.test_private_models import GPT2
from tests.mpcinfer.three_parties import random_model

EXACT = get_plan("fss-faithful")
SMALL = dataclasses.replace(GPT2, layers=1, width=16, head_width=8, hidden=24)
TIED_LLAMA = dataclasses.replace(LLAMA, layers=1, tied_head=True)
PROMPT = [100, 101, 102, 32, 120]
FSS = {
    "masked": EXACT,
    "public table": EXACT.replace(embedding="public"),
    "encrypted": EXACT.replace(linear="rlwe"),
}


@cache
def model_of(config: ModelConfig) -> Model:
    return random_model(config)


def own(model: Model, plan: Plan) -> SessionConfig:
    return SessionConfig(plan=plan, public=PublicModel.of(model), weights=model.weights)


def mapped(model: Model, plan: Plan) -> SessionConfig:
    with SharedWeights.of(own(model, plan)) as shared:
        return shared.into(SessionConfig(plan=plan, public=PublicModel.of(model)))


def logits_of(server: SessionConfig, client: SessionConfig) -> list[torch.Tensor]:
    """A prompt and two tokens after it, privately."""
    suite = suite_of(server.plan)

    def serve(link: Link) -> None:
        with suite.open(link, server) as session:
            serve_steps(link, session)

    def ask(link: Link) -> list[torch.Tensor]:
        with suite.open(link, client) as session:
            steps = StepClient(link, session)
            steps.expect(2)
            logits = [steps.step(PROMPT), steps.step([7]), steps.step([8])]
            steps.finish()
            steps.part()
            return logits

    _, logits = run_two_threads(serve, ask)
    return logits


def dealt(folder: Path, model: Model, plan: Plan, *, answer: int = 3) -> Path:
    ahead = Ahead(prompt=len(PROMPT), answer=answer, count=1, out=folder, command="mpcinfer deal")
    suite_of(plan).deal_ahead(plan, model.config, model.ranges, ahead)
    return folder


def over(session_config: SessionConfig, folder: Path) -> SessionConfig:
    return dataclasses.replace(session_config, correlations=folder)


@pytest.mark.parametrize("plan", list(FSS))
@pytest.mark.parametrize("config", [SMALL, TIED_LLAMA], ids=["gpt2", "llama"])
def test_a_session_over_mapped_weights_is_one_over_its_own(
    config: ModelConfig, plan: str, tmp_path: Path
) -> None:
    model, found = model_of(config), list[list[torch.Tensor]]()
    for number, make in enumerate((mapped, own)):
        folder = dealt(tmp_path / str(number), model, FSS[plan])
        client = SessionConfig(plan=FSS[plan], public=PublicModel.of(model))
        found.append(
            logits_of(over(make(model, FSS[plan]), folder / "server"), over(client, folder / "client"))
        )
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_a_session_makes_what_is_not_shared_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here a matrix that somebody took out; the float weights are loaded once, and not kept."""
    model, loaded, made = model_of(SMALL), list[bool](), list[object]()
    session_config, missing = mapped(model, EXACT), "layer0.ffn.in.weight"
    assert session_config.encoded is not None
    left = {name: each for name, each in session_config.encoded.items() if not name.startswith(missing)}

    def load() -> Mapping[str, torch.Tensor]:
        loaded.append(True)
        return model.weights

    def noted(*arguments: object) -> dict[str, Matrix]:
        made.append(arguments[-1])
        return checked_weights(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(connect, "checked_weights", noted)
    client = SessionConfig(plan=EXACT, public=PublicModel.of(model))
    found = list[list[torch.Tensor]]()
    for number, encoded in enumerate((session_config.encoded, left)):
        folder = dealt(tmp_path / str(number), model, EXACT)
        server = dataclasses.replace(session_config, encoded=encoded, load_weights=load)
        found.append(logits_of(over(server, folder / "server"), over(client, folder / "client")))
        assert len(loaded) == number
    assert made == [[missing]]
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("plan", ["crypten", "two-party"])
def test_sessions_of_other_suites_run_over_mapped_weights(plan: str) -> None:
    """Truncation is probabilistic: two runs differ by the last places."""
    model, chosen = model_of(SMALL), get_plan(plan)
    terms = {"insecure_dealer": True} if plan == "crypten" else {}
    client = SessionConfig(plan=chosen, public=PublicModel.of(model), **terms)  # type: ignore[arg-type]
    server = dataclasses.replace(mapped(model, chosen), **terms)  # type: ignore[arg-type]
    from_map = logits_of(server, client)
    from_own = logits_of(dataclasses.replace(own(model, chosen), **terms), client)  # type: ignore[arg-type]
    allowed = suite_of(chosen).rounding_of_logits(chosen, model.ranges)
    for a, b in zip(from_map, from_own, strict=True):
        assert float((a - b).abs().max()) <= allowed
