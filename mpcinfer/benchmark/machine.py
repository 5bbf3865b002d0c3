"""What a benchmark ran on, in words: the processor with its generation, and what code was compiled for."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm

from protocols.kernels.processor import kernel_set, target_features, target_name

_FEATURES = (
    *("sse4.1", "aes", "pclmul", "avx", "avx2", "fma", "bmi2", "vaes", "gfni", "avxifma"),
    *("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512ifma", "avx512vbmi", "avx512vnni"),
    *("neon", "sha3", "sve", "sve2"),
)
"""Those on which the speed of kernels depends."""
_LIBRARIES = ("mpcinfer", "torch", "numpy", "numba", "pyzmq", "crypten")
_GIT_S = 10.0


def machine() -> str:
    """Processor, cores and Python: `AMD EPYC (znver3, family 25 model 1), 2 cores, Python 3.11.7`."""
    facts = _facts()
    cores = len(facts.get("processor", ()))
    name, generation = (facts.get("model name") or [platform.machine()])[0], str(llvm.get_host_cpu_name())
    numbers = [
        f"{what} {facts[key][0]}"
        for what, key in (("family", "cpu family"), ("model", "model"), ("part", "CPU part"))
        if key in facts
    ]
    detail = ", ".join([generation, " ".join(numbers)] if numbers else [generation])
    return f"{name} ({detail}), {cores} cores, Python {platform.python_version()}"


def kernels() -> dict[str, Any]:
    """Which kernels run, the processor they are compiled for, and its features that matter.

    `compiled_for` is another processor than the machine's where an older one is emulated.
    """
    has = target_features()
    features = [name for name in _FEATURES if name in has]
    return {"set": kernel_set(), "compiled_for": target_name(), "features": features}


def _facts() -> dict[str, list[str]]:
    """/proc/cpuinfo by name, a value a processor; empty where there is no such file."""
    path, facts = Path("/proc/cpuinfo"), dict[str, list[str]]()
    for line in path.read_text().splitlines() if path.exists() else []:
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), []).append(value.strip())
    return facts


def versions() -> dict[str, str]:
    """What computed: this package, Python, and the libraries that private runs compute with."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def commit() -> str:
    """Of the checkout that this package was imported from, with `-dirty` where files differ; empty outside
    of one."""
    folder = Path(__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=12", "--dirty", "--exclude=*"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_GIT_S)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout.strip()


def peak_bytes() -> int:
    """The largest resident size of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def peaks_of_children(roles: Mapping[str, str]) -> dict[str, int]:
    """Largest resident sizes of processes that this one started and that still run, in bytes.

    Args:
        roles: name -> a word of the command line; where /proc does not tell, the name is left out.
    """
    peaks: dict[str, int] = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError, KeyError, IndexError):
            facts = _lines(status.read_text())
            if facts["PPid"] != str(os.getpid()):
                continue
            words = (status.parent / "cmdline").read_text().split("\0")
            for name, word in roles.items():
                if word in words:
                    peaks[name] = 1024 * int(facts["VmHWM"].split()[0])
    return peaks


def _lines(text: str) -> dict[str, str]:
    """`name: value` lines."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
