"""Counted answers are kept, for the same question about the same files alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mpcinfer.cli import counted as module
from mpcinfer.cli.counted import counted
from parties.errors import ConfigError


def counter() -> Callable[[], list[int]]:
    """Says how often it was asked."""
    asked: list[int] = []

    def answer() -> list[int]:
        asked.append(len(asked))
        return list(asked)

    return answer


def kept(root: Path) -> list[Path]:
    return list((root / "counted").iterdir())


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where answers are kept."""
    monkeypatch.setattr(module, "cache_root", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def test_an_answer_is_counted_once(root: Path) -> None:
    answer = counter()
    assert counted(["a", 1], None, answer) == counted(["a", 1], None, answer) == [0]
    assert counted(["a", 2], None, answer) == [0, 1]
    assert counted(["a", 1], "gpt2", answer) == [0, 1, 2]
    assert len(kept(root)) == 3


def test_another_file_of_the_model_is_another_question(root: Path, tmp_path: Path) -> None:
    answer, model = counter(), tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    assert counted(["a"], str(model), answer) == counted(["a"], str(model), answer) == [0]
    (model / "ranges.json").write_text("{}")
    assert counted(["a"], str(model), answer) == [0, 1]
    (model / "config.json").write_text("{ }")
    assert counted(["a"], str(model), answer) == [0, 1, 2]


def test_a_broken_file_is_counted_anew(root: Path) -> None:
    answer = counter()
    counted(["a"], None, answer)
    (path,) = kept(root)
    path.write_text("[0")
    assert counted(["a"], None, answer) == counted(["a"], None, answer) == [0, 1]


def test_what_cannot_be_counted_is_not_kept(root: Path) -> None:
    def fail() -> None:
        raise ConfigError("no such model")

    with pytest.raises(ConfigError):
        counted(["a"], None, fail)
    assert kept(root) == []
    assert counted(["a"], None, counter()) == [0]


def test_a_folder_that_others_can_write_is_not_used(root: Path) -> None:
    root.mkdir(mode=0o700)
    root.chmod(0o777)
    answer = counter()
    assert counted(["a"], None, answer) == [0]
    assert counted(["a"], None, answer) == [0, 1]


def test_the_oldest_go(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT", 3)
    for number in range(7):
        counted([number], None, counter())
    assert len(kept(root)) == 3
