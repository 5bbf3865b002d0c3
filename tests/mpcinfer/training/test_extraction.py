"""The verbatim continuation rate is that of greedy answers."""

from __future__ import annotations

import numpy as np
import pytest

from mpcinfer.models.config import ModelConfig
from mpcinfer.training.batches import Batches
from mpcinfer.training.extraction import extraction
from mpcinfer.training.losses import greedy_tokens
from mpcinfer.training.recipe import Recipe
from mpcinfer.training.trainer import TrainingState
from parties.errors import ConfigError

CONFIG = ModelConfig(
    layers=1, width=32, heads=2, kv_heads=2, head_width=16, hidden=64, vocabulary=16, context=12
)
RECIPE = Recipe(steps=60, batch=8, learning_rate=1e-2, warmup=5, precision="float32", seed=3)
TEXT = np.random.default_rng(0).integers(16, size=40).astype(np.uint16)


def test_the_rate_is_that_of_greedy_answers() -> None:
    """A model that knows a part of a text by heart, prefix by prefix."""
    state = TrainingState(CONFIG, RECIPE)
    batches = Batches(tokens=np.tile(TEXT, 60), batch=8, context=12, seed=0)
    for step in range(RECIPE.steps):
        state.advance(*batches.at(step))
    weights = state.plain_weights()
    rows = [TEXT[at : at + 7].tolist() for at in range(0, 34, 3)]
    answers = [greedy_tokens(CONFIG, weights, row[:3], 4) for row in rows]
    expected = [answer == row[3:] for answer, row in zip(answers, rows, strict=True)]
    found = extraction(CONFIG, weights, [TEXT], prefix=3, continuation=4, stride=3, batch=5)
    assert found.prefixes == len(rows) == 12
    assert found.verbatim == pytest.approx(sum(expected) / len(rows))
    assert 0 < found.verbatim < 1
    assert found.verbatim <= found.tokens < 1


def test_what_cannot_be_continued_is_refused() -> None:
    weights = TrainingState(CONFIG, RECIPE).plain_weights()
    with pytest.raises(ConfigError, match="fit the context of 12"):
        extraction(CONFIG, weights, [TEXT], prefix=8, continuation=5)
    with pytest.raises(ConfigError, match="no text has 9 tokens"):
        extraction(CONFIG, weights, [TEXT[:8]], prefix=5, continuation=4)
