"""Commands that another command prints, or that a page shows in a row, run as they stand."""

from __future__ import annotations

import re
import shlex
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mpcinfer.cli.deal import again
from mpcinfer.cli.main import app
from mpcinfer.models.batch import Batch
from mpcinfer.models.folder import load_model_folder
from parties.launch import Processes
from tests.deadlines import HANG_S
from tests.shown_commands import ROOT, Shown, commands_in, parse

NOTES = "every number follows the one before it. " * 40
SHAPE = ["--layers=1", "--width=16", "--heads=2", "--vocabulary=270", "--context=16"]
SHORT = ["--steps=2", "--batch=2"]


@pytest.fixture(autouse=True)
def _in_a_folder_with_a_gap_in_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of nobody's: what is printed must work where it was printed."""
    (tmp_path / "my models").mkdir()
    monkeypatch.chdir(tmp_path / "my models")


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "40"})
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def printed(output: str) -> list[str]:
    """The arguments of the one command line in an output, as a shell would cut it."""
    [(line, _)] = commands_in(output)
    return shlex.split(line)[1:]


@pytest.mark.parametrize("out", ["run1", "gpt2", "a run/of mine"])
def test_what_training_says_to_try(out: str) -> None:
    Path("notes").mkdir()
    for number in range(6):
        Path(f"notes/{number}.txt").write_text(f"{number}: {NOTES}")
    line = printed(run("train", out, "--data", "notes", *SHAPE, *SHORT))
    assert line[:2] == ["generate", "for i in"]
    assert run(*line) != ""


def test_what_folding_says_is_still_to_do() -> None:
    out = Path("one folded")
    line = printed(run("fold", "tiny-sm-scfuffn", "--out", str(out), "--tokens", "8"))
    assert load_model_folder(out).ranges == {}
    Path("FILE").write_text("for i in range(10):\n\nimport os")
    run(*line)
    assert load_model_folder(out).ranges != {}


def test_what_a_used_up_folder_says_makes_more() -> None:
    line = again("./my model", "crypten", ["gelu=fine", "maximum=tree"], 5, 3, 2, Batch())
    given = parse(shlex.split(line)[1:])
    assert (given["model"], given["plan"], given["choices"]) == (
        "./my model",
        "crypten",
        ["gelu=fine", "maximum=tree"],
    )
    assert (given["prompt"], given["answer"], given["count"]) == (5, 3, 2)
    for equal_lengths in (False, True):
        together = Batch.of(4, equal_lengths=equal_lengths)
        given = parse(shlex.split(again("tiny-python", "fss", [], 5, 3, 2, together))[1:])
        assert Batch.of(given["batch"], equal_lengths=given["equal_lengths"]) == together
    padded = Batch.of(1, equal_lengths=False, pad=True)
    given = parse(shlex.split(again("tiny-python", "fss", [], 5, 3, 2, padded))[1:])
    assert (given["batch"], given["pad"]) == (1, True)


def test_entropies_of_a_text() -> None:
    Path("notes.txt").write_text(NOTES * 20)
    assert "mean entropy" in run("entropy", "tiny-python", "--data", "notes.txt")


def test_dealing_and_giving_up() -> None:
    """The examples of `deal` and `skip`, in a row; of a short conversation."""
    for deal in [words for words in examples("mpcinfer/cli/deal.py") if words[0] == "deal"]:
        run(*deal, "--prompt", "2", "--answer", "1")
    [skip] = [words for words in examples("mpcinfer/cli/skip.py") if words[0] == "skip"]
    run(*skip)
    for out in ("correlations", "batches"):
        assert {path.name for path in Path(out).iterdir()} == {"server", "client"}


def examples(source: str) -> list[list[str]]:
    """What a source shows in blocks, as arguments."""
    lines = commands_in((ROOT / source).read_text(encoding="utf-8").replace("\\\\", "\\"))
    return [Shown(source, line, prose).words for line, prose in lines if not prose]


@pytest.mark.e2e
@pytest.mark.long
@pytest.mark.slow
def test_the_readme_between_machines() -> None:
    """Server, dealer and client as README starts them, with this machine's address for theirs."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    page = text.split("## Between machines")[1].split("\n## ")[0]
    for number, port in zip(("7100", "7101", "7102"), free_ports(3), strict=True):
        page = re.sub(rf"tcp://[\w.]+:{number}", f"tcp://127.0.0.1:{port}", page)
    lines = [shlex.split(line)[1:] for line, prose in commands_in(page) if not prose]
    keys, dealer, server, client = lines
    assert [words[0] for words in lines] == ["keys", "dealer", "serve", "generate"]
    run(*keys)
    with Processes(grace_s=2.0) as processes:
        for role in (dealer, server):
            program = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {_MAIN}"]
            processes.start(role[0], [*program, *role, "--once", "--timeout", str(HANG_S)])
        assert run(*client, "--tokens", "2", "--timeout", str(HANG_S)).startswith("for i in range(")


_MAIN = "from mpcinfer.cli.main import main; main()"


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
