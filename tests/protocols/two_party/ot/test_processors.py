"""Parties on different processors understand each other: the same messages and shares on all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.kernel_sets import possible_sets
from tests.protocols.two_party.ot.digest import digest

ROOT = Path(__file__).parents[4]
MACHINES = {each.name: each for each in possible_sets()}


def elsewhere(environment: dict[str, str]) -> list[str]:
    run = subprocess.run(
        [sys.executable, "-m", "tests.protocols.two_party.ot.digest"],
        cwd=ROOT,
        env=environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return run.stdout.split()


@pytest.mark.slow
@pytest.mark.skipif("avx2" not in MACHINES, reason="this machine has no AVX2 with AES")
def test_avx2_gives_the_same_messages_and_shares() -> None:
    machine = MACHINES["avx2"]
    environment = machine.environment(os.environ)
    assert environment["NUMBA_CPU_NAME"]
    assert elsewhere(environment) == ["avx2", digest()]


def test_openssl_gives_the_same_messages_and_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    own = digest()
    monkeypatch.setenv("MPCINFER_KERNELS", "openssl")
    assert digest() == own
