"""Tensors with a shape and no data: on the device `meta` torch computes far longer than with numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch

Shape = tuple[int, ...]


@lru_cache(maxsize=1 << 12)
def no_data(shape: Shape) -> torch.Tensor:
    """A tensor with a shape and nothing in it: one for all who ask."""
    return torch.empty(shape, dtype=torch.int64, device="meta")


@lru_cache(maxsize=1 << 14)
def broadcast(*shapes: Shape) -> Shape:
    """The shape that all of them broadcast to."""
    first = shapes[0]
    if all(shape == first for shape in shapes):
        return tuple(first)
    return np.broadcast_shapes(*shapes)


def combined(
    operation: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], a: torch.Tensor, b: torch.Tensor
) -> torch.Tensor:
    """An operation element by element; where one has no data the result has none."""
    if a.is_meta or b.is_meta:
        return no_data(broadcast(tuple(a.shape), tuple(b.shape)))
    return operation(a, b)


def end_to_end(parts: list[torch.Tensor], dim: int) -> torch.Tensor:
    """As `torch.cat`."""
    if not parts[0].is_meta:
        return torch.cat(parts, dim)
    shape = list(parts[0].shape)
    shape[dim] = sum(part.shape[dim] for part in parts)
    return no_data(tuple(shape))
