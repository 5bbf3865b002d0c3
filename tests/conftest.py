"""Settings for all tests."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

# Threads that wait for each other's cores make small models slower, and a busy machine much slower.
torch.set_num_threads(1)

_COMPILE = """
from mpcinfer.roles.fss_ready import rehearse_all
rehearse_all()
"""
_MANY = 200
"""Tests from which on somebody will need the compiled kernels."""


def pytest_collection_finish(session: pytest.Session) -> None:
    """Compiles the kernels, which takes most of a minute on a machine that never did, outside of any test."""
    if len(session.items) > _MANY:
        subprocess.run([sys.executable, "-c", _COMPILE], check=True)
