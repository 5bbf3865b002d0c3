"""Runs the test methods that come inside CrypTen's wheel, over our communicator, dealer and randomness.

Those tests start processes that talk over gloo. Here each method runs in two threads, one a party. What
they open without a mask (they look at secrets all the time) goes under the reason `reveal`, only here.

As a program, `python -m tests.protocols.additive.crypten.library MODULE CLASS METHOD...` runs methods and
exits with 1 at the first that fails: without pytest's run-time checks of every annotation, half the time.
"""

from __future__ import annotations

import importlib.util
import sys
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import TestCase, mock

import torch

from protocols.additive.crypten import session as session_module
from protocols.additive.crypten.communicator import LinkCommunicator
from protocols.additive.crypten.compat import import_crypten
from protocols.additive.crypten.executor import CrypTenArithmetic
from tests.protocols.additive.crypten.conftest import run_parties

LOGGED = [
    "all_reduce", "reduce", "broadcast", "send", "recv", "isend", "irecv", "gather", "all_gather", "scatter",
    "barrier", "send_obj", "recv_obj", "broadcast_obj",
]  # fmt: skip


def _folder() -> Path:
    """Where the wheel has put its top-level package `test`, which the standard library's hides."""
    return Path(import_crypten().__file__).parents[1] / "test"


def load(name: str) -> ModuleType:
    """One of the wheel's test modules, by file; the standard library's `test` is back afterwards."""
    package = ModuleType("test")
    names = ["test", "test.multiprocess_test_case", f"test.{name}"]
    before = {name: sys.modules.get(name) for name in names}
    sys.modules["test"] = package
    try:
        return [_execute(module_name) for module_name in names[1:]][-1]
    finally:
        for module_name, module in before.items():
            if module is None:
                del sys.modules[module_name]
            else:
                sys.modules[module_name] = module


def _execute(module_name: str) -> ModuleType:
    path = _folder() / f"{module_name.split('.')[1]}.py"
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    spec.loader.exec_module(module)
    return module


def revealing_communicator() -> type:
    """Our communicator, with CrypTen's log of it, that lets tests open values."""
    communicator: Any = import_crypten().communicator
    logging = communicator.communicator._logging

    class Revealing(LinkCommunicator, communicator.Communicator):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.reset_communication_stats()

        def spend(self) -> str:
            return super().spend() if self._reason is not None else f"{self.meter.label}/reveal"

    for name in LOGGED:
        setattr(Revealing, name, logging(getattr(LinkCommunicator, name)))
    return Revealing


def run_method(case_class: type[TestCase], method: str) -> None:
    """Runs a test method as two parties; raises the first failure."""
    crypten = import_crypten()

    def body(executor: CrypTenArithmetic) -> None:
        case: Any = case_class(method)
        case.rank, case.world_size, case.default_tolerance = executor.rank, 2, 0.5
        getattr(case, method)()

    with ExitStack() as stack:
        patch = stack.enter_context
        patch(mock.patch.object(session_module, "LinkCommunicator", revealing_communicator()))
        patch(mock.patch.object(crypten, "init"))
        run_parties(body)


def main(module: str, case_class: str, *methods: str) -> None:
    """Runs methods of a class; see above."""
    torch.manual_seed(11)  # for the values of the library's tests; a session never draws from it
    torch.set_num_threads(1)
    case = getattr(load(module), case_class)
    for method in methods:
        run_method(case, method)
        print("passed", method, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
