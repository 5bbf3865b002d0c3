"""Packed causal rows: what goes where, and the same shapes without data."""

from __future__ import annotations

import pytest
import torch

from parties.meter import Meter
from protocols.additive.causal_rows import CausalRows
from protocols.additive.counting_arithmetic import CountingArithmetic
from tests.roundings import clear_engine, share

POSITIONS = [(1, 0), (1, 6), (2, 0), (5, 0), (3, 4)]


@pytest.mark.parametrize(("tokens", "start"), POSITIONS)
def test_pack_unpack_spread_hide(tokens: int, start: int) -> None:
    engine, rows = clear_engine(), CausalRows(tokens, start)
    x = torch.arange(1.0, 1 + 2 * tokens * rows.keys, dtype=torch.float64).reshape(2, tokens, rows.keys)
    mask = torch.ones(tokens, rows.keys).tril(start)
    packed = rows.pack(engine, share(engine, x))
    expected = torch.stack([torch.cat([row[: start + i + 1] for i, row in enumerate(part)]) for part in x])
    assert torch.equal(engine.open_to(0, packed), expected)
    assert packed.shape == (2, rows.visible)
    assert sum(rows.lengths) == rows.visible
    assert torch.equal(engine.open_to(0, rows.unpack(engine, packed)), x * mask)
    assert torch.equal(engine.open_to(0, rows.hide(engine, share(engine, x))), x * mask)
    first = share(engine, x[..., 0])
    spread = rows.unpack(engine, rows.spread(engine, first))
    assert torch.equal(engine.open_to(0, spread), x[..., :1] * mask)


@pytest.mark.parametrize(("tokens", "start"), [*POSITIONS, (3000, 9000)])
def test_shapes_without_data(tokens: int, start: int) -> None:
    engine, rows = CountingArithmetic(Meter(timed=False)), CausalRows(tokens, start)
    x = engine.share_from(0, None, (2, tokens, rows.keys))
    packed = rows.pack(engine, x)
    assert packed.shape == (2, rows.visible)
    assert rows.unpack(engine, packed).shape == x.shape
    assert rows.hide(engine, x).shape == x.shape
    assert rows.spread(engine, engine.share_from(0, None, (2, tokens))).shape == (2, rows.visible)
