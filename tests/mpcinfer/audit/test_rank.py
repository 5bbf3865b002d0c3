"""Rank deficits of one head are those of theory."""

from __future__ import annotations

import pytest
import torch

from mpcinfer.audit.algebra import gaussian
from mpcinfer.audit.heads import REVEALED, STEPS, Head
from mpcinfer.audit.rank import jacobian_rank
from mpcinfer.audit.revealed import deficit_row


@pytest.mark.parametrize("width", range(2, 9))
def test_attention_leaves_open_what_theory_says(width: int) -> None:
    row = deficit_row(width)
    assert (row.weights, row.symmetric) == (width // 2, width * (width - 1) // 2)
    assert (row.power4, row.outputs) == (width // 2 + 1, 0)


def test_a_linear_map_has_the_rank_of_its_matrix() -> None:
    matrix = gaussian((5, 3), torch.Generator().manual_seed(0)) @ torch.eye(3, 7, dtype=torch.float64)
    report = jacobian_rank(lambda x: matrix @ x, torch.ones(7, dtype=torch.float64))
    assert (report.rank, report.deficit, report.unknowns) == (3, 4, 7)


def test_turned_prompts_have_the_same_weights() -> None:
    """The group behind the deficit: M with M W M^T = W, here a rotation that goes with W = identity."""
    generator = torch.Generator().manual_seed(0)
    x, turn = gaussian((6, 4), generator), torch.linalg.qr(gaussian((4, 4), generator))[0]
    head = Head(torch.eye(4, dtype=torch.float64), torch.eye(4, dtype=torch.float64))
    assert torch.allclose(head.weights(x, x), head.weights(x @ turn, x @ turn))
    assert not torch.allclose(head.outputs(x, x), head.outputs(x @ turn, x @ turn))


@pytest.mark.parametrize("name", STEPS)
def test_steps_have_no_slope(name: str) -> None:
    x, head = gaussian((6, 4), torch.Generator().manual_seed(0)), Head.random(4)
    assert jacobian_rank(lambda y: REVEALED[name](head, y, y), x).rank == 0
