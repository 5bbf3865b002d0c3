"""Tensors and a document in sealed memory: how they lie there, and how they are found again.

    0         magic, the header's length and its SHA-256
    64        the header, a msgpack document: version, what it is for, the suite's document, and of each
              tensor name, type, shape and place; length and SHA-256 of all that follows it
    aligned   the tensors, each at a multiple of 64 bytes

Whoever reads checks all of the header. The tensors' SHA-256 only says which they are: reading all of them
takes longer than starting a session.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch

from mpcinfer.service.sealed_memory import SealedMemory, sealed
from mpcinfer.suites.shareable import Shareable
from parties.documents import from_bytes, to_bytes
from parties.errors import ConfigError, MalformedFrame

ALIGNMENT = 64
"""Bytes of a cache line."""
_MAGIC = b"mpcshare"
_VERSION = 1
_START = struct.Struct("<8sQ32s")
_MOST_HEADER_BYTES = 64 << 20
_KINDS = {
    str(kind).removeprefix("torch."): kind
    for kind in (
        torch.int16,
        torch.int32,
        torch.int64,
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
    )
}


@dataclass(frozen=True, slots=True, eq=False)
class SharedTensors:
    """What was found.

    Attributes:
        purpose: what it was made for, as `write` was told.
        content: views of the memory.
        digest: of the header, and through it of everything; 64 hex digits.
    """

    purpose: str
    content: Shareable
    digest: str


def write(name: str, purpose: str, content: Shareable) -> int:
    """Sealed memory with a document and tensors: its descriptor.

    Args:
        name: what `/proc/PID/maps` shows.

    Raises:
        ConfigError: there is not enough memory, or a tensor is of another type than these are read in.
    """
    laid = {key: each.detach().contiguous() for key, each in content.tensors.items()}
    places, total = list[tuple[str, str, list[int], int]](), 0
    for key, each in laid.items():
        kind = str(each.dtype).removeprefix("torch.")
        if kind not in _KINDS:
            raise ConfigError(f"{key}: {kind} is not shared, only {', '.join(_KINDS)}")
        places.append((key, kind, list(each.shape), total))
        total += _aligned(each.nbytes)
    digest = hashlib.sha256()
    for part in _data(laid):
        digest.update(part)
    header = to_bytes(
        {
            "version": _VERSION,
            "purpose": purpose,
            "document": content.document,
            "tensors": places,
            "bytes": total,
            "sha256": digest.digest(),
        }
    )
    start = _START.pack(_MAGIC, len(header), hashlib.sha256(header).digest())

    def everything() -> Generator[memoryview]:
        yield memoryview(start.ljust(ALIGNMENT, b"\0"))
        yield memoryview(header.ljust(_aligned(len(header)), b"\0"))
        yield from _data(laid)

    return sealed(name, everything())


def read(memory: SealedMemory) -> SharedTensors:
    """What `write` laid down.

    Raises:
        ConfigError: it is damaged, of another version, or no such memory.
    """
    start = memory.read(0, ALIGNMENT)
    if len(start) < ALIGNMENT or not start.startswith(_MAGIC):
        raise ConfigError(f"shared weights: expected {_MAGIC!r} at the start, got {start[:8]!r}")
    _, length, expected = _START.unpack_from(start)
    if length > min(_MOST_HEADER_BYTES, memory.nbytes - ALIGNMENT):
        raise ConfigError(f"shared weights: a header of {length} bytes in memory of {memory.nbytes}")
    raw = memory.read(ALIGNMENT, length)
    found = hashlib.sha256(raw).digest()
    if found != expected:
        raise ConfigError(
            f"shared weights: the header is damaged: expected SHA-256 {expected.hex()[:16]}, "
            f"got {found.hex()[:16]}"
        )
    try:
        header = cast("dict[str, Any]", from_bytes(raw, _MOST_HEADER_BYTES))
        if header["version"] != _VERSION:
            raise ConfigError(f"shared weights: expected version {_VERSION}, got {header['version']!r}")
        first, total = ALIGNMENT + _aligned(length), int(header["bytes"])
        if first + total != memory.nbytes:
            raise ConfigError(f"shared weights: expected {first + total} bytes, got {memory.nbytes}")
        tensors = {str(key): _tensor(memory, first, total, key, *place) for key, *place in header["tensors"]}
        document = cast("Mapping[str, Any]", header["document"])
        return SharedTensors(str(header["purpose"]), Shareable(document, tensors), found.hex())
    except (MalformedFrame, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"shared weights: the header is none: {error!r}") from None


def _tensor(
    memory: SealedMemory, first: int, total: int, key: object, kind: object, shape: object, at: object
) -> torch.Tensor:
    """One tensor, if it lies within what follows the header."""
    if kind not in _KINDS or type(at) is not int or not isinstance(shape, list):
        raise ConfigError(f"shared weights: {key} has type {kind!r}, shape {shape!r} and place {at!r}")
    sizes = cast("list[object]", shape)
    whole = [size for size in sizes if type(size) is int and size >= 0]
    if len(whole) != len(sizes):
        raise ConfigError(f"shared weights: {key} has shape {sizes!r}")
    dtype = _KINDS[cast(str, kind)]
    end = at + math.prod(whole) * dtype.itemsize
    if at < 0 or at % ALIGNMENT or end > total:
        raise ConfigError(
            f"shared weights: {key} lies from {at} to {end}, expected a multiple of {ALIGNMENT} and at most "
            f"{total}"
        )
    return memory.tensor(dtype, tuple(whole), first + at)


def _aligned(length: int) -> int:
    return -(-length // ALIGNMENT) * ALIGNMENT


def _data(laid: Mapping[str, torch.Tensor]) -> Generator[memoryview]:
    """The tensors' bytes, each filled up to the next one's place."""
    for each in laid.values():
        yield each.reshape(-1).view(torch.uint8).numpy().data
        if short := _aligned(each.nbytes) - each.nbytes:
            yield memoryview(bytes(short))
