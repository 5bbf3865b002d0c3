"""`mpcinfer chat` through a pipe and, in one test, with the real parties."""

from __future__ import annotations

import builtins
import dataclasses
import re
import signal
import sys
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from mpcinfer import cost
from mpcinfer.cli import chat as command
from mpcinfer.cli import dialogue
from mpcinfer.cli.main import app
from mpcinfer.cli.options import Local
from mpcinfer.cli.progress import Stream
from mpcinfer.models.folder import save_model
from mpcinfer.models.load import load_model
from mpcinfer.turn import Turn
from parties.bill import BillRow
from tests.deadlines import HANG_S
from tests.mpcinfer.test_chat import TEMPLATE
from tests.mpcinfer.test_private_models import GPT2
from tests.mpcinfer.three_parties import random_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    plain, path = load_model("tiny-python"), tmp_path_factory.mktemp("chat")
    tokenizer = dataclasses.replace(plain.tokenizer, chat_template=TEMPLATE)
    save_model(path, dataclasses.replace(plain, tokenizer=tokenizer))
    return path


def chat(folder: Path, text: str, *options: str) -> Result:
    arguments = ["chat", "--model", str(folder), "--tokens", "3", *options]
    result = CliRunner().invoke(app, arguments, input=text, env={"COLUMNS": "200"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0
    return result


@pytest.mark.parametrize("local", ["plain", "fixed"])
def test_answers_go_to_standard_output_and_all_else_does_not(folder: Path, local: str) -> None:
    result = chat(folder, "x = 1\n\ny = 2\n", "--local", local)
    notes = [line for line in result.stderr.splitlines() if "in the clear" in line]
    assert len(notes) == 2
    assert re.fullmatch(r"3 tokens · \d+\.\d\d s/token · first after \d+\.\d\d s · in the clear", notes[0])
    assert "cut off" in result.stderr
    assert "token" not in result.stdout
    assert result.stdout.count("\n") >= 2
    assert ">" not in result.stdout  # no prompt, nobody is there to see it


def test_commands(folder: Path) -> None:
    result = chat(folder, "/help\n/bill\n/what now\n/reset\n/quit\nx = 1\n", "--local", "plain")
    for text in ("/reset   forget", "no bill", "no command /what; there are /bill", "forgotten"):
        assert text in result.stderr
    assert result.stdout == ""  # what follows /quit is not asked


def test_after_a_reset_the_first_question_is_the_first_again(folder: Path) -> None:
    once = chat(folder, "x = 1\n", "--local", "plain").stdout
    assert chat(folder, "x = 1\n/reset\nx = 1\n", "--local", "plain").stdout == 2 * once


def test_a_line_can_go_on(folder: Path) -> None:
    long = chat(folder, "x = 1\\\ny = 2\n", "--local", "plain")
    assert long.stderr.count("in the clear") == 1


def test_a_question_that_is_too_long_is_told_and_the_chat_goes_on(folder: Path) -> None:
    result = chat(folder, "y = 2 " * 300 + "\nx = 1\n", "--local", "plain")
    assert "leaves no room in the model's context of 256" in result.stderr
    assert "/reset starts afresh" in result.stderr
    assert result.stdout == chat(folder, "x = 1\n", "--local", "plain").stdout


def test_ctrl_c_ends_an_answer_and_not_the_chat(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    show = Stream.show

    def pressed(stream: Stream, text: str) -> None:
        show(stream, text)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Stream, "show", pressed)
    before = signal.getsignal(signal.SIGINT)
    result = chat(folder, "x = 1\ny = 2\n", "--local", "plain")
    assert result.stderr.count("(stopped)") == 2
    assert result.stderr.count("1 token · first after") == 2
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_ends_the_chat(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(stream: Stream, text: str) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Stream, "show", pressed)
    arguments = ["chat", "--model", str(folder), "--local", "plain"]
    result = CliRunner().invoke(app, arguments, input="x = 1\n")
    assert result.exit_code != 0


def test_a_terminal_gets_a_prompt_and_ctrl_c_there_ends(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts: list[str] = []

    def typed(prompt: str) -> str:
        prompts.append(prompt)
        if len(prompts) == 3:
            raise KeyboardInterrupt
        return ["x = 1\\", "y = 2"][len(prompts) - 1]

    monkeypatch.setattr(builtins, "input", typed)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    command.chat(model=str(folder), local=Local.PLAIN, tokens=2)
    assert prompts == ["> ", "… ", "> "]
    assert "2 tokens" in capsys.readouterr().err


def test_the_line_after_a_private_turn() -> None:
    row = BillRow(label="total", rounds=1234, online_bytes_to_server=5_000_000, online_bytes_to_client=1000)
    row.offline_bytes_to_server, row.offline_bytes_to_client = 3_000_000, 4_000_000
    turn = Turn(text="a", reason="stop", new_tokens=5, first_s=2.0, later_s=6.0, cost=row)
    assert dialogue.summary(turn) == (
        "5 tokens · 1.50 s/token · first after 2.00 s · 1,234 rounds · "
        "5.00 MB sent, 1.00 kB received, 7.00 MB offline"
    )


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of one layer: a session's processes take longer to start than to answer."""
    config = dataclasses.replace(GPT2, layers=1, width=16, head_width=8, hidden=24, context=96)
    made, path = random_model(config), tmp_path_factory.mktemp("small")
    tokenizer = dataclasses.replace(made.tokenizer, chat_template=TEMPLATE)
    save_model(path, dataclasses.replace(made, tokenizer=tokenizer))
    return path


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.parametrize("plan", ["fss-faithful", pytest.param("crypten", marks=pytest.mark.long)])
def test_a_private_conversation(small: Path, plan: str) -> None:
    same = ("--plan", plan, "--max-context", "96")
    waiting = ("--timeout", str(HANG_S))
    result = chat(small, "x = 1\ny = 2\n/bill\n", "--local", "private", *same, *waiting)
    turns = [line for line in result.stderr.splitlines() if " rounds · " in line]
    assert len(turns) == 2
    assert result.stderr.count("The bill, by kind of operation") == 2  # of /bill, and at the end
    assert "exactly as billed" in result.stderr
    rounds = [int(number.replace(",", "")) for number in re.findall(r"([\d,]+) rounds · ", "\n".join(turns))]
    passes = cost(str(small), tokens=3, plan=plan).total.rounds
    assert plan == "crypten" or rounds == [3 * passes, 3 * passes]
    assert result.stdout == chat(small, "x = 1\ny = 2\n", "--local", "fixed", *same).stdout
