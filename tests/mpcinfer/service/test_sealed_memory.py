"""Memory that many read and nobody writes: what lies in it, who may change it, and what is left over."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mpcinfer.service.sealed_memory import SealedMemory, sealed
from parties.errors import ConfigError
from tests.deadlines import HANG_S

WRITES = """
import sys
import torch
from mpcinfer.service.sealed_memory import SealedMemory
tensor = SealedMemory(int(sys.argv[1])).tensor(torch.int64, (2,), 0)
print(tensor.tolist(), flush=True)
tensor.add_(1)
print("written", flush=True)
"""
SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW


def memory_of(*tensors: torch.Tensor) -> SealedMemory:
    descriptor = sealed("test", [each.reshape(-1).view(torch.uint8).numpy().data for each in tensors])
    try:
        return SealedMemory(descriptor)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    "kind",
    [torch.int16, torch.int32, torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64],
)
def test_tensors_are_what_was_laid_down(kind: torch.dtype) -> None:
    value = torch.arange(-6, 6).to(kind).reshape(3, 4)
    memory = memory_of(value, value)
    got = memory.tensor(kind, (3, 4), value.nbytes)
    assert got.dtype == kind
    assert torch.equal(got, value)
    assert got.data_ptr() == memory.address + value.nbytes
    assert memory.tensor(kind, (0, 4), 0).shape == (0, 4)


def test_a_tensor_keeps_the_mapping() -> None:
    tensor = memory_of(torch.arange(1 << 16)).tensor(torch.int64, (1 << 16,), 0)
    assert int(tensor.sum()) == (1 << 15) * ((1 << 16) - 1)


def test_a_write_ends_the_process() -> None:
    descriptor = sealed("test", [memoryview(bytes(16))])
    try:
        result = subprocess.run(
            [sys.executable, "-c", WRITES, str(descriptor)],
            pass_fds=[descriptor],
            capture_output=True,
            timeout=HANG_S,
            check=False,
        )
    finally:
        os.close(descriptor)
    assert result.stdout == b"[0, 0]\n", result.stderr
    assert result.returncode == -signal.SIGSEGV


def test_nobody_can_change_it_not_even_who_opens_it_again() -> None:
    descriptor = sealed("test", [memoryview(b"weights")])
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(descriptor, b"x")
    again = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR)
    for change in (lambda: os.pwrite(again, b"x", 0), lambda: os.ftruncate(again, 0)):
        with pytest.raises(PermissionError):
            change()
    with pytest.raises(PermissionError):
        fcntl.fcntl(again, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL)
    os.close(again)
    assert SealedMemory(descriptor).read(0, 99) == b"weights"
    os.close(descriptor)


def test_what_could_still_change_is_refused(tmp_path: Path) -> None:
    open_memory = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.write(open_memory, b"weights")
    with pytest.raises(ConfigError, match="expected sealed memory, got seals 0x0"):
        SealedMemory(open_memory)
    os.ftruncate(open_memory, 0)
    fcntl.fcntl(open_memory, fcntl.F_ADD_SEALS, SEALS)
    with pytest.raises(ConfigError, match="0 bytes"):
        SealedMemory(open_memory)
    os.close(open_memory)
    with (tmp_path / "file").open("wb") as file, pytest.raises(ConfigError, match="expected sealed memory"):
        SealedMemory(file.fileno())
    with pytest.raises(ConfigError, match="Bad file descriptor"):
        SealedMemory(open_memory)


def test_its_descriptor_is_not_inherited_unless_it_is_passed_on_and_nothing_else_stays_open() -> None:
    before = os.listdir("/proc/self/fd")
    descriptor = sealed("test", [memoryview(b"weights")])
    assert not os.get_inheritable(descriptor)
    assert len(os.listdir("/proc/self/fd")) == len(before) + 1
    os.close(descriptor)
