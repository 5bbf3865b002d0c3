"""RoPE of a value that the server has whole."""

from __future__ import annotations

import torch

from mpcinfer.models.rope import Rope
from mpcinfer.models.turning import Turning, rope_angles
from protocols.fss.executors.executor import Executor
from protocols.share import Share


def turned(executor: Executor, x: Share, start: int, rope: Rope, bits: int) -> Share:
    """Rotary positions start.. on x [B, H, T, K]: a public linear map of a value that the server has, masked.

    Args:
        bits: fraction bits of cosines and sines, which the result has more than x.

    Cost: nothing.
    """
    angles = rope_angles(rope, x.shape[-2], start)
    cos, sin = ((table.double() * 2.0**bits).round().to(torch.int64) for table in angles)
    turning = Turning(rope)
    first, second = executor.map(x, turning.first), executor.map(x, turning.second)
    pair = (
        executor.sub(executor.mul_integer(first, cos, bits), executor.mul_integer(second, sin, bits)),
        executor.add(executor.mul_integer(second, cos, bits), executor.mul_integer(first, sin, bits)),
    )
    joined = executor.map(executor.concat(pair, -1), turning.placed)
    if rope.width == x.shape[-1]:
        return joined
    rest = executor.mul_integer(executor.map(x, turning.rest), 1 << bits, bits)
    return executor.concat([joined, rest], -1)
