"""Counted answers, kept between calls: counting loads torch, which takes longer than the counting.

An answer depends on this project's sources, on the question, and on the files of the model alone, and it is
kept under a digest of them all: a folder of JSON beside the compiled kernels (`parties.kernel_cache`), which
may be removed at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Generator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import mpcinfer
import parties
import protocols
from mpcinfer.models.patterns_file import PatternsFile
from mpcinfer.suites.registry import SUITES
from parties.errors import ConfigError
from parties.kernel_cache import cache_root, own_folder

_FOLDER = "counted"
_KEPT = 256
"""Answers; the oldest go."""


def counted(question: Sequence[object], model: str | None, answer: Callable[[], Any]) -> Any:
    """The answer to a question, as plain JSON values: as it was given before, or counted now and kept.

    Where nothing can be kept it is counted every time.

    Args:
        question: everything that the answer depends on, sources and the model's files aside.
        model: a name or a path; None where the question is about none.
        answer: counts. What it raises is raised, and not kept.
    """
    made_for = [_sources(), [str(part) for part in question], model, *_files_of(model)]
    name = hashlib.sha256(json.dumps(made_for).encode()).hexdigest()[:32]
    try:
        path = own_folder(own_folder(cache_root()) / _FOLDER) / f"{name}.json"
    except (ConfigError, OSError):
        return answer()
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_text("utf-8"))
    made = answer()
    with contextlib.suppress(OSError):
        _keep(path, json.dumps(made))
    return made


def _keep(path: Path, text: str) -> None:
    """Writes beside the place and renames, so that nobody reads half of it."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        file.write(text)
    os.replace(file.name, path)
    oldest = sorted(path.parent.iterdir(), key=lambda each: each.stat().st_mtime_ns)
    for other in oldest[:-_KEPT]:
        other.unlink(missing_ok=True)


@lru_cache(maxsize=1)
def _sources() -> str:
    """A digest of all sources that a count depends on: the three packages', and those of other suites."""
    digest = hashlib.sha256()
    others = {type(suite).__module__.partition(".")[0] for suite in SUITES.values()} - {"mpcinfer"}
    packages = [mpcinfer, protocols, parties, *(sys.modules[name] for name in sorted(others))]
    for root in (Path(str(folder)) for package in packages for folder in package.__path__):
        for path in sorted(root.rglob("*.py")):
            digest.update(f"{path.relative_to(root)}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _files_of(model: str | None) -> Generator[tuple[str, int, int]]:
    """Name, size and time of last change of a model's files, and of what is known of shipped ones."""
    shipped = Path(str(mpcinfer.__file__)).parent / "models"
    roots = [shipped / "shipped", shipped / "calibrated"]
    if model is not None and (sparse := PatternsFile.of(model)) is not None:
        yield from _files_of(sparse.base)
    if model is not None and Path(model).exists():
        path = Path(model).resolve()
        roots += [path] if path.is_dir() else sorted(path.parent.glob(f"{path.stem}*"))
    for root in roots:
        for file in sorted(root.glob("**/*" if root.parent == shipped else "*")) if root.is_dir() else [root]:
            with contextlib.suppress(OSError):
                found = file.stat()
                yield str(file), found.st_size, found.st_mtime_ns
