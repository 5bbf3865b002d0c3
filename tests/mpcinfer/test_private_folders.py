"""Every family from its Hugging Face folder: calibrated, run by two parties under `fss`, and compared.

Private runs equal the fixed-point reference under the dealer's masks bit by bit, and `transformers` to within
what rounding of logits explains, as `--verify` has it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest
import torch
import transformers

from mpcinfer.models.families.registry import FAMILIES
from mpcinfer.models.huggingface import load_huggingface
from mpcinfer.models.model import Model
from mpcinfer.models.ranges import calibrate
from mpcinfer.suites.fss.program import Program
from mpcinfer.suites.registry import suite_of
from tests.mpcinfer.fss_parties import (
    PROBABILISTIC,
    PrivateRun,
    Whole,
    run_counted,
    run_private,
    run_replayed,
)
from tests.mpcinfer.models.family_cases import CASES
from tests.mpcinfer.test_fss_models import costs, equal

SEED = 1
TOKENS = 6
PROMPTS = ["def f(x):", "return x + 1", "import os", "for i in range(10): print(i)"]
SHORT = ("gpt2", "gemma3_text", "distilbert")
"""Run by `make test`; the parts of all others are in `test_private_families` and `test_encoders`."""
FAMILY = pytest.mark.parametrize(
    "family", [each if each in SHORT else pytest.param(each, marks=pytest.mark.long) for each in CASES]
)


@dataclasses.dataclass(frozen=True, eq=False)
class Shown:
    """A family's model, its private run, and what `transformers` gives for the same tokens."""

    whole: Whole
    steps: Sequence[Sequence[int]]
    run: PrivateRun
    theirs: list[torch.Tensor]

    @property
    def errors(self) -> tuple[float, float, float]:
        """The largest difference of any logit, what is stated, and the least spread of a row of logits."""
        pairs = list(zip(self.run.logits, self.theirs, strict=True))
        largest = max(float((ours.flatten() - theirs).abs().max()) for ours, theirs in pairs)
        stated = suite_of(PROBABILISTIC).rounding_of_logits(PROBABILISTIC, self.whole.model.ranges)
        return largest, stated, min(float(theirs.std()) for _, theirs in pairs)


def from_folder(family: str, folder: Path) -> tuple[Model, torch.nn.Module]:
    """Written by `transformers`, read from the folder, calibrated."""
    theirs = CASES[family].save(folder, SEED)
    model = load_huggingface(folder)
    return dataclasses.replace(model, ranges=calibrate(model, PROMPTS)), theirs


def passes(model: Model) -> Sequence[Sequence[int]]:
    """A prompt, and for decoders a token after it."""
    ids = model.tokenizer.encode(PROMPTS[0])[:TOKENS]
    return [ids[:-1], ids[-1:]] if model.config.causal else [ids]


@cache
def shown(family: str, folder: Path) -> Shown:
    model, theirs = from_folder(family, folder)
    steps = passes(model)
    ids = [token for step in steps for token in step]
    whole = Whole(model, Program.of(PROBABILISTIC, model.config, model.ranges, len(ids)))
    with torch.no_grad():
        right = theirs(torch.tensor([ids])).logits[0].double()
    ends = [sum(map(len, steps[: i + 1])) - 1 for i in range(len(steps))]
    rows = [right[end] for end in ends] if model.config.causal else [right]
    return Shown(whole, steps, run_private(whole, steps), rows)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return tmp_path_factory.mktemp("families")


def at(folders: Path, family: str) -> Shown:
    folder = folders / family
    folder.mkdir(exist_ok=True)
    return shown(family, folder)


def test_every_family_is_run() -> None:
    assert set(CASES) == set(FAMILIES)


@FAMILY
def test_a_run_is_the_reference_bit_by_bit(family: str, folders: Path) -> None:
    this = at(folders, family)
    assert len(this.run.logits) == len(this.steps)
    assert equal(this.run.logits, run_replayed(this.whole, this.steps, this.run))


@FAMILY
def test_and_transformers_within_what_is_stated(family: str, folders: Path) -> None:
    error, stated, spread = at(folders, family).errors
    assert 0 < error < stated
    assert stated < spread / 3, "logits of anything else would be beyond it"


@FAMILY
def test_parties_measure_what_is_counted(family: str, folders: Path) -> None:
    this = at(folders, family)
    counted = run_counted(this.whole, this.steps)
    assert all(costs(bill) == costs(counted) for bill in this.run.bills)
