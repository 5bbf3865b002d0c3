"""Texts as vectors and labels on the command line."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

import mpcinfer
from mpcinfer.models.folder import save_model
from tests.mpcinfer.cli.test_commands import run
from tests.mpcinfer.test_encoders import EMBEDDING, MODELS
from tests.mpcinfer.three_parties import random_model

TEXTS = ["f(x)", "import os"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    labelled = dataclasses.replace(random_model(MODELS["tanh"]), labels=("bad", "fair", "good"))
    models = {"embedding": random_model(EMBEDDING), "classes": labelled}
    for name, model in models.items():
        save_model(root / name, model, torch.float32)
    return {name: root / name for name in models}


def test_vectors_have_length_one_and_texts_come_from_files(folders: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text(f"{TEXTS[1]}\n\n", encoding="utf-8")
    where = ["--model", str(folders["embedding"]), "--local", "plain"]
    found = json.loads(run("embed", TEXTS[0], "--file", str(file), *where, "--json"))
    vectors = torch.tensor(found["embeddings"])
    assert tuple(vectors.shape) == (2, EMBEDDING.width)
    assert torch.allclose(vectors.norm(dim=-1), torch.ones(2))
    shown = run("embed", *TEXTS, *where)
    assert shown.count("24 numbers: ") == 2
    assert TEXTS[1] in shown


def test_labels_are_those_of_the_folder(folders: dict[str, Path]) -> None:
    where = ["--model", str(folders["classes"]), "--local", "plain"]
    found = json.loads(run("classify", *TEXTS, *where, "--json"))
    assert found["labels"] == ["bad", "fair", "good"]
    assert found["best"] == [found["labels"][max(range(3), key=row.__getitem__)] for row in found["logits"]]


def test_second_texts_go_with_the_first_ones(folders: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "second.txt"
    file.write_text("c\nd\n", encoding="utf-8")
    where = ["--model", str(folders["classes"]), "--local", "plain"]
    model = mpcinfer.ClearModel(mpcinfer.load_model(folders["classes"]))
    given = ["classify", "x", "y", "z", "--pair", "b", "--pair-file", str(file), *where]
    wanted = model.classify([("x", "b"), ("y", "c"), ("z", "d")])
    assert torch.allclose(torch.tensor(json.loads(run(*given, "--json"))["logits"]), wanted.logits.float())
    assert "  x | b" in run(*given)
    assert "2 texts and 1 second" in run("classify", "x", "y", "--pair", "b", *where, fails=True)


def test_commands_are_for_their_models(folders: dict[str, Path]) -> None:
    embedding, classes = (["--model", str(folders[each]), "--local", "plain"] for each in folders)
    for command, said in (
        (["classify", "a", *embedding], "take `embed`"),
        (["embed", "a", *classes], "take `classify`"),
        (["generate", "a", *embedding], "take `embed`"),
        (["generate", "a", "b", *embedding], "take `embed`"),
        (["classify", "a", "--local", "plain"], "--model"),
        (["embed", *classes], "give texts"),
        (["embed", "--file", "nowhere.txt", *embedding], "nowhere.txt cannot be read"),
    ):
        assert said in run(*command, fails=True)


@pytest.mark.e2e
def test_a_private_run_has_the_labels_and_scores_of_a_plain_one(folders: dict[str, Path]) -> None:
    with mpcinfer.private(str(folders["classes"])) as client:
        found = client.classify(TEXTS)
    plain = mpcinfer.ClearModel(mpcinfer.load_model(folders["classes"])).classify(TEXTS)
    assert found.labels == plain.labels == ("bad", "fair", "good")
    assert float((found.logits - plain.logits).abs().max()) < 0.1


def test_a_model_of_another_kind_is_refused_before_anything_is_started() -> None:
    said = run("embed", "a text", "--local", "private", "--model", "tiny-python", fails=True)
    assert "continues texts" in said
    assert "server:" not in said
