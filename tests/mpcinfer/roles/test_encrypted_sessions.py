"""Sessions under linear=rlwe: the numbers of the plan without it, the counted bill, and no weight sent."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mpcinfer.counting import count
from mpcinfer.models.batch import Batch
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.model import Model
from mpcinfer.models.public import PublicModel
from mpcinfer.sessions.exchange import StepClient, serve_steps
from mpcinfer.sessions.session_config import SessionConfig
from mpcinfer.suites.fss.connect import encoded_weights, fss_session
from mpcinfer.suites.fss.dealing import ModelDealer, Writers
from mpcinfer.suites.fss.program import Program
from mpcinfer.suites.registry import get_plan, suite_of
from mpcinfer.suites.requests import Ahead
from parties.bill import Bill
from parties.channel import Channel
from parties.errors import RangeError
from parties.link import Link
from parties.randomness import InsecureTestRandom
from parties.threads import run_two_threads
from protocols.fss.preprocessing.seeds import DealerSeeds
from protocols.fss.preprocessing.source import RunShape
from protocols.fss.preprocessing.transport import Dealt
from protocols.plan import Plan
from tests.mpcinfer.test_fss_models import costs
from tests.mpcinfer.test_private_models import GPT2, LLAMA
from tests.mpcinfer.three_parties import random_model, run_model
from tests.protocols.additive.crypten.conftest import Recorder

DEALT = get_plan("fss-faithful")
ENCRYPTED, FREE = DEALT.replace(linear="rlwe"), get_plan("fss").replace(linear="rlwe")
SMALL = dataclasses.replace(GPT2, layers=1, width=16, head_width=8, hidden=24)
ONE_LLAMA = dataclasses.replace(LLAMA, layers=1)
PROMPT = [100, 101, 102, 32, 120]
models = pytest.mark.parametrize("config", [SMALL, ONE_LLAMA], ids=["gpt2", "llama"])


@cache
def small(config: ModelConfig = SMALL, seed: int = 1) -> Model:
    return random_model(config, seed)


def talk(steps: StepClient) -> list[torch.Tensor]:
    steps.expect(2)
    return [steps.step(PROMPT), steps.step([7]), steps.step([8])]


@cache
def session(config: ModelConfig, plan: Plan) -> tuple[list[torch.Tensor], Bill, Bill, list[str]]:
    """Logits, both bills, and the labels of all frames that the server sent."""
    recorders: dict[int, Recorder] = {}

    def wrap(channel: Channel, rank: int) -> Channel:
        recorders[rank] = Recorder(channel)
        return recorders[rank]

    logits, client, server = run_model(small(config), plan, talk, wrap, max_context=8)
    return logits, client, server, [frame.label for frame in recorders[0].sent]


@models
def test_the_logits_are_those_of_dealt_products_bit_by_bit(config: ModelConfig) -> None:
    encrypted, dealt = session(config, ENCRYPTED)[0], session(config, DEALT)[0]
    assert all(torch.equal(a, b) for a, b in zip(encrypted, dealt, strict=True))


@models
def test_both_parties_measure_what_is_counted(config: ModelConfig) -> None:
    counted = count(config, ENCRYPTED, tokens=5, new_tokens=3, ranges=small(config).ranges, max_context=8)
    for bill in session(config, ENCRYPTED)[1:3]:
        assert costs(bill) == costs(counted)


@models
def test_no_weight_is_brought_in(config: ModelConfig) -> None:
    """The control is the plan without it."""
    *_, labels = session(config, ENCRYPTED)
    assert not [label for label in labels if label.startswith("setup")]
    assert session(config, ENCRYPTED)[1].total.setup_bytes == 0
    *_, labels = session(config, DEALT)
    assert [label for label in labels if label.startswith("setup")]


def dealt(plan: Plan, seed_of_weights: int) -> tuple[Dealt, list[bytes]]:
    """All that the dealer sends, with the seed of the weights' masks another in each."""
    written: list[list[bytes]] = [[], [], []]

    def into(index: int):  # type: ignore[no-untyped-def]
        def write(data: NDArray[np.uint8]) -> None:
            written[index].append(data.tobytes())

        return write

    program = Program.of(plan, SMALL, small().ranges, 8)
    masks = InsecureTestRandom(seed_of_weights).draw_bytes(16)
    dealer = ModelDealer(program, DealerSeeds.fresh(InsecureTestRandom(1), masks))
    sent = dealer.deal(0, RunShape(0, 5), Writers(into(0), into(1), into(2)))
    return sent, [b"".join(each) for each in written]


def test_what_the_dealer_sends_has_no_part_for_weights_or_their_masks() -> None:
    """It never had the weights; here it does not multiply their masks either. The control: else it does."""
    first, other = dealt(ENCRYPTED, 1), dealt(ENCRYPTED, 2)
    assert first[0].linear == 0
    assert first[1] == other[1]
    assert dealt(DEALT, 1)[0].linear > 0
    assert dealt(DEALT, 1)[1][2] != dealt(DEALT, 2)[1][2]


def over_folder(folder: Path, model: Model) -> list[torch.Tensor]:
    """A conversation, of a server that has this model."""

    def server(link: Link) -> Bill:
        own = SessionConfig(
            plan=ENCRYPTED,
            public=PublicModel.of(small()),
            weights=model.weights,
            correlations=folder / "server",
        )
        with fss_session(link, own) as opened:
            return serve_steps(link, opened)

    def client(link: Link) -> list[torch.Tensor]:
        own = SessionConfig(plan=ENCRYPTED, public=PublicModel.of(small()), correlations=folder / "client")
        with fss_session(link, own) as opened:
            steps = StepClient(link, opened)
            steps.restart()
            logits = talk(steps)
            steps.finish()
            steps.part()
            return logits

    return run_two_threads(server, client)[1]


def test_correlations_of_a_folder_serve_any_weights(tmp_path: Path) -> None:
    """No mask hides a weight, so that a second set of weights loses nothing."""
    out = tmp_path / "correlations"
    ahead = Ahead(prompt=5, answer=3, count=2, out=out, command="mpcinfer deal")
    suite_of(ENCRYPTED).deal_ahead(ENCRYPTED, SMALL, small().ranges, ahead)
    first = over_folder(out, small())
    assert all(torch.equal(a, b) for a, b in zip(first, session(SMALL, DEALT)[0], strict=True))
    halved = {name: weight / 2 for name, weight in small().weights.items()}
    assert len(over_folder(out, dataclasses.replace(small(), weights=halved))) == 3


def test_checked_ranges_and_batches_of_any_lengths_cost_what_is_counted() -> None:
    plan, ranges, batch = FREE, small().ranges, Batch(2, padded=True)

    def use(steps: StepClient) -> None:
        steps.step(PROMPT)

    _, bill, _ = run_model(small(), plan, use, max_context=8, check_ranges=True)
    counted = count(SMALL, plan, tokens=5, ranges=ranges, max_context=8, check_ranges=True)
    assert costs(bill) == costs(counted)

    def together(steps: StepClient) -> None:
        steps.pad([0, 2])
        steps.step(PROMPT * 2)

    _, bill, _ = run_model(small(), plan, together, max_context=8, batch=batch)
    assert costs(bill) == costs(count(SMALL, plan, tokens=5, ranges=ranges, max_context=8, batch=batch))


def test_large_weights_are_refused() -> None:
    program = Program.of(ENCRYPTED, SMALL, small().ranges, 8)
    large = {**small().weights, "layer0.ffn.in.weight": small().weights["layer0.ffn.in.weight"] * 100}
    with pytest.raises(RangeError, match=r"linear=rlwe: layer0.ffn.in.weight .* take --set linear=dealt"):
        encoded_weights(program, large)
