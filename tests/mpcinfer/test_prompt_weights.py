"""Prompt weights in the clear: where examples stand, what is refused, and what attention makes of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from mpcinfer.backends.attention_weights import causal_weights, visible_keys, weighed_scores
from mpcinfer.clear import ClearModel
from mpcinfer.models.column_weights import ColumnWeights, same_columns
from mpcinfer.models.config import AttentionForm
from mpcinfer.models.model import Model
from mpcinfer.prompt_weights.document import document_of, load_weights, weights_of
from mpcinfer.prompt_weights.in_the_clear import ClearPredictions
from mpcinfer.prompt_weights.spans import examples_of_tokens, spans_of
from mpcinfer.prompt_weights.task import Example, FewShot
from mpcinfer.prompt_weights.weights import PromptWeights
from mpcinfer.sampling import greedy
from mpcinfer.verification import Witness
from parties.errors import ConfigError
from tests.mpcinfer.test_private_models import GPT2, POWER
from tests.mpcinfer.three_parties import random_model

SMALL = dataclasses.replace(GPT2, layers=2, width=16, head_width=8, hidden=24, context=96)
DOUBLE = torch.float64


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(1))


# -- the identity --------------------------------------------------------------------------------------------


def test_log_weights_in_the_scores_are_weights_of_exp() -> None:
    """float64 rounds to 1e-16; sums over eight keys leave 1e-15."""
    scores, w, form = drawn(2, 3, 5, 8), drawn(8).exp(), AttentionForm("softmax", 2, 0.0)
    seen = visible_keys(scores, 3)
    powers = w * torch.exp(scores) * seen
    expected = powers / powers.sum(-1, keepdim=True)
    got = causal_weights(weighed_scores(scores, torch.log(w)[None, None, None], form), 3, form)
    assert (got - expected).abs().max() < 1e-12


@pytest.mark.parametrize("power", [2, 4, 6])
def test_scaled_keys_of_power_attention_are_weights_of_powers(power: int) -> None:
    """With an offset, which stands in a constant coordinate of the key and is scaled with it."""
    q, k, w, offset, epsilon = drawn(2, 3, 5, 4), drawn(2, 3, 8, 4), drawn(8).exp(), 0.7, 0.1
    form = AttentionForm("power", power, epsilon)
    seen, lengths = visible_keys(drawn(5, 8), 3), torch.arange(4, 9, dtype=DOUBLE)[:, None]
    powers = w * (q @ k.transpose(-1, -2) + offset) ** power * seen
    expected = powers / (powers.sum(-1, keepdim=True) + epsilon * lengths)
    q, k = (torch.cat([x, torch.full_like(x[..., :1], c)], -1) for x, c in ((q, 1.0), (k, offset)))
    scaled = q @ (k * w[:, None] ** (1 / power)).transpose(-1, -2)
    logs = torch.log(w)[None, None, None]
    assert (weighed_scores(q @ k.transpose(-1, -2), logs, form) - scaled).abs().max() < 1e-12
    assert (causal_weights(scaled, 3, form) - expected).abs().max() < 1e-12


@pytest.mark.parametrize("config", [SMALL, POWER], ids=["softmax", "power"])
def test_an_example_of_weight_two_counts_as_often_as_twice(config: object) -> None:
    """Without positions, two copies of a key are one key of weight 2, but for the length of power's rows."""
    scores = drawn(1, 1, 1, 3)
    twice = torch.cat([scores[..., :1], scores], -1)
    logs = torch.log(torch.tensor([2.0, 1.0, 1.0], dtype=DOUBLE))[None, None, None]
    kind = config.attention  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]
    form = AttentionForm(kind, 4, 0.0)  # pyright: ignore[reportUnknownArgumentType]
    one = causal_weights(weighed_scores(scores, logs, form), 2, form)
    two = causal_weights(twice, 3, form)
    assert one[..., 0] == pytest.approx(float(two[..., :2].sum()))
    assert one[..., 1:].flatten().tolist() == pytest.approx(two[..., 2:].flatten().tolist())


def test_other_attention_has_no_weights() -> None:
    with pytest.raises(ConfigError, match="softmax and power attention, not for relu"):
        weighed_scores(drawn(1, 1, 2, 2), drawn(1, 1, 1, 2), AttentionForm("relu", 2, 0.0))


# -- spans ---------------------------------------------------------------------------------------------------


def test_examples_are_found_in_order_also_where_they_repeat() -> None:
    assert spans_of("aa b aa c", ["aa", "aa"]) == [(0, 2), (5, 7)]
    with pytest.raises(ConfigError, match="the prompt lacks example 1, 'd'"):
        spans_of("aa b", ["d"])
    with pytest.raises(ConfigError, match="the prompt after example 1 lacks example 2, 'aa'"):
        spans_of("aa b", ["aa", "aa"])
    with pytest.raises(ConfigError, match="example 2 is empty"):
        spans_of("aa b", ["aa", ""])


def test_a_token_belongs_to_the_first_example_that_it_has_a_character_of() -> None:
    tokens = [(0, 0), (0, 2), (2, 5), (5, 6), (6, 9)]
    assert examples_of_tokens(tokens, [(1, 3), (3, 5), (8, 9)]) == [None, 0, 0, None, 2]


# -- weights that are refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ([1.0, -0.5], "example 2 has -0.5"),
        ([math.nan, 1.0], "example 1 has nan"),
        ([math.inf, 1.0], "example 1 has inf"),
        ([0.0, 0.0], "all weights are 0"),
        ([1.0], "1 weights for 2 examples"),
    ],
)
def test_weights_that_are_none_are_refused_by_name(weights: list[float], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        PromptWeights.of(["a", "b"], weights)


def test_so_are_no_examples_and_a_least_weight_out_of_range() -> None:
    with pytest.raises(ConfigError, match="no examples"):
        PromptWeights.of([], [])
    with pytest.raises(ConfigError, match="least is above 0"):
        PromptWeights.of(["a"], [1.0], least=0.0)


def test_weights_are_clipped_below_relative_to_the_largest() -> None:
    logs = PromptWeights.of(["a", "b", "c"], [0.0, 4.0, 1.0], least=0.01).logs
    assert logs == pytest.approx([math.log(0.04), math.log(4.0), 0.0])
    assert PromptWeights.of(["a"], [0.001], least=0.01).logs == pytest.approx([math.log(0.01)])


def test_documents_come_back_and_others_are_refused(tmp_path: Path) -> None:
    weights = PromptWeights.of(["a", "b"], [0.0, 2.0], least=0.5)
    assert weights_of(document_of(weights)) == weights
    for wrong in ([], {"examples": 3}, {"examples": [{"text": "a"}]}, {"examples": [], "x": 1}):
        with pytest.raises(ConfigError):
            weights_of(wrong)
    with pytest.raises(ConfigError, match="an example is one of"):
        weights_of({"examples": [{"text": "a", "weight": True}]})
    file = tmp_path / "weights.json"
    file.write_text("{")
    with pytest.raises(ConfigError, match="is no JSON"):
        load_weights(file)


# -- models --------------------------------------------------------------------------------------------------


def told_apart(shots: Sequence[Example], known: Sequence[Example]) -> FewShot:
    """A task for tokens of a byte: labels x and y follow a question without the space, their first token."""
    return FewShot(tuple(shots), tuple(known), ("x", "y"), (ord("x"), ord("y")))


def first_logits(model: Model, prompt: str, weights: PromptWeights | None) -> torch.Tensor:
    witness = Witness(greedy)
    ClearModel(model).complete(prompt, max_new_tokens=1, sampler=witness, weights=weights)
    return witness.logits[0]


@pytest.mark.parametrize("config", [SMALL, POWER], ids=["softmax", "power"])
def test_weights_move_a_models_answer_and_ones_do_not(config: object) -> None:
    model = random_model(config)  # pyright: ignore[reportArgumentType]
    plain = first_logits(model, "ab-cd", None)
    assert torch.equal(plain, first_logits(model, "ab-cd", PromptWeights.of(["ab"])))
    assert not torch.equal(plain, first_logits(model, "ab-cd", PromptWeights.of(["ab"], [0.1])))


def test_batches_of_the_clear_model_take_a_weighting_each() -> None:
    model, weights = random_model(SMALL), PromptWeights.of(["ab"], [0.1])
    witnesses = [Witness(greedy), Witness(greedy)]
    ClearModel(model).complete_batch(
        ["ab-cd", "ab-cd"], max_new_tokens=1, sampler=witnesses, weights=[weights, None]
    )
    assert torch.equal(witnesses[0].logits[0], first_logits(model, "ab-cd", weights))
    assert torch.equal(witnesses[1].logits[0], first_logits(model, "ab-cd", None))


def test_many_weightings_at_once_are_one_after_the_other() -> None:
    """float32 of two layers: 1e-6 relative, probabilities are near a half."""
    model = random_model(SMALL)
    shots = [Example("a", "x"), Example("b", "y")]
    task = told_apart(shots, [Example("c", "x"), Example("d", "y")])
    rows = torch.tensor([[1.0, 1.0], [0.0, 3.0], [2.0, 0.5]], dtype=DOUBLE)
    found = ClearPredictions(model, task)(rows)
    assert found.shape == (3, 2, 2)
    for row, each in zip(rows, found, strict=True):
        weights = PromptWeights.of(task.texts, [float(w) for w in row])
        for asked, got in zip(task.validation, each, strict=True):
            alone = task.probabilities(first_logits(model, task.prompt(asked), weights))
            assert (got - alone).abs().max() < 1e-5


def test_columns_with_the_same_weights_are_the_same_however_long() -> None:
    one = ColumnWeights.of_rows([[-1.0, 0.0]])
    assert same_columns(one, ColumnWeights.of_rows([[-1.0, 0.0, 0.0]]))
    assert not same_columns(one, ColumnWeights.of_rows([[-1.0, 0.0, -1.0]]))
    assert same_columns(None, ColumnWeights.of_rows([[0.0, 0.0]]))
    assert not same_columns(one, None)
    assert one.columns(3).tolist() == [[-1.0, 0.0, 0.0]]
    assert one.columns(1).tolist() == [[-1.0]]
