"""Writes constraints.txt: the exact versions, installed here, of everything that mpcinfer and its tools need.

    python scripts/constraints.py

Run it in an environment in which `make check` and `make test` pass. CrypTen and SmolLM2 are not among them:
the Makefile installs those with versions of its own.
"""

from __future__ import annotations

import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
HEAD = """\
# Versions with which all tests pass; written by scripts/constraints.py. `make` installs with them; empty
# CONSTRAINTS= for the newest versions that pyproject.toml allows.
"""


def needed() -> list[Requirement]:
    """What pyproject.toml asks for, tools included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    return [Requirement(text) for each in lists for text in each]


def pinned(requirements: list[Requirement]) -> dict[str, str]:
    """Installed versions of these and of all that they need here in turn, by name."""
    versions: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(requirement, "") for requirement in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        name = canonicalize_name(requirement.name)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue  # optional, or for another platform
        versions[name] = Version(found.version).public  # the CPU build of torch is 2.13.0+cpu
        for wanted in {"", *requirement.extras}:
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                waiting += [(Requirement(text), wanted) for text in found.requires or ()]
    return versions


if __name__ == "__main__":
    lines = [f"{name}=={version}\n" for name, version in sorted(pinned(needed()).items())]
    (ROOT / "constraints.txt").write_text(HEAD + "".join(lines), encoding="utf-8")
