"""The examples run as they stand, from a folder of the user's, and say what they promise."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

import mpcinfer
from tests.deadlines import HANG_S

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
CONFIDENT = "for i in range("
"""As far as the next tokens lead by whole units: what fixed point rounds does not change it."""


def run(*command: str, folder: Path, **variables: str) -> str:
    """What a program prints, which must succeed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHON": sys.executable, **variables}
    finished = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=HANG_S, cwd=folder, env=environment
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def script(name: str, *arguments: str, folder: Path) -> str:
    return run(sys.executable, str(EXAMPLES / name), *arguments, folder=folder)


def free_ports(count: int) -> list[str]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [str(each.getsockname()[1]) for each in sockets]


def test_every_example_is_run_and_is_in_the_list() -> None:
    listed = re.findall(r"\]\(([^)]+)\)", (EXAMPLES / "README.md").read_text(encoding="utf-8"))
    there = sorted(path.name for path in EXAMPLES.iterdir() if path.name not in ("README.md", "__pycache__"))
    assert sorted(listed) == there
    tests = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in there if f'"{name}"' not in tests] == []
    assert "(examples/README.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.e2e
def test_a_private_answer(tmp_path: Path) -> None:
    text, bill = script("private_answer.py", folder=tmp_path).rsplit("\n", 2)[:2]
    assert text.startswith(CONFIDENT)
    assert re.fullmatch(r"\d+ rounds, [\d,]+ bytes to the server", bill)
    code = (EXAMPLES / "private_answer.py").read_text(encoding="utf-8").split('"""')[2]
    assert len(code.strip().splitlines()) <= 10


def test_swapping_a_gelu(tmp_path: Path) -> None:
    """One buys less correlations with more bytes online; the model answers alike."""
    output = script("swap_a_gelu.py", folder=tmp_path).replace(",", "")
    rows = re.findall(r"gelu=(\w+): (\d+) rounds (\d+) bytes online (\d+) offline", output)
    (first, _, online, offline), (second, _, less, more) = rows
    assert (first, second) == ("lines", "fine")
    assert int(less) < int(online)
    assert int(more) > int(offline)
    first_answer, second_answer = re.findall(r"gelu=\w+: ('for i in.*)", output)
    assert first_answer == second_answer
    assert first_answer.startswith("'for i in range(")


def test_comparing_architectures(tmp_path: Path) -> None:
    rows = script("compare_architectures.py", folder=tmp_path).splitlines()[1:]
    names, rounds = zip(*(row.split()[:2] for row in rows), strict=True)
    assert names == ("gpt2", "gpt2-sm-scfuffn-folded")
    assert [int(number) for number in rounds] == [
        mpcinfer.cost(name, tokens=128, part="stack").total.rounds for name in names
    ]


@pytest.mark.e2e
@pytest.mark.long
@pytest.mark.slow
def test_two_machines(tmp_path: Path) -> None:
    ports = {f"PORT_{index}": port for index, port in enumerate(free_ports(3))}
    output = run("sh", str(EXAMPLES / "two_machines.sh"), folder=tmp_path, **ports)
    assert output.splitlines()[-1].startswith(CONFIDENT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.e2e
@pytest.mark.long
@pytest.mark.slow
def test_a_model_of_your_own(tmp_path: Path) -> None:
    text, model = tmp_path / "text", tmp_path / "model"
    text.mkdir()
    for number in range(6):
        (text / f"{number}.txt").write_text(f"number {number} follows the one before it. " * 40)
    output = script("your_own_model.py", str(text), str(model), folder=tmp_path)
    assert float(re.findall(r"perplexity ([\d.]+)", output)[0]) < mpcinfer.load_config(str(model)).vocabulary
    private = output.rsplit("\n", 2)[1]
    assert re.match(r"\d follows the", private)


def test_the_notebook_draws_a_bill(tmp_path: Path) -> None:
    notebook = json.loads((EXAMPLES / "draw_the_bill.ipynb").read_text(encoding="utf-8"))
    assert (notebook["nbformat"], {cell["cell_type"] for cell in notebook["cells"]}) == (
        4,
        {"markdown", "code"},
    )
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell.get("outputs") for cell in notebook["cells"])
    program = "\n".join([*cells, "sheet.savefig('bill.png')", "print(len(left.patches), len(rows))"])
    output = run(sys.executable, "-W", "ignore", "-c", program, folder=tmp_path, MPLBACKEND="Agg")
    assert output.startswith(f"{mpcinfer.cost('gpt2', tokens=128, part='stack').total.rounds:,} rounds")
    drawn, rows = output.splitlines()[-1].split()
    assert int(drawn) == int(rows) > 3
    assert (tmp_path / "bill.png").read_bytes().startswith(b"\x89PNG")
