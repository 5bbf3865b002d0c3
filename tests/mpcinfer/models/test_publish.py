"""What a client may have: of every form of model the same, and never a weight."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import mpcinfer
from mpcinfer.models.folder import save_model
from mpcinfer.models.load import has_weights, load_ranges_of
from mpcinfer.models.publish import publish
from mpcinfer.models.ranges import calibrate
from mpcinfer.models.stored_ranges import save_ranges
from parties.errors import ConfigError
from tests.mpcinfer.hugging_face import llama_folder, llama_weights
from tests.mpcinfer.test_private_models import GPT2
from tests.mpcinfer.three_parties import random_model

PROMPTS = ["for i in range(3):", "hello world"]
TALK = [{"role": "user", "content": "hi"}]
_WINDOW = 4
"""Numbers in a row that cannot be in a file by chance: 8 bytes and more."""


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = llama_folder(tmp_path_factory.mktemp("server") / "llama")
    save_ranges(folder / "ranges.json", calibrate(mpcinfer.load_model(folder), PROMPTS))
    return folder


def test_ranges_of_any_folder_are_found(llama: Path) -> None:
    stored = json.loads((llama / "ranges.json").read_text())
    assert load_ranges_of(llama) == mpcinfer.load_model(llama).ranges == stored
    assert stored


def test_a_bill_is_of_the_widths_that_ranges_ask_for(llama: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    shutil.copytree(llama, plain)
    (plain / "ranges.json").unlink()
    calibrated, assumed = (mpcinfer.cost(str(path), tokens=4).total for path in (llama, plain))
    assert calibrated.online_bytes_to_server < assumed.online_bytes_to_server


def test_weights_need_not_be_there(llama: Path, tmp_path: Path) -> None:
    client = tmp_path / "client"
    shutil.copytree(llama, client)
    (client / "model.safetensors").unlink()
    assert (has_weights(llama), has_weights(client)) == (True, False)
    assert mpcinfer.load_public(client).digest() == mpcinfer.load_public(llama).digest()
    with pytest.raises(ConfigError, match=r"has no weights.*what a client may have"):
        mpcinfer.load_model(client)


@pytest.mark.parametrize("form", ["huggingface", "ours", "named"])
def test_what_is_published_is_the_same_model_to_a_client(llama: Path, tmp_path: Path, form: str) -> None:
    name = {"huggingface": str(llama), "ours": str(tmp_path / "ours"), "named": "tiny-python"}[form]
    if form == "ours":
        save_model(name, random_model(GPT2))
    public, out = mpcinfer.load_public(name), tmp_path / "out"
    digest = publish(public, out)
    read = mpcinfer.load_public(out)
    assert digest == public.digest() == read.digest()
    assert (read.config, read.ranges) == (public.config, public.ranges)
    text = "def f(x): ☃ <|endoftext|>"
    ids = public.tokenizer.encode(text)
    assert read.tokenizer.encode(text) == ids
    assert read.tokenizer.decode(ids) == public.tokenizer.decode(ids)
    same = ("prefix", "suffix", "stop", "chat_template", "named_templates", "special", "clean_up")
    assert all(getattr(read.tokenizer, each) == getattr(public.tokenizer, each) for each in same)
    if public.tokenizer.chat_template:
        assert read.tokenizer.chat(TALK) == public.tokenizer.chat(TALK)
    assert mpcinfer.cost(str(out), tokens=4) == mpcinfer.cost(name, tokens=4)
    assert not has_weights(out)
    assert publish(public, out) == digest  # once more, into the same folder


def test_names_of_classes_are_published(tmp_path: Path) -> None:
    config = dataclasses.replace(GPT2, head="classes", classes=2, tied_head=False)
    model = dataclasses.replace(random_model(config), labels=("bad", "good"))
    save_model(tmp_path / "model", model)
    public = mpcinfer.load_public(tmp_path / "model")
    digest = publish(public, tmp_path / "out")
    read = mpcinfer.load_public(tmp_path / "out")
    assert (read.labels, read.digest()) == (("bad", "good"), digest)


def test_no_weight_is_in_what_is_published(llama: Path, tmp_path: Path) -> None:
    """Windows of every tensor, in both float types, and single numbers as text."""
    publish(mpcinfer.load_public(llama), tmp_path / "out")
    files = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    planted = llama_weights(257)
    assert _found(planted, {"weights": (llama / "model.safetensors").read_bytes()})  # it can fail
    as_text = json.dumps(planted["model.norm.weight"].tolist() + planted["lm_head.weight"][0].tolist())
    assert _found(planted, {"text": as_text.encode()})
    assert _found(planted, files) == []


def _found(weights: dict[str, torch.Tensor], files: dict[str, bytes]) -> list[str]:
    """Weights of which a file has four numbers in a row, or one to eight digits as text."""
    found: list[str] = []
    for label, weight in weights.items():
        numbers = weight.flatten().numpy()
        if np.ptp(numbers) == 0:  # norms that are all ones say nothing
            continue
        for start in range(0, len(numbers) - _WINDOW, _WINDOW):
            window = numbers[start : start + _WINDOW]
            marks = [window.astype(kind).tobytes() for kind in (np.float16, np.float32, np.float64)]
            marks += [f"{abs(float(number)):.7f}".encode() for number in window]
            marks += [repr(abs(float(number))).encode()[:10] for number in window if abs(number) > 1e-3]
            found += [
                f"{label} in {name}" for name, raw in files.items() if any(mark in raw for mark in marks)
            ]
    return found


def test_other_files_are_not_published_with_it(llama: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has model\.safetensors, which is no part of a publication"):
        publish(mpcinfer.load_public(llama), llama)
    out = tmp_path / "out"
    publish(mpcinfer.load_public(llama), out)
    assert {path.name for path in out.iterdir()} == {
        "config.json",
        "digests.json",
        "ranges.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_a_model_without_ranges_is_not_published(llama: Path, tmp_path: Path) -> None:
    public = dataclasses.replace(mpcinfer.load_public(llama), ranges={})
    with pytest.raises(ConfigError, match="mpcinfer calibrate"):
        publish(public, tmp_path / "out")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "ranges.json"])
def test_a_file_that_changed_is_named(llama: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    publish(mpcinfer.load_public(llama), out)
    (out / name).write_bytes((out / name).read_bytes() + b" ")
    with pytest.raises(ConfigError, match=f"{name} is not the file that"):
        mpcinfer.load_public(out)


def test_the_digest_is_of_all_that_a_client_reads(llama: Path) -> None:
    public = mpcinfer.load_public(llama)
    token = dataclasses.replace(public.tokenizer, stop=frozenset[int]())
    template = dataclasses.replace(public.tokenizer, chat_template="{{ messages }}")
    others = [
        dataclasses.replace(public, config=dataclasses.replace(public.config, norm_eps=1e-5)),
        dataclasses.replace(public, ranges={**public.ranges, "embedding/embed": 9.0}),
        dataclasses.replace(public, tokenizer=token),
        dataclasses.replace(public, tokenizer=template),
        dataclasses.replace(public, tokenizer_text=" " + public.tokenizer.backend.to_str()),
    ]
    digests = {each.digest() for each in (public, *others)}
    assert len(digests) == len(others) + 1
    assert dataclasses.replace(public, name="another").digest() == public.digest()


@pytest.mark.parametrize(
    ("value", "said"), [(float("nan"), "nan"), (float("inf"), "inf"), (float("-inf"), "-inf")]
)
def test_a_weight_that_is_no_number_is_named(tmp_path: Path, value: float, said: str) -> None:
    from safetensors.torch import load_file, save_file

    folder = llama_folder(tmp_path / "m")
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.down_proj.weight"][2, 3] = value
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=rf"layer1\.ffn\.out\.weight has 1 values.*the first {said};"):
        mpcinfer.load_model(folder)
