"""Executors that truncate to one neighbour or the other: what an error bound must hold for."""

from __future__ import annotations

from collections.abc import Callable

import torch

from parties.meter import CLIENT, Meter
from protocols.arithmetic.cleartext import IdealCleartextArithmetic
from protocols.share import Share

Rounding = Callable[[torch.Tensor, int], torch.Tensor]


def floor(value: torch.Tensor, bits: int) -> torch.Tensor:
    """The neighbour below."""
    return value >> bits


def ceiling(value: torch.Tensor, bits: int) -> torch.Tensor:
    """The neighbour above."""
    return -((-value) >> bits)


def either(value: torch.Tensor, bits: int) -> torch.Tensor:
    """One of the two by a fixed coin for every place: as additive shares do it, which are divided apart."""
    generator = torch.Generator().manual_seed(value.numel() + bits)
    coin = torch.randint(0, 2, value.shape, generator=generator)
    return torch.where(coin == 1, floor(value, bits), ceiling(value, bits))


ROUNDINGS: dict[str, Rounding] = {"floor": floor, "ceiling": ceiling, "either": either}


def clear_executor(rounding: Rounding = floor) -> IdealCleartextArithmetic:
    """A cleartext executor with this rounding."""
    return IdealCleartextArithmetic(Meter(), rounding=rounding)


def on_grid(x: torch.Tensor) -> torch.Tensor:
    """The numbers nearest to x that 16 fraction bits hold exactly."""
    return torch.round(x.to(torch.float64) * 2.0**16) / 2.0**16


def share(executor: IdealCleartextArithmetic, x: torch.Tensor) -> Share:
    """x as the executor holds it."""
    return executor.share_from(CLIENT, x, tuple(x.shape))
