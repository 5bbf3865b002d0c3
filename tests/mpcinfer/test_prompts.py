"""Prompts that cannot be answered are refused in one line, before anything is connected."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import mpcinfer
from mpcinfer.clear import ClearModel
from mpcinfer.models.ranges import calibrate
from mpcinfer.prompts import prompt_ids, require_room
from mpcinfer.roles.connect import connect_client
from mpcinfer.sessions.addresses import Address
from mpcinfer.suites.registry import get_plan
from parties.errors import ConfigError
from parties.keys import KeyPair
from tests.mpcinfer.hugging_face import llama_folder

NOBODY = Address("tcp://127.0.0.1:1", KeyPair.generate().public)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its tokenizer has a token more than the model."""
    return llama_folder(tmp_path_factory.mktemp("m") / "m", "<|im_start|>", vocabulary=257)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("for \udcff", "not UTF-8: byte 0xff after 4 characters"),
        ("a\ud800b", r"not UTF-8: U\+D800 after 1 characters"),
        ("", "no tokens"),
        ("<|im_start|>hi", r"token 257 \(<\|im_start\|>\) is outside the model's vocabulary of 257"),
    ],
)
def test_what_is_wrong_is_named(folder: Path, text: str, said: str) -> None:
    model = mpcinfer.load_model(folder)
    with pytest.raises(ConfigError, match=said):
        prompt_ids(model, text)
    with pytest.raises(ConfigError, match=said):
        ClearModel(model).complete(text, max_new_tokens=1)
    with pytest.raises(ConfigError, match=said):
        calibrate(model, [text])
    connecting = connect_client(
        mpcinfer.load_public("tiny-python") if "im_start" not in text else mpcinfer.load_public(folder),
        get_plan("fss"),
        keys=KeyPair.generate(),
        server=NOBODY,
        dealer=NOBODY,
        prompt=lambda _public: text,
        timeout_s=0.1,
    )
    with pytest.raises(ConfigError, match=said), connecting:
        pytest.fail("somebody was there")


def test_tokens_of_the_model_pass(folder: Path) -> None:
    model = mpcinfer.load_model(folder)
    assert prompt_ids(model, "a<|endoftext|>") == [*model.tokenizer.encode("a"), 256]
    assert max(prompt_ids(model, "☃")) < 257


def test_the_error_says_whose_limit_it_is() -> None:
    require_room(1023, 1024, 4096)
    with pytest.raises(ConfigError, match=r"session's maximum context of 1,024.*4,096.*--max-context"):
        require_room(1024, 1024, 4096)
    with pytest.raises(ConfigError, match=r"model's context of 1,024$"):
        require_room(1024, 1024, 1024)


def test_a_fixed_run_has_the_room_of_the_session_it_stands_for(tmp_path: Path) -> None:
    model = mpcinfer.load_model(llama_folder(tmp_path / "m", context=2048))
    model = dataclasses.replace(model, ranges=calibrate(model, ["abc"]))
    with pytest.raises(ConfigError, match=r"maximum context of 1,024.*2,048"):
        ClearModel(model, fixed_point=True, plan="fss").complete("a" * 1100, max_new_tokens=1)
