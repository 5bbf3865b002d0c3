"""What services are deployed with: units, a file of options, containers of several clients, their page."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml
from typer.testing import CliRunner

from mpcinfer.cli.main import app
from mpcinfer.cli.settings import SECTIONS
from mpcinfer.service.logs import Fields
from mpcinfer.service.metrics import Metrics
from tests.deadlines import HANG_S
from tests.shown_commands import parse

ROOT = Path(__file__).resolve().parent.parent
UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
PROGRAM = "/opt/mpcinfer/bin/mpcinfer"
CLIENTS = ("client-1", "client-2", "client-3")


def started(unit: Path) -> list[str]:
    """The command line of a unit, without the program."""
    [line] = re.findall(r"^ExecStart=(.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)
    program, *words = shlex.split(line)
    assert program == PROGRAM
    return words


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_units_are_ones_systemd_takes(unit: Path, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze here")
    stand_in = tmp_path / unit.name  # the program is not installed here
    stand_in.write_text(unit.read_text(encoding="utf-8").replace(PROGRAM, "/bin/true"), encoding="utf-8")
    user = ["--user"] if "proxy" in unit.name else []
    run = subprocess.run(
        [analyze, *user, "verify", "--man=no", str(stand_in)],
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_S,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
    )
    assert (run.returncode, [line for line in run.stderr.splitlines() if unit.name in line]) == (0, [])


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_units_start_commands_that_the_program_takes(unit: Path) -> None:
    """With the file of options beside them, whose every name and type is looked at."""
    words = [word for word in started(unit) if word != "--config"]
    words = [word for word in words if not word.endswith("mpcinfer.toml")]
    config = ["--config", str(ROOT / "deploy/mpcinfer.toml")]
    result = CliRunner().invoke(app, [*words, *config, "--show-config"], env={"COLUMNS": "200"})
    assert result.exit_code == 0, (result.output, result.exception)
    assert "mpcinfer.toml" in result.output


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_units_write_executable_memory_and_no_dumps(unit: Path) -> None:
    lines = unit.read_text(encoding="utf-8").splitlines()
    assert {"MemoryDenyWriteExecute=no", "LimitCORE=0", "NoNewPrivileges=yes", "Restart=on-failure"} <= {
        *lines
    }


def test_the_file_of_options_has_every_service() -> None:
    content = tomllib.loads((ROOT / "deploy/mpcinfer.toml").read_text(encoding="utf-8"))
    assert {*content} == {*SECTIONS}


def services() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.clients.yml").read_text(encoding="utf-8"))["services"]


@pytest.mark.parametrize("name", CLIENTS)
def test_clients_have_a_key_each_and_no_way_out(name: str) -> None:
    service = services()[name]
    assert service["volumes"] == [f"{name}-keys:/keys:ro"]
    assert service["networks"] == ["private"]
    words = [re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", word) for word in service["command"]]
    assert str(parse(words)["key"]) == f"/keys/{name}.secret"


def test_all_answered_waits_for_every_client() -> None:
    waits = services()["all-answered"]["depends_on"]
    assert waits == {name: {"condition": "service_completed_successfully"} for name in CLIENTS}


def test_networks_of_the_clients_have_no_way_out() -> None:
    content = yaml.safe_load((ROOT / "docker-compose.clients.yml").read_text(encoding="utf-8"))
    assert all(network["internal"] for network in content["networks"].values())


@pytest.mark.parametrize("name", [name for name in services() if name not in ("keys", "all-answered")])
def test_services_are_closed_as_those_of_the_demonstration(name: str) -> None:
    service = services()[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def page() -> str:
    return (ROOT / "docs/operations.md").read_text(encoding="utf-8")


def test_the_page_lists_every_field_of_a_log() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", page().partition("## Logs")[2].partition("\n## ")[0], re.MULTILINE)
    assert sorted(listed) == sorted([*get_type_hints(Fields), "time", "level", "event", "left_out"])


def test_the_page_lists_every_counter() -> None:
    ours = {family.name for family in Metrics("server").registry.collect() if "_process_" not in family.name}
    listed = re.findall(r"^\| `(mpcinfer_\w+)`", page().partition("## Metrics")[2], re.MULTILINE)
    assert sorted({name.removesuffix("_total").removesuffix("_info") for name in listed}) == sorted(ours)
