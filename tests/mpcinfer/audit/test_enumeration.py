"""Enumeration finds prompts in what weaker protocols reveal, and clients find weights."""

from __future__ import annotations

import pytest
import torch

from mpcinfer.audit.algebra import gaussian, random_ids
from mpcinfer.audit.enumeration import enumerate_tokens, noisy, recovery, revealed_rows
from mpcinfer.audit.heads import REVEALED, Head, Kind
from mpcinfer.audit.revealed import KINDS, Sizes, extracted_rows, revealed_row

SMALL = Sizes(vocabulary=64, width=12, tokens=8, prompts=2, beam=2)
UNPROTECTED = sorted(set(REVEALED) - {"top-k pattern"})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tensor", UNPROTECTED)
def test_an_unprotected_tensor_gives_the_prompt_away(tensor: str, kind: Kind) -> None:
    assert revealed_row(tensor, kind, SMALL).recovery[0.0] == 1.0


def test_which_keys_are_largest_says_little() -> None:
    assert revealed_row("top-k pattern", "softmax", SMALL).recovery[0.0] < 0.5


def test_noise_hides_tokens_and_a_beam_forgives_some_of_it() -> None:
    generator = torch.Generator().manual_seed(1)
    table, head, ids = gaussian((256, 16), generator), Head.random(16), random_ids(256, 16, generator)

    def rows(prompts: torch.Tensor) -> torch.Tensor:
        x = table[prompts]
        return head.outputs(x[:, -1:], x)[:, -1]

    def found(relative: float, beam: int) -> float:
        seen = noisy(revealed_rows(rows, ids), relative, torch.Generator().manual_seed(2))
        return recovery(enumerate_tokens(rows, seen, 256, ids[:1], beam), ids, 1)

    assert found(0.0, 1) == 1.0
    assert found(3.0, 4) < 0.3  # guessing names one in 256, the beam a few by the table's largest rows
    assert found(0.3, 1) <= found(0.3, 8)


def test_a_client_that_sees_outputs_has_the_layer_permuted_or_not() -> None:
    plain, permuted = extracted_rows(width=8)
    assert plain.found[0.0] == permuted.found[0.0] == 1.0
    assert plain.found[0.1] == permuted.found[0.1] == 0.0
