"""What the site is made of: every page and link of the documents, and a reference of every public name."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import mpcinfer
from tests.deadlines import HANG_S

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site") / "pages"
    command = [sys.executable, "-m", "scripts.pages", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=HANG_S)
    return out


def leaves(nav: Any) -> Iterator[str]:
    """The pages of a tree of titles."""
    if isinstance(nav, str):
        yield nav
    else:
        for below in nav.values() if isinstance(nav, dict) else nav:
            yield from leaves(below)


def test_the_site_leads_to_every_page(pages: Path) -> None:
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    reached = set(leaves(config["nav"]))
    made = {str(path.relative_to(pages)) for path in pages.rglob("*.md")}
    hidden = {page for page in made if Path(page).match(config["not_in_nav"].strip())}
    assert hidden
    assert reached == made - hidden


def test_the_reference_has_every_public_name(pages: Path) -> None:
    lines = (pages / "reference.md").read_text(encoding="utf-8").splitlines()
    named = [line.removeprefix("::: ").rpartition(".") for line in lines if line.startswith("::: ")]
    assert sorted(name for _, _, name in named) == sorted(mpcinfer.__all__)
    for module, _, name in named:
        assert getattr(importlib.import_module(module), name) is getattr(mpcinfer, name)
        assert getattr(mpcinfer, name).__doc__  # or its entry would be empty
