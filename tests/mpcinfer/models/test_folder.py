"""Our model folder: what is written is what is read, and what is broken is named."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.folder import load_model_folder, save_model
from mpcinfer.models.folder_config import is_model_folder
from mpcinfer.models.model import Model
from mpcinfer.models.special_tokens import put_around
from mpcinfer.training.bpe import train_tokenizer
from mpcinfer.training.weights import initial_weights
from parties.errors import ConfigError

CONFIG = ModelConfig(
    layers=1, width=8, heads=2, kv_heads=2, head_width=4, hidden=16, vocabulary=300, context=6
)
TOKENIZER = dataclasses.replace(
    train_tokenizer(["for i in range(10):\n    print(i)\n"] * 3, 270),
    chat_template="{{ messages }}",
    named_templates={"tool_use": "{{ tools }}"},
    clean_up=True,
)
put_around(TOKENIZER.backend, bos=0)
MODEL = Model(
    name="small",
    config=CONFIG,
    weights=initial_weights(CONFIG, 0),
    tokenizer=TOKENIZER,
    ranges={"layer0.attn.scores": 3.5},
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path / "small", MODEL, card="# small\n")
    return tmp_path / "small"


def test_float32_round_trip_is_exact(tmp_path: Path) -> None:
    save_model(tmp_path, MODEL, torch.float32)
    loaded = load_model_folder(tmp_path, name="small")
    assert loaded.name == MODEL.name
    assert loaded.config == CONFIG
    assert loaded.ranges == MODEL.ranges
    assert loaded.tokenizer.prefix == (0,)
    assert loaded.tokenizer.named_templates == TOKENIZER.named_templates
    assert loaded.tokenizer.clean_up
    assert loaded.tokenizer.vocabulary == CONFIG.vocabulary
    assert loaded.tokenizer.stop == TOKENIZER.stop
    assert loaded.tokenizer.chat_template == TOKENIZER.chat_template
    assert loaded.tokenizer.encode("for i") == TOKENIZER.encode("for i")
    for name, weight in MODEL.weights.items():
        assert torch.equal(loaded.weights[name], weight)


@pytest.mark.parametrize("bos", [None, 0, 1])
def test_folders_that_keep_bos_beside_the_tokenizer_are_read(folder: Path, bos: int | None) -> None:
    settings = {"bos": bos, "stop": [0], "chat_template": None, "special": {}}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert load_model_folder(folder).tokenizer.prefix == (() if bos is None else (bos,))


def test_float16_rounds_the_weights_and_loads_float32(folder: Path) -> None:
    loaded = load_model_folder(folder)
    assert loaded.name == str(folder)
    for name, weight in MODEL.weights.items():
        assert loaded.weights[name].dtype == torch.float32
        assert torch.equal(loaded.weights[name], weight.half().float())


def test_only_the_documented_files_are_left(folder: Path) -> None:
    save_model(folder, MODEL)  # a second save replaces, and leaves no part files
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "ranges.json",
        "README.md",
    }
    assert (folder / "README.md").read_text() == "# small\n"


def test_saving_an_uncalibrated_model_drops_old_ranges(folder: Path) -> None:
    save_model(folder, dataclasses.replace(MODEL, ranges={}))
    assert load_model_folder(folder).ranges == {}


def test_our_folders_are_told_from_others(folder: Path, tmp_path: Path) -> None:
    assert is_model_folder(folder)
    assert not is_model_folder(tmp_path)
    (folder / "config.json").write_text(json.dumps({"n_layer": 2}))
    assert not is_model_folder(folder)


def test_a_save_that_fails_leaves_the_old_model(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    huge = {**MODEL.weights, "layer0.ffn.in.bias": torch.full((16,), 1e6)}
    with pytest.raises(ConfigError, match=r"layer0\.ffn\.in\.bias.*float16"):
        save_model(folder, dataclasses.replace(MODEL, weights=huge))
    with pytest.raises(ConfigError, match="float16 or float32"):
        save_model(folder, MODEL, torch.bfloat16)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
)
def test_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ConfigError, match=name):
        load_model_folder(folder)


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "ranges.json"]
)
@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe\x00"])
def test_broken_file_is_named(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(ConfigError, match=name):
        load_model_folder(folder)


@pytest.mark.parametrize(
    ("name", "field", "value", "message"),
    [
        ("config.json", "colour", 1, "colour"),
        ("config.json", "width", 12, "shape"),
        ("config.json", "layers", 2, "missing weights"),
        ("config.json", "vocabulary", 260, "embed.tokens"),
        ("config.json", "layers", "1", "layers is '1', expected a whole number"),
        ("config.json", "tied_head", 1, "expected true or false"),
        ("config.json", "norm_eps", "small", "expected a finite number"),
        ("config.json", "norm", "batchnorm", "expected one of layernorm, rmsnorm"),
        ("tokenizer_config.json", "bos", "first", "bos"),
        ("tokenizer_config.json", "bos", 299, "no token has id 299"),
        ("tokenizer_config.json", "clean_up", "yes", "clean_up"),
        ("tokenizer_config.json", "named_templates", {"tool_use": 1}, "named_templates"),
        ("tokenizer_config.json", "stop", 3, "stop"),
        ("tokenizer_config.json", "stop", [True], "stop"),
        ("tokenizer_config.json", "chat_template", 3, "chat_template"),
        ("tokenizer_config.json", "labels", "good", "labels must be a list"),
        ("tokenizer_config.json", "labels", [3], "labels must be a list"),
        ("tokenizer_config.json", "labels", ["good"], "1 labels for 0 classes"),
        ("ranges.json", "x", "large", "expected a number"),
        ("ranges.json", "x", -1.0, "finite number from 0"),
    ],
)
def test_wrong_field_is_named(folder: Path, name: str, field: str, value: object, message: str) -> None:
    fields = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps({**fields, field: value}))
    with pytest.raises(ConfigError, match=message):
        load_model_folder(folder)


def test_cut_weights_are_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ConfigError, match=r"model\.safetensors"):
        load_model_folder(folder)


def test_absent_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no model folder"):
        load_model_folder(tmp_path / "absent")
