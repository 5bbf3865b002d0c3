"""The exact versions that `make` installs fit what pyproject.toml asks for, and can be left out."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PINNED = ROOT / "constraints.txt"


def pins() -> dict[str, str]:
    lines = PINNED.read_text(encoding="utf-8").splitlines()
    found = [re.fullmatch(r"([a-z0-9-]+)==([\w.]+)", line) for line in lines if not line.startswith("#")]
    assert all(found)
    return {match[1]: match[2] for match in found if match}


def requirements() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return sorted({*project["dependencies"], *chain(*project["optional-dependencies"].values())})


@pytest.mark.parametrize("text", requirements())
def test_what_is_asked_for_has_a_version_that_fits(text: str) -> None:
    requirement = Requirement(text)
    assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)])


@pytest.mark.parametrize("target", ["demo", "test", "check", "coverage"])
def test_make_installs_these_versions_unless_told_otherwise(target: str) -> None:
    outer = ("MAKEFLAGS", "MAKEOVERRIDES", "CONSTRAINTS")  # of the `make test` that this may run under
    environment = {name: value for name, value in os.environ.items() if name not in outer}

    def installs(*settings: str) -> list[str]:
        command = ["make", "--dry-run", "--always-make", target, *settings]
        run = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, env=environment)
        return [line for line in run.stdout.splitlines() if " -m pip install " in line]

    assert len(installs()) > 2
    assert all(" -c constraints.txt " in line for line in installs())
    assert len(installs("CONSTRAINTS=")) == len(installs())
    assert not any(" -c " in line for line in installs("CONSTRAINTS="))


def test_the_hook_before_a_commit_is_make_check() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    [[hook]] = [repository["hooks"] for repository in config["repos"]]
    assert (hook["entry"], hook["language"], hook["pass_filenames"]) == ("make check", "system", False)
