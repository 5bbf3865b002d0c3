"""What a party needs on its machine, looked at one by one: each finding says what to do."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from mpcinfer.benchmark.machine import kernels, machine
from mpcinfer.suites.registry import SUITES
from parties.errors import ConfigError, MpcInferError
from parties.kernel_cache import cache_root
from parties.keys import load_public, load_secret

FREE_BYTES = 4 << 30
"""Below that, correlations of a long conversation, or a model, may not fit."""
MEMORY_BYTES = 4 << 30
"""Below that SmolLM2-135M does not run."""
RELEASED = 1_790_000_000.0
"""Seconds since 1970: this code is no older, and so no clock that is right."""
REACH_S = 5.0
EXTRAS = {"proxy": ("starlette", "uvicorn"), "report": ("vl_convert",), "plots": ("matplotlib",)}


class State(StrEnum):
    """Of a finding."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        advice: what to do about it; empty where nothing is to be done.
    """

    name: str
    state: State
    says: str
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a party will use.

    Attributes:
        keys: files of keys, .secret or .public.
        endpoints: tcp://host:port of others that should be reachable.
        listens: tcp://host:port that this party will bind.
        folders: that correlations and models will go to.
    """

    keys: Sequence[Path] = ()
    endpoints: Sequence[str] = ()
    listens: Sequence[str] = ()
    folders: Sequence[Path] = ()


def examine(asked: Asked) -> Iterator[Finding]:
    """Every finding, as it is made."""
    yield Finding(name="machine", state=State.OK, says=machine())
    yield from _checked("kernels", _kernels)
    yield from _checked("compiled code", _compiled)
    for suite in SUITES.values():
        yield from _checked(f"suite {suite.name}", lambda suite=suite: _suite(suite.name))
    yield _extras()
    yield _memory()
    yield _clock()
    for folder in asked.folders or [Path(tempfile.gettempdir())]:
        yield _disk(folder)
    for path in asked.keys:
        yield from _checked(f"key {path}", lambda path=path: _key(path))
    for endpoint in asked.endpoints:
        yield from _checked(endpoint, lambda endpoint=endpoint: _reached(endpoint))
    for endpoint in asked.listens:
        yield from _checked(endpoint, lambda endpoint=endpoint: _free(endpoint))


def _checked(name: str, look: Callable[[], Finding]) -> Iterator[Finding]:
    """A finding, or what was raised instead of one."""
    try:
        yield look()
    except (MpcInferError, OSError) as error:
        yield Finding(name=name, state=State.FAILED, says=f"{type(error).__name__}: {error}")


def _kernels() -> Finding:
    found = kernels()
    features, fast = ", ".join(found["features"]), found["set"] != "openssl"
    return Finding(
        name="kernels",
        state=State.OK if fast else State.WARNING,
        says=f"{found['set']}, compiled for {found['compiled_for']} ({features})",
        advice="" if fast else "no AES instructions: plans of the suite fss are several times slower here",
    )


def _compiled() -> Finding:
    missing = [suite.name for suite in SUITES.values() if not suite.compiled()]
    if missing:
        names = ", ".join(missing)
        return Finding(
            name="compiled code",
            state=State.WARNING,
            says=f"not all for {names}",
            advice="`mpcinfer warm` compiles it ahead; otherwise the first session does",
        )
    return Finding(name="compiled code", state=State.OK, says=f"in {cache_root()}")


def _suite(name: str) -> Finding:
    SUITES[name].require()
    return Finding(name=f"suite {name}", state=State.OK, says="has what it needs")


def _extras() -> Finding:
    missing = [
        extra
        for extra, modules in EXTRAS.items()
        if any(importlib.util.find_spec(module) is None for module in modules)
    ]
    says = f"not installed: {', '.join(missing)}" if missing else "all installed"
    advice = f"pip install 'mpcinfer[{','.join(missing)}]' where they are wanted" if missing else ""
    return Finding(name="extras", state=State.OK, says=says, advice=advice)


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    enough = total >= MEMORY_BYTES
    return Finding(
        name="memory",
        state=State.OK if enough else State.WARNING,
        says=f"{total / 1e9:.1f} GB",
        advice="" if enough else f"models of over 100 million parameters want {MEMORY_BYTES / 1e9:.0f} GB",
    )


def _clock() -> Finding:
    now = time.time()
    return Finding(
        name="clock",
        state=State.OK if now >= RELEASED else State.WARNING,
        says=time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now)),
        advice="" if now >= RELEASED else "it is behind this software; records will have wrong dates",
    )


def _disk(folder: Path) -> Finding:
    """Free space where a folder is or will be, and whether it can be written."""
    there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    free = shutil.disk_usage(there).free
    if not os.access(there, os.W_OK):
        return Finding(name=f"disk {folder}", state=State.FAILED, says=f"{there} cannot be written")
    return Finding(
        name=f"disk {folder}",
        state=State.OK if free >= FREE_BYTES else State.WARNING,
        says=f"{free / 1e9:.1f} GB free",
        advice="" if free >= FREE_BYTES else "correlations of a long conversation take gigabytes",
    )


def _key(path: Path) -> Finding:
    name = f"key {path}"
    if path.suffix == ".public":
        load_public(path)
        return Finding(name=name, state=State.OK, says="a public key")
    keys, mode = load_secret(path), stat.S_IMODE(path.stat().st_mode)
    beside = path.with_suffix(".public")
    if beside.exists() and load_public(beside) != keys.public:
        raise ConfigError(f"{beside} is not its public part")
    if mode & 0o077:
        advice = f"chmod 600 {path}"
        return Finding(
            name=name, state=State.FAILED, says=f"others may read it, mode {mode:o}", advice=advice
        )
    return Finding(name=name, state=State.OK, says="a secret key, for its owner alone")


def _reached(endpoint: str) -> Finding:
    host, port = _address(endpoint)
    try:
        with socket.create_connection((host, port), timeout=REACH_S):
            return Finding(name=endpoint, state=State.OK, says="somebody listens")
    except OSError as error:
        return Finding(
            name=endpoint,
            state=State.FAILED,
            says=f"not reached: {error.strerror or error}",
            advice="is the party running, and does a firewall let this port through?",
        )


def _free(endpoint: str) -> Finding:
    host, port = _address(endpoint)
    try:
        with socket.create_server(("" if host == "*" else host, port)):
            return Finding(name=endpoint, state=State.OK, says="free to listen on")
    except OSError as error:
        return Finding(
            name=endpoint,
            state=State.FAILED,
            says=f"cannot listen: {error.strerror or error}",
            advice="another process has it; take another port",
        )


def _address(endpoint: str) -> tuple[str, int]:
    """Host and port of tcp://host:port.

    Raises:
        ConfigError: it is none.
    """
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if urlsplit(endpoint).scheme != "tcp" or host is None or port is None:
        raise ConfigError(f"an endpoint is tcp://host:port, not {endpoint!r}")
    return host, port
