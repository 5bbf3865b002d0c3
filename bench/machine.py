"""What a benchmark ran on, in words: the processor with its generation, and what code was compiled for."""

from __future__ import annotations

import platform
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
