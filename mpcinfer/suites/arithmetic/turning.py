"""RoPE of shared values."""

from __future__ import annotations

from mpcinfer.models.rope import Rope
from mpcinfer.models.turning import Turning, rope_angles
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.share import Share


def turned(executor: Arithmetic, x: Share, start: int, rope: Rope) -> Share:
    """Rotary positions start.. on x [B, H, T, K]. Both products of a rotation are added before the one
    truncation; what does not turn has none."""
    cos, sin = (executor.encode(table) for table in rope_angles(rope, x.shape[-2], start))
    turning = Turning(rope)
    first, second = executor.rearrange(x, turning.first), executor.rearrange(x, turning.second)
    pair = (
        executor.sub(executor.mul_integer(first, cos), executor.mul_integer(second, sin)),
        executor.add(executor.mul_integer(second, cos), executor.mul_integer(first, sin)),
    )
    joined = executor.rearrange(executor.concat(pair, -1), turning.placed)
    result = executor.truncate(Share(joined.value, x.frac_bits + executor.frac_bits), x.frac_bits)
    if rope.width == x.shape[-1]:
        return result
    return executor.concat([result, executor.rearrange(x, turning.rest)], -1)
