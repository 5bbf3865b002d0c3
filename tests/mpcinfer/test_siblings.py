"""Somebody else's `parties` or `protocols` is noticed when mpcinfer is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mpcinfer._siblings import SIBLINGS
from tests.deadlines import HANG_S

ROOT = Path(__file__).resolve().parents[2]
TRACE = "print('foreign code ran')\n"


def run(*arguments: str, first: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter that looks into `first` and then into our sources."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(first), str(ROOT)])}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=HANG_S, cwd=folder, env=environment
    )


def refused(run: subprocess.CompletedProcess[str]) -> str:
    """The last line of a refused import."""
    assert run.returncode == 1
    assert "foreign code ran" not in run.stdout
    last = run.stderr.strip().splitlines()[-1]
    assert last.startswith("mpcinfer._siblings.ForeignPackageError: ")
    return last


@pytest.mark.parametrize("name", SIBLINGS)
@pytest.mark.parametrize("form", ["{}/__init__.py", "{}.py"])
def test_another_package_of_that_name_is_refused_before_it_runs(tmp_path: Path, name: str, form: str) -> None:
    found = tmp_path / form.format(name)
    found.parent.mkdir(exist_ok=True)
    found.write_text(TRACE)
    message = refused(run("-c", "import mpcinfer", first=tmp_path, folder=tmp_path))
    assert str(found) in message
    assert str(ROOT / name) in message


@pytest.mark.parametrize("name", SIBLINGS)
def test_a_folder_of_that_name_does_no_harm(tmp_path: Path, name: str) -> None:
    """A package with __init__.py wins over a folder without one, wherever they stand."""
    (tmp_path / name).mkdir()
    assert run("-c", "import mpcinfer", first=tmp_path, folder=tmp_path).returncode == 0


def test_the_command_line_in_a_folder_with_such_a_file(tmp_path: Path) -> None:
    """`python -m` looks into the folder that it runs in first."""
    (tmp_path / "parties.py").write_text(TRACE)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert "parties.py" in refused(run("-m", "mpcinfer", "--help", first=elsewhere, folder=tmp_path))
    assert run("-m", "mpcinfer", "--help", first=elsewhere, folder=elsewhere).returncode == 0


def test_a_module_imported_before_is_refused_too(tmp_path: Path) -> None:
    (tmp_path / "protocols.py").write_text("")
    program = f"import sys; import protocols; sys.path.remove({str(tmp_path)!r}); import mpcinfer"
    assert "protocols.py" in refused(run("-c", program, first=tmp_path, folder=ROOT.parent))
    program = "import sys, types; sys.modules['parties'] = types.ModuleType('parties'); import mpcinfer"
    assert "finds nothing" in refused(run("-c", program, first=tmp_path / "none", folder=ROOT))


def test_what_was_installed_over_ours_is_refused(tmp_path: Path) -> None:
    """Two wheels with a package of one name share its folder; the later one's __init__.py stays."""
    (tmp_path / "copy").mkdir()
    for name in ("mpcinfer", *SIBLINGS):
        package = tmp_path / "copy" / name
        package.mkdir()
        for source in (ROOT / name).glob("*.py"):
            (package / source.name).write_bytes(source.read_bytes())
    check = ("-c", "import mpcinfer")
    assert run(*check, first=tmp_path / "copy", folder=tmp_path).returncode == 0
    (tmp_path / "copy" / "parties" / "__init__.py").write_text("")
    assert "installed over it" in refused(run(*check, first=tmp_path / "copy", folder=tmp_path))
