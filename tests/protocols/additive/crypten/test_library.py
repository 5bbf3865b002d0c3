"""CrypTen's own tests, from its wheel, over our communicator, randomness and dealer. Nothing is fetched.

All of test_communicator and test_binary, and the part of test_mpc that inference needs. Every method runs
with two parties, as upstream's do. What is different:

* `test_send_recv_obj`, `test_broadcast_obj` send modules and byte strings through pickle, to see that harmful
  ones are rejected. Nothing is ever pickled here, so they must be refused.
* `test_name` is skipped upstream too.

No method needs more than two parties.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from parties.errors import ConfigError
from tests.protocols.additive.crypten import library

pytestmark = [pytest.mark.slow]

ROOT = Path(__file__).parents[3]

COMMUNICATOR = [
    "all_gather", "all_gather_random", "all_reduce", "batched_all_reduce", "batched_broadcast",
    "batched_reduce", "broadcast", "gather", "gather_random", "get_rank", "get_world_size", "logging",
    "mutation", "reduce", "scatter", "send_recv",
]  # fmt: skip
PICKLED = ["send_recv_obj", "broadcast_obj"]
BINARY = [
    "AND", "OR", "XOR", "add", "bitwise_broadcasting", "comparators", "control_flow_failure",
    "encrypt_decrypt", "gather", "get_set", "inplace", "invert", "permute", "scatter", "share_attr", "split",
    "src_failure", "src_match_input_data", "sum", "transpose", "where",
]  # fmt: skip
MPC = [
    ["relu", "approximations", "comparators", "matmul", "broadcast_matmul"],
    ["softmax"],
    ["max_min_log_reduction"],
]
MPC_LONG = [["max_min_pairwise"], ["max_min_double_log_reduction"], ["max_min_accelerated_cascade"]]
"""The same test of other ways to a maximum than the library's default."""


@pytest.fixture(scope="module")
def modules() -> dict[str, ModuleType]:
    return {name: library.load(name) for name in ("test_communicator", "test_binary", "test_mpc")}


def methods(case: type) -> set[str]:
    return {name.removeprefix("test_") for name in dir(case) if name.startswith("test_")}


def run(module: str, case_class: str, *names: str) -> None:
    """Methods in a process of their own; every one must report that it passed."""
    methods = [f"test_{name}" for name in names]
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "tests.protocols.additive.crypten.library",
        module,
        case_class,
    ]
    done = subprocess.run([*command, *methods], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.splitlines() == [f"passed {method}" for method in methods]


def test_communicator() -> None:
    run("test_communicator", "TestCommunicatorMultiProcess", *COMMUNICATOR)


@pytest.mark.parametrize("name", PICKLED)
def test_pickled_objects_are_refused(modules: dict[str, ModuleType], name: str) -> None:
    with pytest.raises(ConfigError, match="never pickled"):
        library.run_method(modules["test_communicator"].TestCommunicatorMultiProcess, f"test_{name}")


def test_binary() -> None:
    run("test_binary", "TestBinary", *BINARY)


@pytest.mark.parametrize(
    "names", [*MPC, *(pytest.param(each, marks=pytest.mark.long) for each in MPC_LONG)], ids=" ".join
)
def test_mpc(names: list[str]) -> None:
    run("test_mpc", "TestTFP", *names)


def test_no_method_is_left_out(modules: dict[str, ModuleType]) -> None:
    communicator = methods(modules["test_communicator"].TestCommunicatorMultiProcess)
    assert communicator == {*COMMUNICATOR, *PICKLED, "name"}
    assert methods(modules["test_binary"].TestBinary) == set(BINARY)
    assert {name for names in (*MPC, *MPC_LONG) for name in names} < methods(modules["test_mpc"].TestTFP)
