"""The model that ships with the package: small enough, in range, and sensible about Python."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import mpcinfer.models
from mpcinfer.models.load import load_model
from mpcinfer.models.model import Model
from mpcinfer.models.ranges import calibrate
from mpcinfer.training.losses import greedy_tokens

FOLDER = Path(mpcinfer.models.__path__[0]) / "shipped" / "tiny-python"


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("tiny-python")


def complete(model: Model, prompt: str, count: int = 4) -> str:
    """What the float model writes next, always the most probable token."""
    tokens = model.tokenizer.encode(prompt)
    answer = greedy_tokens(model.config, dict(model.weights), tokens, count, model.tokenizer.stop)
    return model.tokenizer.decode(answer)


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("for i in", " range("),
        ("def __init__(self", ","),
        ("class Node:\n    def __init__(self", ","),
        ("if x is not", " None:"),
        ("import numpy as", " np\n"),
        ("    @property\n    def name(", "self)"),
        ("elif isinstance(value", ", "),
        ("items = [x for x", " in "),
        ("while True", ":\n"),
        ("from __future__ import", " annotations\n"),
    ],
)
def test_completes_simple_python(model: Model, prompt: str, answer: str) -> None:
    """Each is the likeliest token by a wide margin in the float model, so rounding does not decide it."""
    assert complete(model, prompt, 8).startswith(answer)


def test_completes_the_main_guard(model: Model) -> None:
    assert complete(model, "if __name__ ==", 8).startswith((' "__main__":', " '__main__':"))


def test_imports_a_module_that_exists(model: Model) -> None:
    line = complete(model, "import os\nimport").splitlines()[0]
    assert line.strip().split(".")[0] in sys.stdlib_module_names


def test_is_small_and_has_its_card() -> None:
    assert (FOLDER / "model.safetensors").stat().st_size < 8_000_000
    card = (FOLDER / "README.md").read_text()
    for fact in ("Split digest", "held out", "perplexity", "seed 0", "Apache-2.0", "## Limits"):
        assert fact in card
    assert not (FOLDER / "training").exists()


def test_numbers_of_the_card_are_those_of_the_model(model: Model) -> None:
    card = (FOLDER / "README.md").read_text()
    assert f"| parameters | {model.config.parameters:,} |" in card
    assert f"byte-level BPE of {model.tokenizer.backend.get_vocab_size():,} tokens" in card


def test_values_fit_sixteen_fraction_bits(model: Model) -> None:
    """CrypTen multiplies in 64 bits with 16 of fraction: products must stay far below 2^31."""
    ranges = model.ranges
    largest = max(value for key, value in ranges.items() if not key.endswith("variance_min"))
    assert largest < 2**10
    assert min(value for key, value in ranges.items() if key.endswith("variance_min")) > 2**-8


def test_short_prompts_stay_near_the_calibrated_ranges(model: Model) -> None:
    """Calibration was on long held-out text; a prompt of one line must not leave it by more than double."""
    seen = calibrate(model, ["for i in range(10):\n    print(i)\n", "def main():\n    return 0\n"])
    for key, value in seen.items():
        if not key.endswith("_min"):
            assert value <= 2 * model.ranges[key], key
        else:
            assert value >= model.ranges[key] / 2, key
