"""Every set of kernels that this machine can be gives the same bits: the same keys, sums and openings.

Each runs in a process of its own, compiled for an older processor; `make test-kernels` runs all tests of the
kernels so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from bench.kernel_sets import SETS, KernelSet, possible_sets, set_named
from protocols.kernels.processor import KERNEL_SETS, OPENSSL, kernel_set
from tests.kernel_digests import digests

ROOT = Path(__file__).parents[1]
_NEWER_THAN_SSE2 = ("sse3", "ssse3", "sse4", "avx", "aes", "vaes", "pclmul", "vpclmul", "gfni", "fma", "bmi")
BARE = KernelSet("openssl", "64-bit Intel and AMD as they began", "x86-64", _NEWER_THAN_SSE2)
"""Loops are compiled for the narrowest registers there are."""
_ON_INTEL = "avx512" in {each.name for each in SETS}


@cache
def own_digests() -> dict[str, str]:
    """Of this process."""
    return digests()


def digests_as(machine: KernelSet) -> dict[str, str]:
    """Of a process on such a machine."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.kernel_digests"],
        cwd=ROOT,
        env=machine.environment(os.environ),
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(run.stdout)


def shown_elsewhere(each: KernelSet) -> bool:
    """Those of this process, which run in it already, and OpenSSL's, which run on the barest machine."""
    return each.name == kernel_set() or (each.name == OPENSSL and _ON_INTEL)


@pytest.mark.slow
@pytest.mark.parametrize(
    "machine",
    [
        *(
            pytest.param(each, marks=pytest.mark.long if shown_elsewhere(each) else ())
            for each in possible_sets()
        ),
        BARE,
    ],
    ids=lambda each: each.cpu or each.name,
)
def test_every_set_gives_the_same_bits(machine: KernelSet) -> None:
    if machine is BARE and not _ON_INTEL:
        pytest.skip("this machine is none of Intel's family")
    theirs = digests_as(machine)
    assert theirs.pop("set") == machine.name
    assert theirs == {name: value for name, value in own_digests().items() if name != "set"}


def test_an_older_machine_has_no_newer_features() -> None:
    for each in SETS:
        kept = {name[1:] for name in each.features if name.startswith("+")}
        assert not any(name.startswith(each.lacks) for name in kept if each.lacks)
    assert {each.name for each in SETS} <= set(KERNEL_SETS)


def test_a_machine_is_what_it_is_asked_to_be_whatever_this_process_is() -> None:
    base = {"NUMBA_CPU_NAME": "znver3", "MPCINFER_KERNELS": "openssl", "HOME": "/nowhere"}
    fastest, *_, last = possible_sets()
    assert fastest.cpu or fastest.environment(base) == {"HOME": "/nowhere"}
    assert last.environment({})["MPCINFER_KERNELS"] == "openssl"


def test_a_set_that_this_machine_has_not_is_refused() -> None:
    with pytest.raises(SystemExit, match=r"'riscv' is not what this machine can be: .*openssl"):
        set_named("riscv")
