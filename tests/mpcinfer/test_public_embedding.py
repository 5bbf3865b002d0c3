"""A plan whose token table is public: the same numbers, fewer bytes, and the table at the client."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mpcinfer.counting import count
from mpcinfer.models.config import ModelConfig
from mpcinfer.suites.fss.weights import matrices
from mpcinfer.suites.registry import get_plan
from protocols.fss.registry import resolve as resolve_fss
from protocols.plan import Plan
from tests.mpcinfer.fss_parties import Steps, Whole, run_clear, run_private
from tests.mpcinfer.test_fss_models import GPT2, LLAMA, costs
from tests.mpcinfer.three_parties import random_model

STEPS: Steps = (list(b"f(x, y"), [41], [58])
EXACT = get_plan("fss-faithful")
PUBLIC = EXACT.replace(embedding="public")
models = pytest.mark.parametrize(
    "config", [dataclasses.replace(GPT2, layers=1), LLAMA], ids=["tied, positions", "untied, rope"]
)


def whole(config: ModelConfig, plan: Plan) -> Whole:
    return Whole.of(random_model(config), plan, 8)


@models
def test_the_logits_are_the_references_and_those_of_a_private_table(config: ModelConfig) -> None:
    model = whole(config, PUBLIC)
    private = run_private(model, STEPS).logits
    for reference in (run_clear(model, STEPS), run_clear(whole(config, EXACT), STEPS)):
        assert all(torch.equal(a, b) for a, b in zip(private, reference, strict=True))


@models
def test_the_bill_is_counted_and_rows_take_the_place_of_one_hot_vectors(config: ModelConfig) -> None:
    model = whole(config, PUBLIC)
    ranges, sizes = model.model.ranges, {"tokens": len(STEPS[0]), "new_tokens": len(STEPS)}
    counted = count(config, PUBLIC, ranges=ranges, **sizes)
    for bill in run_private(model, STEPS).bills:
        assert costs(bill) == costs(counted)
    usual = count(config, EXACT, ranges=ranges, **sizes).total
    tokens, bits = sum(map(len, STEPS)), model.program.widths.embedding_bits
    saved = usual.online_bytes_to_server - counted.total.online_bytes_to_server
    rows = [len(step) * (config.vocabulary - config.width) * bits / 8 for step in STEPS]
    assert abs(saved - sum(rows)) <= len(rows)  # each message has whole bytes
    assert usual.offline_bytes_to_server - counted.total.offline_bytes_to_server == pytest.approx(
        2 * tokens * config.width * bits / 8, abs=2 * len(rows)
    )
    assert counted.total.rounds == usual.rounds


@models
def test_the_client_gets_the_table_and_no_other_weight(config: ModelConfig) -> None:
    model = whole(config, PUBLIC)
    program = model.program
    known = {name: matrix for name, matrix in program.matrices().items() if matrix.public is not None}
    assert set(known) == {"embed.tokens"}
    assert known["embed.tokens"].masked == config.tied_head
    assert all(matrix.public is None for matrix in matrices(program.folded, program.widths).values())
    frames = run_private(model, STEPS).frames[0]
    labels = [frame.label for frame in frames if frame.label.startswith("setup in the clear")]
    assert labels == ["setup in the clear/embed.tokens"]


def test_the_option_says_what_it_gives_away() -> None:
    suite = resolve_fss(get_plan("fss").replace(embedding="public"))
    assert "token table to the client, in the clear" in suite.embedding.reveals
    assert not resolve_fss(get_plan("fss")).embedding.reveals
