"""Ranges that are checked: a value beyond its range is an error at the client, and silence without."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

from mpcinfer.counting import count
from mpcinfer.models.bounds import rounding_of_logits
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.folded import folded_config
from mpcinfer.models.load import load_config, load_ranges_of
from mpcinfer.models.model import Model
from mpcinfer.models.public import PublicModel
from mpcinfer.models.ranges import calibrate
from mpcinfer.sessions.addresses import Address
from mpcinfer.sessions.exchange import StepClient
from mpcinfer.sessions.session_config import SessionConfig
from mpcinfer.suites.fss import connect
from mpcinfer.suites.fss.connect import fss_session
from mpcinfer.suites.fss.program import Program
from mpcinfer.suites.fss.range_check import CHECK, require_agreement
from mpcinfer.suites.registry import get_plan, suite_of
from parties.errors import ConfigError, HandshakeFailed, PeerClosed, RangeError
from parties.link import Link
from parties.threads import run_two_threads
from protocols.fss.plans import is_faithful
from protocols.plan import Plan
from tests.mpcinfer.fss_parties import EXACT, PROBABILISTIC
from tests.mpcinfer.test_private_models import GPT2, LLAMA, POWER, PROMPT, _costs, _decode
from tests.mpcinfer.three_parties import random_model, run_model

SMALL = {"layers": 1, "width": 16, "head_width": 8, "hidden": 24}
ONE, TWO = dataclasses.replace(GPT2, **SMALL), dataclasses.replace(GPT2, **{**SMALL, "layers": 2})
MODELS = {
    "one layer": ONE,
    "gpt2": TWO,
    "llama": dataclasses.replace(LLAMA, **SMALL),
    "capped": dataclasses.replace(LLAMA, **SMALL, score_cap=0.5, logit_cap=2.0),
    "power4": dataclasses.replace(POWER, **SMALL),
}
OUT = {
    "embedding": (("embedding/",), 16.0),
    "gelu input": (("ffn.in/",), 8.0),
    "residual": (("/add", "out/linear", "embedding/embed", "embedding/add_positions"), 16.0),
    "scores": (("scores/",), 16.0),
    "norms": (("variance_max",), 32.0),
    "logits": (("logits/",), 4.0),
}
"""Which ranges are made too narrow, and by how much."""
MAX_CONTEXT = len(PROMPT) + 2


@cache
def model_of(config: ModelConfig) -> Model:
    return random_model(config)


def with_large_scores() -> Model:
    """Queries twelve times as long, so that scores pass the narrowest ring there is."""
    model = random_model(ONE)
    name, queries = "layer0.attn.qkv.weight", ONE.heads * ONE.head_width
    weight = model.weights[name].clone()
    weight[:, :queries] *= 12.0
    model = dataclasses.replace(model, weights={**model.weights, name: weight})
    return dataclasses.replace(model, ranges=calibrate(model, ["def f(x):", "return x + 1"]))


def narrowed(kind: str) -> tuple[Model, Model]:
    """A model in its ranges, and the same with some that are too narrow."""
    model = with_large_scores() if kind == "scores" else model_of(ONE)
    keys, factor = OUT[kind]
    ranges = {
        name: value / factor if any(key in name for key in keys) else value
        for name, value in model.ranges.items()
    }
    assert ranges != model.ranges
    return model, dataclasses.replace(model, ranges=ranges)


def prompt_logits(model: Model, plan: Plan) -> torch.Tensor:
    logits, _, _ = run_model(model, plan, lambda steps: steps.step(PROMPT), max_context=MAX_CONTEXT)
    return logits


def refused(steps: StepClient) -> str:
    """The error of a pass; the session goes on to its end."""
    with pytest.raises(RangeError) as caught:
        steps.step(PROMPT)
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "plan"),
    [
        ("gelu input", PROBABILISTIC),
        *(pytest.param(kind, PROBABILISTIC, marks=pytest.mark.long) for kind in OUT if kind != "gelu input"),
        *(pytest.param(kind, EXACT, marks=pytest.mark.long) for kind in ("gelu input", "residual")),
    ],
)
def test_a_value_beyond_its_range_is_an_error_with_the_check_and_silence_without(
    kind: str, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server would refuse ranges that do not hold its tokens.
    monkeypatch.setattr(connect, "require_known", lambda *of: None)
    model, narrow = narrowed(kind)
    wrong = prompt_logits(narrow, plan)
    assert float((wrong - prompt_logits(model, plan)).abs().max()) > rounding_of_logits(model.ranges)
    error, bill, server_bill = run_model(narrow, plan, refused, max_context=MAX_CONTEXT, check_ranges=True)
    assert "left its calibrated range" in error
    assert "mpcinfer calibrate MODEL --prompts FILE" in error
    assert _costs(bill) == _costs(server_bill)
    counted = count(
        ONE, plan, tokens=len(PROMPT), ranges=narrow.ranges, max_context=MAX_CONTEXT, check_ranges=True
    )
    assert _costs(bill) == _costs(counted)


def test_a_cap_of_logits_hides_no_value_beyond_its_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations are compared before the cap, which brings all that is large together."""
    monkeypatch.setattr(connect, "require_known", lambda *of: None)
    model = random_model(dataclasses.replace(ONE, logit_cap=2.0**-8))
    ranges = {key: value / (8.0 if "logits/" in key else 1.0) for key, value in model.ranges.items()}
    narrow = dataclasses.replace(model, ranges=ranges)
    assert float(prompt_logits(narrow, PROBABILISTIC).abs().max()) <= 2.0**-8
    error, _, _ = run_model(narrow, PROBABILISTIC, refused, max_context=MAX_CONTEXT, check_ranges=True)
    assert "left its calibrated range" in error


@pytest.mark.parametrize(
    ("name", "plan"),
    [
        ("one layer", PROBABILISTIC),
        *(
            pytest.param(name, PROBABILISTIC, marks=pytest.mark.long)
            for name in MODELS
            if name != "one layer"
        ),
        pytest.param("one layer", EXACT, marks=pytest.mark.long),
    ],
)
def test_answers_in_range_are_the_same_and_billed_as_counted(
    name: str, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart: list[float] = []

    def agree(first: torch.Tensor, second: torch.Tensor, ranges: dict[str, float]) -> None:
        require_agreement(first, second, ranges)
        apart.append(float((first - second).abs().max()) / rounding_of_logits(ranges))

    monkeypatch.setattr("mpcinfer.suites.fss.program.require_agreement", agree)
    config, model = MODELS[name], model_of(MODELS[name])
    (plain, tokens), usual, _ = run_model(model, plan, _decode, max_context=MAX_CONTEXT)
    (logits, again), bill, server_bill = run_model(
        model, plan, _decode, max_context=MAX_CONTEXT, check_ranges=True
    )
    assert again == tokens
    assert torch.equal(logits, plain) or not is_faithful(plan)
    sizes = {"tokens": len(PROMPT), "new_tokens": 3, "ranges": model.ranges}
    assert _costs(bill) == _costs(count(config, plan, **sizes, check_ranges=True))
    assert _costs(bill) == _costs(server_bill)
    first = {label: costs for label, costs in _costs(bill).items() if not label.startswith(CHECK)}
    assert first == _costs(usual)
    rounds = sum(row.rounds for row in bill.rows if row.label.startswith(CHECK))
    assert rounds >= usual.total.rounds
    assert rounds == usual.total.rounds or is_faithful(plan)
    # Two evaluations were compared a pass, and are far closer than they have to be.
    assert len(apart) == 3
    assert 0 < max(apart) < 1 / 3
    assert any("ranges were checked" in note for note in bill.notes)


def test_passes_are_taken_back_and_drafts_checked_as_ever() -> None:
    def use(steps: StepClient) -> list[torch.Tensor]:
        first = steps.step(PROMPT)
        drafted = steps.step([40, 41, 42], 3)
        steps.rewind(len(PROMPT) + 1)
        return [first, drafted, steps.step([43])]

    model = model_of(ONE)
    plain, _, _ = run_model(model, EXACT, use, max_context=16)
    checked, _, _ = run_model(model, EXACT, use, max_context=16, check_ranges=True)
    assert all(torch.equal(a, b) for a, b in zip(plain, checked, strict=True))


def test_every_value_of_the_second_evaluation_is_wider() -> None:
    model = model_of(GPT2)
    program = Program.of(PROBABILISTIC, model.config, model.ranges, MAX_CONTEXT, check_ranges=True)
    assert program.second is not None
    usual, other = program.widths, program.second.widths
    assert other.residual_bits > usual.residual_bits
    assert other.embedding_bits > usual.embedding_bits
    assert other.logits_bits > usual.logits_bits
    for layer in range(GPT2.layers):
        mine, its = usual.attention(layer), other.attention(layer)
        assert its.score_bits > mine.score_bits
        assert its.mix_bits > mine.mix_bits
        assert its.qkv_integer > mine.qkv_integer
        assert its.norm.square_bits > mine.norm.square_bits
        assert other.ffn(layer).preactivation_bits > usual.ffn(layer).preactivation_bits
        assert other.ffn(layer).out_bits > usual.ffn(layer).out_bits


def test_weights_have_masks_of_their_own_in_the_second_evaluation() -> None:
    model = model_of(ONE)
    names = Program.of(PROBABILISTIC, ONE, model.ranges, MAX_CONTEXT, check_ranges=True).matrices()
    assert all(name == each.name for name, each in names.items())
    assert {f"check.{name}" for name in names if not name.startswith("check.")} == {
        name for name in names if name.startswith("check.")
    }


def test_where_scores_have_no_room_the_second_evaluation_takes_the_tree() -> None:
    config, ranges = folded_config(load_config("tiny-python")), dict(load_ranges_of("tiny-python"))

    def rounds(*, check_ranges: bool) -> int:
        return count(
            config, PROBABILISTIC, tokens=MAX_CONTEXT, ranges=ranges, check_ranges=check_ranges
        ).total.rounds

    assert rounds(check_ranges=True) == 2 * rounds(check_ranges=False)
    ranges["layer1.attn.scores/matmul"] = 150.0  # of the 8 bits that histograms hold
    assert rounds(check_ranges=True) > 2 * rounds(check_ranges=False)


# -- who agrees to it ----------------------------------------------------------------------------------------


def _open(session_config: Callable[[int], SessionConfig]) -> None:
    def party(link: Link) -> None:
        assert link.rank is not None
        with fss_session(link, session_config(link.rank)):
            pytest.fail("opened")

    run_two_threads(party, party)


@pytest.mark.parametrize("asking", [0, 1], ids=["the server", "the client"])
def test_parties_of_which_one_checks_are_told_so(asking: int) -> None:
    public = PublicModel.of(model_of(ONE))
    nowhere = Address("tcp://127.0.0.1:1", "")

    def session_config(rank: int) -> SessionConfig:
        return SessionConfig(plan=PROBABILISTIC, public=public, dealer=nowhere, check_ranges=rank == asking)

    with pytest.raises((HandshakeFailed, PeerClosed), match=r"plan: .*--check-ranges"):
        _open(session_config)


def test_the_suite_crypten_and_folders_refuse(tmp_path: Path) -> None:
    public, crypten = PublicModel.of(model_of(ONE)), get_plan("crypten")
    with pytest.raises(ConfigError, match=r"--check-ranges is for plans of the suite fss.*crypten"):
        suite_of(crypten).ready(SessionConfig(plan=crypten, public=public, check_ranges=True))
    with pytest.raises(ConfigError, match="--check-ranges needs a dealer"):
        suite_of(PROBABILISTIC).ready(
            SessionConfig(plan=PROBABILISTIC, public=public, correlations=tmp_path, check_ranges=True)
        )
    with pytest.raises(ConfigError, match="--check-ranges is for plans of the suite fss"):
        count(ONE, crypten, tokens=4, check_ranges=True)
    with pytest.raises(ConfigError, match="calibrated"):
        count(ONE, PROBABILISTIC, tokens=4, check_ranges=True)
