"""Compiled code is kept where nobody else can put any, and is used only while it fits."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from parties import compiled, kernel_cache
from parties.errors import ConfigError
from parties.kernel_cache import VARIABLE, KernelFolder, cache_root, own_folder

posix = pytest.mark.skipif(os.name != "posix", reason="modes and owners are POSIX's")


def twice(values: NDArray[Any]) -> None:
    for i in range(values.size):
        values[i] *= values.dtype.type(2)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of this test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv(VARIABLE, str(folder))
    compiled.kernel_folder.cache_clear()
    monkeypatch.setattr(compiled, "_KERNELS", [])
    yield folder
    compiled.kernel_folder.cache_clear()


def hits_and_misses(values: NDArray[Any]) -> tuple[int, int]:
    """How often compiled code was found on disk and not found, in a fresh wrapper of the function."""
    dispatcher: Any = compiled.compiled(twice)
    dispatcher(values)
    return sum(dispatcher.stats.cache_hits.values()), sum(dispatcher.stats.cache_misses.values())


def test_compiled_code_is_kept_until_a_source_changes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.array([3, 5], np.uint64)
    assert hits_and_misses(values) == (0, 1)
    assert hits_and_misses(values) == (1, 0)
    assert hits_and_misses(values.astype(np.int32)) == (0, 1)
    monkeypatch.setattr(compiled, "digest_of_sources", lambda *folders: "another")  # pyright: ignore
    compiled.kernel_folder.cache_clear()
    assert hits_and_misses(values) == (0, 1)
    assert values.tolist() == [24, 40]
    assert len(list((root / "kernels").iterdir())) == 2


def test_every_types_code_has_a_file_of_its_own(root: Path) -> None:
    """Two processes that compile at once must not overwrite each other's: no index, no numbers."""
    arrays = [np.ones(3, kind) for kind in (np.int16, np.int32, np.int64, np.uint64)]
    threads = [threading.Thread(target=hits_and_misses, args=(array,)) for array in arrays]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (folder,) = (root / "kernels").iterdir()
    assert sorted(path.suffix for path in folder.iterdir()) == [".nbc"] * len(arrays)
    assert [hits_and_misses(array) for array in arrays] == [(1, 0)] * len(arrays)


@posix
def test_the_folder_is_the_users_alone(root: Path) -> None:
    hits_and_misses(np.ones(1))
    assert all(path.stat().st_mode & 0o777 == 0o700 for path in (root, root / "kernels"))


@posix
@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
def test_a_folder_that_others_can_write_is_refused(root: Path, mode: int) -> None:
    root.mkdir()
    root.chmod(mode)
    with pytest.raises(ConfigError, match=rf"open to others \(mode {mode:04o}\); run: chmod 700"):
        hits_and_misses(np.ones(1))
    assert not list(root.iterdir())


@posix
def test_one_inside_a_folder_that_others_can_write_is_refused() -> None:
    with tempfile.TemporaryDirectory() as name:  # not in a folder of pytest's, which nobody else can enter
        folder = Path(name)
        folder.chmod(0o733)
        with pytest.raises(ConfigError, match="others can write"):
            own_folder(folder / "cache")
        folder.chmod(0o1733)  # with the sticky bit they cannot rename what is not theirs
        own_folder(folder / "cache")
        folder.chmod(0o700)
        (folder / "cache").chmod(0o777)
        with pytest.raises(ConfigError, match="open to others"):
            own_folder(folder / "cache")


@posix
def test_a_link_and_a_strangers_folder_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "there")
    with pytest.raises(ConfigError, match="it is no folder"):
        own_folder(tmp_path / "link")
    mine = os.geteuid()
    stranger = mine + 1
    monkeypatch.setattr(kernel_cache, "_ROOT", stranger + 1)
    monkeypatch.setattr(kernel_cache.os, "geteuid", lambda: stranger)
    with pytest.raises(ConfigError, match=f"it belongs to user {mine}, not to {stranger}"):
        own_folder(tmp_path / "there")


@posix
def test_what_cannot_be_written_is_read_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert KernelFolder(tmp_path / "cache", "key").problem == ""

    def read_only(**options: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(kernel_cache.tempfile, "TemporaryFile", read_only)
    kept = KernelFolder(tmp_path / "cache", "key")
    assert kept.path is not None
    assert not kept.writable
    assert "Read-only file system" in kept.problem
    (tmp_path / "file").touch()
    absent = KernelFolder(tmp_path / "file" / "cache", "key")
    assert absent.path is None
    assert absent.problem


def test_without_a_folder_everything_runs_all_the_same(root: Path) -> None:
    root.parent.joinpath("cache").write_text("no folder")
    with pytest.raises((ConfigError, FileExistsError)):
        own_folder(root)
    values = np.array([1.5])
    assert hits_and_misses(values) == (0, 1)
    assert hits_and_misses(values) == (0, 1)
    assert values.tolist() == [6.0]


def test_the_platforms_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(kernel_cache.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_root() == tmp_path / "mpcinfer"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    assert cache_root() == Path.home() / ".cache" / "mpcinfer"
    monkeypatch.setattr(kernel_cache.sys, "platform", "darwin")
    assert cache_root() == Path.home() / "Library" / "Caches" / "mpcinfer"
    monkeypatch.setenv(VARIABLE, str(tmp_path / "mine"))
    assert cache_root() == tmp_path / "mine"


def test_another_process_finds_what_this_one_compiled(tmp_path: Path) -> None:
    program = """
import numpy as np
from parties.compiled import times_compiled
from parties.packing import pack_elements
assert bytes(pack_elements(np.arange(8, dtype=np.uint64), 3)).hex() == "88c6fa"
print(times_compiled())
"""
    environment = {**os.environ, VARIABLE: str(tmp_path / "cache")}
    counts = [
        int(
            subprocess.run(
                [sys.executable, "-c", program],
                env=environment,
                check=True,
                capture_output=True,
                text=True,
                timeout=300,
            ).stdout
        )
        for _ in range(2)
    ]
    assert counts == [1, 0]
