"""Packed causal rows: what goes where, and the same shapes without data."""

from __future__ import annotations

import math

import pytest
import torch

from parties.meter import Meter
from protocols.additive.counting_arithmetic import CountingArithmetic
from protocols.arithmetic.causal_rows import CausalRows
from protocols.arithmetic.pattern_rows import PatternRows
from protocols.key_pattern import KeyPattern
from tests.roundings import clear_executor, share

POSITIONS = [(1, 0), (1, 6), (2, 0), (5, 0), (3, 4)]
WINDOWS = [0, 1, 3, 20]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(("tokens", "start"), POSITIONS)
def test_pack_unpack_spread_hide(tokens: int, start: int, window: int) -> None:
    executor, rows = clear_executor(), CausalRows(tokens, start, window)
    x = torch.arange(1.0, 1 + 2 * tokens * rows.keys, dtype=torch.float64).reshape(2, tokens, rows.keys)
    mask, ends = torch.zeros(tokens, rows.keys), [start + i + 1 for i in range(tokens)]
    begins = [max(0, end - window) if window else 0 for end in ends]
    for i in range(tokens):
        mask[i, begins[i] : ends[i]] = 1
    packed = rows.pack(executor, share(executor, x))
    expected = torch.stack(
        [torch.cat([row[begins[i] : ends[i]] for i, row in enumerate(part)]) for part in x]
    )
    assert torch.equal(executor.open_to(0, packed), expected)
    assert packed.shape == (2, rows.visible)
    assert sum(rows.lengths) == rows.visible
    assert torch.equal(executor.open_to(0, rows.unpack(executor, packed)), x * mask)
    assert torch.equal(executor.open_to(0, rows.hide(executor, share(executor, x))), x * mask)
    first = share(executor, x[..., 0])
    spread = rows.unpack(executor, rows.spread(executor, first))
    assert torch.equal(executor.open_to(0, spread), x[..., :1] * mask)


@pytest.mark.parametrize(("tokens", "start"), POSITIONS)
def test_rows_that_see_all_keys(tokens: int, start: int) -> None:
    executor, rows = clear_executor(), CausalRows(tokens, start, causal=False)
    x = torch.arange(1.0, 1 + 2 * tokens * rows.keys, dtype=torch.float64).reshape(2, tokens, rows.keys)
    packed = rows.pack(executor, share(executor, x))
    assert torch.equal(executor.open_to(0, packed), x.flatten(-2))
    assert rows.visible == sum(rows.lengths) == tokens * rows.keys
    assert torch.equal(executor.open_to(0, rows.unpack(executor, packed)), x)
    assert torch.equal(executor.open_to(0, rows.hide(executor, share(executor, x))), x)
    spread = rows.unpack(executor, rows.spread(executor, share(executor, x[..., 0])))
    assert torch.equal(executor.open_to(0, spread), x[..., :1].expand_as(x))


@pytest.mark.parametrize(("tokens", "start"), [*POSITIONS, (3000, 9000)])
def test_shapes_without_data(tokens: int, start: int) -> None:
    executor, rows = CountingArithmetic(Meter(timed=False)), CausalRows(tokens, start)
    x = executor.share_from(0, None, (2, tokens, rows.keys))
    packed = rows.pack(executor, x)
    assert packed.shape == (2, rows.visible)
    assert rows.unpack(executor, packed).shape == x.shape
    assert rows.hide(executor, x).shape == x.shape
    assert rows.spread(executor, executor.share_from(0, None, (2, tokens))).shape == (2, rows.visible)


@pytest.mark.parametrize(("tokens", "start"), POSITIONS)
def test_rows_of_heads_with_patterns(tokens: int, start: int) -> None:
    patterns = (KeyPattern(), KeyPattern(1.0, 0.5, 1), KeyPattern(1.5, 0.5, 1, 0.5))
    executor, rows = clear_executor(), PatternRows(patterns, tokens, start)
    shape = (2, 3, tokens, rows.keys)
    x = torch.arange(1.0, 1 + math.prod(shape), dtype=torch.float64).reshape(shape)
    mask = torch.zeros(shape[1:], dtype=torch.float64)
    for head, pattern in enumerate(patterns):
        for i in range(tokens):
            mask[head, i, pattern.keys(start + i)] = 1
    packed = rows.pack(executor, share(executor, x))
    assert torch.equal(executor.open_to(0, packed), torch.stack([part[mask > 0] for part in x]))
    assert packed.shape == (2, rows.visible)
    assert rows.lengths == tuple(int(n) for n in mask.sum(-1).flatten())
    assert torch.equal(executor.open_to(0, rows.unpack(executor, packed)), x * mask)
    assert torch.equal(executor.open_to(0, rows.hide(executor, share(executor, x))), x * mask)
    for number in (x[..., 0], x[..., 0].flatten(-2)):
        spread = rows.unpack(executor, rows.spread(executor, share(executor, number)))
        assert torch.equal(executor.open_to(0, spread), x[..., :1] * mask)
    counting = CountingArithmetic(Meter(timed=False))
    scores = counting.share_from(0, None, shape)
    packed = rows.pack(counting, scores)
    assert packed.shape == (2, rows.visible)
    assert rows.unpack(counting, packed).shape == shape
    assert rows.hide(counting, scores).shape == shape
    assert rows.spread(counting, counting.share_from(0, None, shape[:3])).shape == (2, rows.visible)
