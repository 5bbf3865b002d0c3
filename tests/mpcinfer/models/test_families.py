"""Every family against `transformers`, on settings drawn among its keys."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import transformers

from mpcinfer.models.families.registry import FAMILIES
from mpcinfer.models.huggingface import load_huggingface
from parties.errors import ConfigError
from tests.mpcinfer.models.family_cases import CASES, largest_error

# Both sides compute in float32: see `test_huggingface`.
TOLERANCE = 1e-4
SEEDS = range(4)


@pytest.fixture(autouse=True)
def _quiet_transformers() -> None:
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def test_every_family_has_a_case() -> None:
    assert set(CASES) == set(FAMILIES)


CLASSIFIERS = [kind for kind, family in FAMILIES.items() if family.classifier is not None]


@pytest.mark.parametrize("family", CLASSIFIERS)
def test_classifiers_equal_transformers(family: str, tmp_path: Path) -> None:
    case = CASES[family]
    kind = transformers.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[case.config]
    labels = {0: "bad", 1: "fair", 2: "good"}
    theirs = dataclasses.replace(case, model=kind).save(tmp_path, 1, id2label=labels)
    error, spread = largest_error(theirs, tmp_path)
    assert error < TOLERANCE
    assert spread > 0.1
    model = load_huggingface(tmp_path)
    assert (model.config.classes, model.labels) == (3, ("bad", "fair", "good"))


def test_a_classifier_that_transformers_has_not_is_refused(tmp_path: Path) -> None:
    CASES["granite"].save(tmp_path, 1)
    path = tmp_path / "config.json"
    path.write_text(path.read_text().replace("GraniteForCausalLM", "GraniteForSequenceClassification"))
    with pytest.raises(ConfigError, match="architectures"):
        load_huggingface(tmp_path)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("family", CASES)
def test_logits_equal_transformers(family: str, seed: int, tmp_path: Path) -> None:
    theirs = CASES[family].save(tmp_path, seed)
    error, spread = largest_error(theirs, tmp_path)
    assert error < TOLERANCE
    assert spread > 0.1
