"""Every family against `transformers`, on settings drawn among its keys."""

from __future__ import annotations

from pathlib import Path

import pytest
import transformers

from mpcinfer.models.families.registry import FAMILIES
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


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("family", CASES)
def test_logits_equal_transformers(family: str, seed: int, tmp_path: Path) -> None:
    theirs = CASES[family].save(tmp_path, seed)
    error, spread = largest_error(theirs, tmp_path)
    assert error < TOLERANCE
    assert spread > 0.1
