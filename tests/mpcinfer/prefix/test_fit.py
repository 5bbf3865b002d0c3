"""Fitted and trained adapters, in float."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.model import Model
from mpcinfer.models.static import static
from mpcinfer.prefix.adapter import DIVISOR, READ, SUM, PrefixAdapter
from mpcinfer.prefix.fit import fit_prefix
from mpcinfer.prefix.teacher import prefix_keys, run_teacher, teacher_logits
from mpcinfer.prefix.train import Recipe, train_prefix
from parties.errors import ConfigError
from tests.mpcinfer.test_fss_models import LLAMA, ONE
from tests.mpcinfer.three_parties import random_model

POWER = dataclasses.replace(
    LLAMA, attention="power", power=2, attention_epsilon=1e-3, attention_offset=True, attention_shift=0.5
)
PREFIX, TEXT = list(b"def first(a, b):"), list(b"return a + b")
WINDOWS = [list(bytes((40 + (7 * i + 3 * j) % 80) for j in range(12))) for i in range(48)]


def adapted_logits(model: Model, adapter: PrefixAdapter, ids: list[int]) -> torch.Tensor:
    config, weights = static(model.config, model.weights)
    plain = PlainBackend()
    in_double = {name: value.double() for name, value in weights.items()}
    decoder = Decoder(plain, config, in_double, adapter.states())
    return decoder.forward(plain.tokens(ids, len(ids)), len(ids))[0]


def test_pairs_are_exact_with_rope_offsets_shift_and_epsilon() -> None:
    """The same as the prefix's own keys before the text's, up to rounding of float64."""
    model = random_model(POWER)
    keys = prefix_keys(model, PREFIX)
    right, _ = teacher_logits(model, TEXT, keys)
    without, _ = teacher_logits(model, TEXT, ())
    fit = fit_prefix(model, PREFIX, WINDOWS[:4], "pairs")
    found = adapted_logits(model, fit.adapter, TEXT)
    assert float((found - right).abs().max()) < 1e-8
    assert float((without - right).abs().max()) > 0.1


def test_the_text_after_a_prefix_is_that_of_one_text_with_rope() -> None:
    """Distances alone count: nobody sees where the text begins."""
    model = random_model(LLAMA)
    keys = prefix_keys(model, PREFIX[:8])
    split, _ = teacher_logits(model, TEXT, keys)
    whole, _ = teacher_logits(model, [*PREFIX[:8], *TEXT], ())
    assert float((split - whole[8:]).abs().max()) < 1e-9


@pytest.mark.parametrize("features", ["square", "elu"])
def test_a_fit_to_softmax_is_nearer_than_no_prefix_and_measured(features: str) -> None:
    model = random_model(dataclasses.replace(ONE, head_width=4))
    fit = fit_prefix(model, PREFIX, WINDOWS, features)  # type: ignore[arg-type]
    assert max(fit.errors) < 0.8
    assert all(float(each[..., -1].min()) >= 0 for each in fit.adapter.sums)
    measured = fit.adapter.measured
    rows = [run_teacher(model, ids, ())[0] for ids in WINDOWS]
    assert measured[READ] >= measured[SUM] > 0
    assert 0 < measured[DIVISOR] <= len(rows[0].k[0, 0]) + measured[SUM]


def test_training_lowers_the_loss_from_the_model_as_it_is_and_keeps_z_from_being_negative() -> None:
    model = random_model(dataclasses.replace(ONE, head_width=4))
    trained = train_prefix(model, WINDOWS, "square", Recipe(steps=30, batch=8, rate=0.05))
    again = train_prefix(model, WINDOWS, "square", Recipe(steps=2, batch=8, rate=0.05))
    assert trained.losses[:2] == again.losses  # the same order of windows
    assert sum(trained.losses[-5:]) < 0.95 * sum(trained.losses[:5])
    assert all(float(each[..., -1].min()) >= 0 for each in trained.adapter.sums)
    nothing = dataclasses.replace(
        trained.adapter, sums=tuple(torch.zeros_like(each) for each in trained.adapter.sums)
    )
    without, _ = teacher_logits(model, TEXT, ())
    assert float((adapted_logits(model, nothing, TEXT) - without).abs().max()) < 1e-9


def test_what_has_no_prefix_is_refused_by_name() -> None:
    model = random_model(ONE)
    with pytest.raises(ConfigError, match="four windows"):
        fit_prefix(model, PREFIX, WINDOWS[:3], "square")
    with pytest.raises(ConfigError, match="at least one token"):
        fit_prefix(model, [], WINDOWS, "square")
    with pytest.raises(ConfigError, match="learned positions end at 24"):
        fit_prefix(model, [1] * 25, WINDOWS, "square")
    with pytest.raises(ConfigError, match="features pairs are for power 2"):
        fit_prefix(model, PREFIX, WINDOWS, "pairs")
    with pytest.raises(ConfigError, match="windows of one length"):
        train_prefix(model, [[1, 2], [1, 2, 3]], "square", Recipe())
    windowed = random_model(dataclasses.replace(LLAMA, windows=(4,)))
    with pytest.raises(ConfigError, match="windows, which a prefix"):
        fit_prefix(windowed, PREFIX, WINDOWS, "square")
