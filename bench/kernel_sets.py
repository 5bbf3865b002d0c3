"""Makes this machine compile and run as an older one would, to measure and test every set of kernels.

    python -m bench.kernel_sets                                         says what this machine can be
    python -m bench.kernel_sets avx2 python -m bench.stack --layers 1   runs a command as such a machine

A processor can do without its newest instructions, so one machine stands for all older ones of its family.
Features are what counts: numba goes by NUMBA_CPU_FEATURES, and its NUMBA_CPU_NAME alone only schedules
instructions otherwise. Torch, MKL, oneDNN and OpenBLAS have variables of their own. Rates are those of this
machine without the instructions, not of an old one: clock, caches and memory stay what they are.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import llvmlite.binding as llvm
from rich.console import Console
from rich.table import Table

from protocols.kernels.processor import AES_REGISTERS, OPENSSL, VARIABLE

_NEWER_THAN_AVX2 = ("avx512", "avx10", "amx", "evex", "avxifma", "avxvnni", "avxneconvert")
_NEWER_THAN_AES_NI = (*_NEWER_THAN_AVX2, "vaes", "vpclmulqdq", "gfni")
_LIBRARIES = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
}
_VARIABLES = ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", VARIABLE, *_LIBRARIES)


@dataclass(frozen=True, slots=True)
class KernelSet:
    """A machine to be.

    Attributes:
        name: of the kernels that run there: see `processor.KERNEL_SETS`.
        like: who has such a machine.
        cpu: one of them, in LLVM's names; empty for this machine as it is.
        lacks: beginnings of the names of features that it has not.
    """

    name: str
    like: str
    cpu: str = ""
    lacks: tuple[str, ...] = ()

    @property
    def features(self) -> list[str]:
        """This machine's features in LLVM's notation, with - before those that the other has not."""
        own = str(llvm.get_host_cpu_features().flatten())
        return [f"-{name[1:]}" if name[1:].startswith(self.lacks) else name for name in own.split(",")]

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """The variables of a process that is to be such a machine, whatever `base` says of machines."""
        chosen = {name: value for name, value in base.items() if name not in _VARIABLES}
        if self.cpu:
            chosen |= _LIBRARIES | {"NUMBA_CPU_NAME": self.cpu, "NUMBA_CPU_FEATURES": ",".join(self.features)}
        if self.name == OPENSSL:
            chosen[VARIABLE] = OPENSSL
        return chosen

    @property
    def possible(self) -> bool:
        """Whether this machine has what it takes."""
        has = {name[1:] for name in self.features if name.startswith("+")}
        needs = {kind.name: kind.needs for kind in AES_REGISTERS}
        return self.name == OPENSSL or needs[self.name] <= has


_ARM = "aarch64" in llvm.get_process_triple() or "arm64" in llvm.get_process_triple()
SETS: tuple[KernelSet, ...] = (
    (KernelSet("neon", "Apple, Graviton, Ampere"), KernelSet(OPENSSL, "any"))
    if _ARM
    else (
        KernelSet("avx512", "Intel servers since Ice Lake (2021), AMD since Zen 4 (2022)"),
        KernelSet("avx2", "AMD Zen 3 (2020), Intel Core since Alder Lake (2021)", "znver3", _NEWER_THAN_AVX2),
        KernelSet("aes-ni", "Intel since Haswell (2013), AMD Zen (2017)", "skylake", _NEWER_THAN_AES_NI),
        KernelSet(OPENSSL, "any; as measured here, one with AVX2", "skylake", _NEWER_THAN_AES_NI),
    )
)
"""The fastest first."""


def possible_sets() -> list[KernelSet]:
    """What this machine can be."""
    return [each for each in SETS if each.possible]


def set_named(name: str) -> KernelSet:
    """One of `possible_sets`.

    Raises:
        SystemExit: there is no such set, or this machine cannot be that.
    """
    named = {each.name: each for each in possible_sets()}
    if name not in named:
        sys.exit(f"{name!r} is not what this machine can be: {', '.join(named)}")
    return named[name]


def _list() -> None:
    table = Table("kernels", "as on", "here")
    for each in SETS:
        here = "no such instructions" if not each.possible else each.cpu or "as it is"
        table.add_row(each.name, each.like, here)
    Console().print(table)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("name", nargs="?", help="what to be; without it, a list")
    parser.add_argument("--names", action="store_true", help="say only what this machine can be, a line each")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what to run there")
    options = parser.parse_args()
    if options.names:
        print("\n".join(each.name for each in possible_sets()))
    elif not options.name:
        _list()
    elif not options.command:
        parser.error("a command is missing")
    else:
        environment = set_named(options.name).environment(os.environ)
        os.execvpe(options.command[0], options.command, environment)


if __name__ == "__main__":
    main()
