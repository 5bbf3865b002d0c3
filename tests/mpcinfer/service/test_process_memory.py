"""What Linux says of a process's memory."""

from __future__ import annotations

import mmap
import os

import pytest

from mpcinfer.service.process_memory import ProcessMemory
from parties.errors import ConfigError

_BYTES = 1 << 20


def test_memory_of_this_process_adds_up() -> None:
    memory = ProcessMemory.of(os.getpid())
    assert 0 < memory.written <= memory.private <= memory.proportional <= memory.resident
    assert memory.private + memory.shared == memory.resident


def test_a_mapping_is_told_from_others_by_its_name() -> None:
    descriptor = os.memfd_create("a-name-that-no-other-has")
    os.ftruncate(descriptor, _BYTES)
    with mmap.mmap(descriptor, _BYTES) as mapped:
        os.close(descriptor)
        assert ProcessMemory.of_mapping(os.getpid(), "a-name-that-no-other-has").resident == 0
        mapped.write(bytes([1]) * _BYTES)
        memory = ProcessMemory.of_mapping(os.getpid(), "a-name-that-no-other-has")
        assert memory.resident == memory.private == memory.written == _BYTES
    assert ProcessMemory.of_mapping(os.getpid(), "a-name-that-no-other-has").resident == 0


def test_a_process_that_is_not_there_has_none() -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        ProcessMemory.of(2**22 + 1)
