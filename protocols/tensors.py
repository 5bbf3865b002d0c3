"""Between torch's int64 tensors and the unsigned words that go on the wire, without copying."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import numpy as np
import torch

from parties.wire import RingArray


def to_words(value: torch.Tensor) -> RingArray:
    """An int64 tensor as uint64; shares memory where the tensor is contiguous."""
    return value.contiguous().numpy().view(np.uint64)


def to_wire(value: torch.Tensor) -> RingArray:
    """An int64 tensor as uint64, packed bytes as they are; shares memory where the tensor is contiguous."""
    return value.contiguous().numpy() if value.dtype == torch.uint8 else to_words(value)


def to_tensor(array: RingArray) -> torch.Tensor:
    """Unsigned integers as int64; shares memory where they are 64-bit words."""
    return torch.from_numpy(array.astype(np.uint64, copy=False).view(np.int64))


def from_wire(array: RingArray, bits: int) -> torch.Tensor:
    """The inverse of `to_wire`; other widths than 64 bits are packed bytes. Shares memory."""
    return to_tensor(array) if bits == 64 else torch.from_numpy(array)
