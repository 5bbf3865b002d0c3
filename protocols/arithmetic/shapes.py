"""Shapes of elementwise operations and of matrix products."""

from __future__ import annotations

from parties.errors import PeerMismatch

Shape = tuple[int, ...]


def broadcast_shape(a: Shape, b: Shape) -> Shape:
    """Shape of an elementwise operation; raises PeerMismatch where there is none."""
    length = max(len(a), len(b))
    rows = zip((1,) * (length - len(a)) + a, (1,) * (length - len(b)) + b, strict=True)
    shape: list[int] = []
    for m, n in rows:
        if m != n and 1 not in (m, n):
            raise PeerMismatch(f"shapes {list(a)} and {list(b)} do not broadcast")
        shape.append(n if m == 1 else m)
    return tuple(shape)


def matmul_shape(a: Shape, b: Shape) -> Shape:
    """Shape of a batched matrix product; raises PeerMismatch where there is none."""
    if len(a) < 2 or len(b) < 2 or a[-1] != b[-2]:
        raise PeerMismatch(f"no matrix product of {list(a)} and {list(b)}")
    return (*broadcast_shape(a[:-2], b[:-2]), a[-2], b[-1])
