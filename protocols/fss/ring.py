"""Integers modulo 2^n in int64 tensors."""

from __future__ import annotations

import torch


def low(value: torch.Tensor, bits: int) -> torch.Tensor:
    """The residue modulo 2^bits, from 0; 64 bits stay as they are."""
    return value if bits == 64 or value.is_meta else value & ((1 << bits) - 1)


def shift_right(value: torch.Tensor, drop: int, bits: int) -> torch.Tensor:
    """floor(v / 2^drop) of the residue v modulo 2^bits, taken from 0: an element of Z_2^(bits - drop)."""
    if drop == 0 or value.is_meta:
        return low(value, bits)
    if bits == 64:  # int64's own shift copies the sign
        return (value >> drop) & ((1 << (64 - drop)) - 1)
    return low(value, bits) >> drop


def signed(value: torch.Tensor, bits: int) -> torch.Tensor:
    """The residue modulo 2^bits from -2^(bits-1)."""
    if bits == 64:
        return value
    return (value << (64 - bits)) >> (64 - bits)


def top_bit(value: torch.Tensor, bits: int) -> torch.Tensor:
    """The highest bit of the residue, 0 or 1."""
    return (value >> (bits - 1)) & 1
