"""Training in several real processes, as torchrun starts them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mpcinfer.training.gradients import Gradients
from mpcinfer.training.processes import Processes, joined_processes
from parties.errors import ConfigError
from tests.deadlines import HANG_S

OPTIONS = [
    *("--layers", "1", "--width", "16", "--heads", "2", "--vocabulary", "270", "--context", "16"),
    *("--steps", "6", "--batch", "5", "--every", "3", "--precision", "float32"),
    *("--entropy-strength", "0.01", "--range-scores", "0.0", "--variant", "power4"),
]


def test_parts_of_a_batch_are_its_rows_in_order() -> None:
    windows = torch.arange(10).view(5, 2)
    parts = [Processes(rank, 2).part(windows) for rank in range(2)]
    assert [len(part) for part in parts] == [3, 2]
    assert torch.equal(torch.cat(parts), windows)
    with pytest.raises(ConfigError, match="too small for 6 processes"):
        Processes(0, 6).part(windows)


def test_one_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    gradients = Gradients({"loss": torch.tensor(1.0)}, [torch.ones(2)])
    with joined_processes() as processes:
        assert processes == Processes(0, 1)
        assert processes.summed(gradients) is gradients
        processes.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def started(out: Path, data: Path, rank: int, count: int, port: int, *more: str) -> subprocess.Popen[str]:
    """One training process with the environment that torchrun would give it."""
    environment = {
        **os.environ,
        "WORLD_SIZE": str(count),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "mpcinfer.training", str(out), "--data", str(data), *OPTIONS, *more]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finished(processes: list[subprocess.Popen[str]]) -> list[str]:
    outputs: list[str] = []
    for process in processes:
        output, errors = process.communicate(timeout=HANG_S)
        assert process.returncode == 0, errors
        outputs.append(output)
    return outputs


def figures(out: Path) -> list[dict[str, object]]:
    """The log without what no run repeats."""
    lines = [json.loads(line) for line in (out / "training" / "log.jsonl").read_text().splitlines()]
    return [
        {name: value for name, value in line.items() if name not in ("seconds", "tokens_per_second")}
        for line in lines
    ]


@pytest.mark.e2e
@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(tmp_path: Path) -> None:
    """Five windows as three and two: the same two sums in either case, so the same bits."""
    data = tmp_path / "data"
    data.mkdir()
    for number in range(6):
        (data / f"{number}.txt").write_text(f"number {number} follows the one before it. " * 40)
    port = free_port()
    two = finished([started(tmp_path / "two", data, rank, 2, port) for rank in range(2)])
    assert "6 steps" in two[0]
    assert two[1] == ""
    finished([started(tmp_path / "one", data, 0, 1, port, "--workers", "2")])
    assert figures(tmp_path / "two") == figures(tmp_path / "one")
    weights = [
        torch.load(tmp_path / name / "training" / "checkpoint.pt", weights_only=True)["weights"]
        for name in ("one", "two")
    ]
    for name, weight in weights[0].items():
        assert torch.equal(weight, weights[1][name])
    port = free_port()
    more = ("--resume", "--decay", "0.0", "--steps", "8")
    refused = [started(tmp_path / "two", data, rank, 2, port, *more) for rank in range(2)]
    for process in refused:
        _, errors = process.communicate(timeout=HANG_S)
        assert process.returncode != 0
        assert "past the start of the decay" in errors
