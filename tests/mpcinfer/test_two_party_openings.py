"""A whole inference without a dealer sends nothing but what `tests/openings.txt` lists, and all of that."""

from __future__ import annotations

import dataclasses
from functools import cache

import pytest
import torch

from mpcinfer.models.config import ModelConfig
from mpcinfer.sessions.exchange import StepClient
from mpcinfer.suites.registry import get_plan
from parties.documents import from_bytes
from parties.link import MAX_DOCUMENT_BYTES
from parties.wire import Frame
from protocols.two_party import vectors
from tests.mpcinfer.test_private_models import GPT2, LLAMA
from tests.mpcinfer.three_parties import random_model
from tests.mpcinfer.two_parties import TwoPartyRun, run_two_parties
from tests.openings import listed, reason

SUITE = "two-party"
FORMS = {"gpt2": GPT2, "llama": LLAMA}
PLANS_OF_TEST = {
    "two-party": get_plan("two-party"),
    "compared": get_plan("two-party").replace(
        softmax="tree", gelu="piecewise", silu="piecewise", inverse_sqrt="octaves"
    ),
}
OFFLINE = "correlations"
OF_ENCODERS = "matmul"
"""Decoders open keys and values as what is kept."""
ONE_WAY = {
    "linear": {"server"},
    "output": {"client"},
}
"""Who receives what only one party is sent."""


def session(steps: StepClient) -> torch.Tensor:
    """A prompt, with logits after two of its tokens, and a token after it."""
    steps.step([1, 2, 3], 2)
    return steps.step([4])


@cache
def run_of(name: str, plan: str = "two-party") -> TwoPartyRun:
    """One layer; products of vectors by encryption even where they are few, so that no reason is missing."""
    config: ModelConfig = dataclasses.replace(FORMS[name], layers=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectors, "FEWEST", 64)
        return run_two_parties(random_model(config), session, PLANS_OF_TEST[plan])


def is_document(frame: Frame) -> bool:
    """Plain values, which are a map: lengths and bills."""
    if [spec.bits for spec in frame.specs] != [8]:
        return False
    return isinstance(from_bytes(frame.payload[0], MAX_DOCUMENT_BYTES), dict)


@pytest.mark.parametrize("name", FORMS)
def test_every_frame_has_a_listed_reason_and_every_reason_is_used(name: str) -> None:
    frames = [frame for plan in PLANS_OF_TEST for frame in run_of(name, plan).frames]
    with_reasons = [frame for frame in frames if "/" in frame.label]
    assert all(is_document(frame) for frame in frames if "/" not in frame.label)
    assert {reason(frame.label, SUITE) for frame in with_reasons} == set(listed(SUITE)) - {OF_ENCODERS}


@pytest.mark.parametrize("name", FORMS)
def test_what_makes_correlations_is_offline_and_nothing_else_is(name: str) -> None:
    """Offline frames have depths of their own: they wait for nothing that is computed from an input."""
    making = {"base", "ot", "rlwe"}
    run = run_of(name)
    bill = run.bill.total
    for frame in run.frames:
        if "/" in frame.label:
            offline = reason(frame.label, SUITE).split(".")[0] in making
            assert frame.label.startswith(OFFLINE) == offline, frame.label
            deepest = bill.offline_rounds if offline else bill.rounds
            assert 1 <= frame.depth <= deepest, frame.label


@pytest.mark.parametrize("name", FORMS)
def test_inputs_and_results_go_one_way(name: str) -> None:
    run = run_of(name)
    for why, receivers in ONE_WAY.items():
        got = {
            who
            for who, frames in (("server", run.to_server), ("client", run.to_client))
            if any(frame.label.endswith(f"/{why}") for frame in frames)
        }
        assert got == receivers, why


def test_lines_say_why() -> None:
    assert all(len(why) > 60 for why in listed(SUITE).values())
