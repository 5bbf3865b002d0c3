"""The real model end to end: SmolLM2-135M-Instruct from its wheel, in float."""

from __future__ import annotations

import pytest
import torch
import transformers

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.generation import Remembered, Session, complete, generate
from mpcinfer.models.calibrated import calibrated_file
from mpcinfer.models.calibrated.conversations import chat_prompts
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.gguf_architectures import gguf_config
from mpcinfer.models.gguf_file import GgufFile
from mpcinfer.models.load import load_config, load_model
from mpcinfer.models.model import Model
from mpcinfer.models.ranges import calibrate
from mpcinfer.models.stored_ranges import load_ranges
from mpcinfer.models.zoo import SMOLLM2_COMMAND, smollm2_file

NAME = "smollm2-135m-instruct"
FILE = smollm2_file()
pytestmark = pytest.mark.skipif(FILE is None, reason=f"SmolLM2 is not installed: {SMOLLM2_COMMAND}")


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(NAME)


def test_it_knows_the_capital_of_france(model: Model) -> None:
    tokenizer = model.tokenizer
    prompt = tokenizer.encode(tokenizer.chat([{"role": "user", "content": "What is the capital of France?"}]))
    session = Session(Decoder(PlainBackend(), model.config, model.weights))
    predict = Remembered(session.step, session.rewind)
    answer = complete(
        generate(predict, prompt, max_new_tokens=30, context=model.config.context, stop=tokenizer.stop)
    )
    assert tokenizer.decode(answer.ids) == "The capital of France is Paris."
    assert answer.reason == "stop"


def test_the_named_shape_is_the_files(model: Model) -> None:
    assert FILE is not None
    assert load_config(NAME) == model.config == gguf_config(GgufFile(FILE))


@pytest.mark.parametrize(
    "text",
    [
        "The year is 2024, and 1,234.5 is a number.",
        "def f(x):\n    return x ** 2  # code\n\n\n",
        "naïve café ½ ² ٣ 日本語 🙂👩‍👩‍👧 \u200b",
        "  spaces   and\ttabs \r\n",
        "don't we'll I'M",
        "",
    ],
)
def test_text_survives_the_round_trip(model: Model, text: str) -> None:
    assert model.tokenizer.decode(model.tokenizer.encode(text)) == text


def test_digits_stand_alone(model: Model) -> None:
    pieces = [model.tokenizer.decode([token]) for token in model.tokenizer.encode("in 2024")]
    assert pieces == ["in", " ", "2", "0", "2", "4"]


@pytest.mark.slow
def test_token_ids_equal_transformers(model: Model) -> None:
    """`transformers` rebuilds the tokenizer from the same file with code of its own."""
    assert FILE is not None
    theirs = transformers.AutoTokenizer.from_pretrained(str(FILE.parent), gguf_file=FILE.name)
    for text in (*chat_prompts(model.tokenizer), "x = 10 ** 23\n\n\n  # 3.14 don't", "naïve 日本語 🙂👩‍👩‍👧"):
        assert model.tokenizer.encode(text) == theirs(text, add_special_tokens=False).input_ids, text


@pytest.mark.slow
def test_shipped_ranges_are_up_to_date(model: Model) -> None:
    """Five digits outward in the file; float32 sums in another order move the last two of seven."""
    seen = calibrate(model, chat_prompts(model.tokenizer))
    shipped = load_ranges(calibrated_file(NAME))
    assert shipped == model.ranges
    assert shipped == pytest.approx(seen, rel=5e-4)


def test_shipped_ranges_hold_on_a_prompt_they_were_not_made_from(model: Model) -> None:
    """Within a factor of two, the margin of one bit that a plan leaves at the least."""
    text = model.tokenizer.chat([{"role": "user", "content": "Name the largest planet, please."}])
    for key, value in calibrate(model, [text]).items():
        if key.endswith("_min"):
            assert value >= model.ranges[key] / 2, key
        else:
            assert value <= model.ranges[key] * 2, key


def test_weights_are_float32_and_finite(model: Model) -> None:
    for name, weight in model.weights.items():
        assert weight.dtype == torch.float32
        assert torch.isfinite(weight).all(), name
