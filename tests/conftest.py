"""Settings for all tests."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import count

import pytest
import torch
from hypothesis import settings

from tests import type_checks
from tests.deadlines import TEST_S

type_checks.install()  # before anything is imported that is to be checked

# Threads that wait for each other's cores make small models slower, and a busy machine much slower.
torch.set_num_threads(1)

# Tests never time; and what CI draws is the same every time.
settings.register_profile("tests", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("tests")

_COMPILE = """
from mpcinfer.suites.kernel_mark import is_warm
from mpcinfer.suites.fss.warm import warm
is_warm() or warm()
"""
_MANY = 200
"""Tests from which on somebody will need the compiled kernels."""


_NUMBERS = count()


@pytest.fixture(autouse=True)
def _counted_by_nobody_else(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a test counts with something replaced must never be another one's answer."""
    from mpcinfer.cli import counted

    own = tmp_path_factory.getbasetemp() / f"counted-{next(_NUMBERS)}"
    monkeypatch.setattr(counted, "cache_root", lambda: own)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Ends whatever hangs, where nobody asked for another deadline."""
    if config.getoption("timeout") is None:
        for item in items:
            item.add_marker(pytest.mark.timeout(TEST_S))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Compiles the kernels, which takes most of a minute on a machine that never did, outside of any test.

    Where several processes share the tests, the first of them does.
    """
    worker: dict[str, str] = getattr(session.config, "workerinput", {})
    if len(session.items) > _MANY and worker.get("workerid", "gw0") == "gw0":
        subprocess.run([sys.executable, "-c", _COMPILE], check=True)
