"""What tensors of weaker protocols say of prompts and of weights: rank, enumeration, extraction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mpcinfer.audit.algebra import gaussian, random_ids
from mpcinfer.audit.enumeration import Rows, enumerate_tokens, noisy, recovery, revealed_rows
from mpcinfer.audit.extraction import from_outputs, from_permuted_outputs, weights_found
from mpcinfer.audit.heads import REVEALED, STEPS, Head, Kind, Revealed
from mpcinfer.audit.rank import jacobian_rank

NOISES = (0.0, 1e-3, 1e-2, 1e-1)
KINDS: tuple[Kind, ...] = ("softmax", "power4")
_RANK_WIDTH, _RANK_TOKENS = 4, 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Of what is enumerated.

    Attributes:
        vocabulary, width, tokens: V, D, N of the head and its prompt.
        prompts: how many are looked for.
        beam: beginnings that are kept.
    """

    vocabulary: int = 2000
    width: int = 32
    tokens: int = 24
    prompts: int = 4
    beam: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class RevealedRow:
    """One tensor of one kind of attention, towards who knows the weights.

    Attributes:
        unknowns, deficit: of the Jacobian at a prompt of 10 rows of 4; no deficit where the tensor is
            piecewise constant.
        recovery: of tokens, by relative noise.
        guessing: what guessing gets, 1/V.
    """

    tensor: str
    kind: Kind
    unknowns: int
    deficit: int | None
    recovery: dict[float, float]
    guessing: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DeficitRow:
    """Rank deficits of one width, without a causal mask.

    Attributes:
        weights, symmetric, power4: of attention weights alone, for a generic W, a symmetric W, and fourth
            powers with epsilon 0.
        outputs: of output rows, for a generic W and V.
    """

    width: int
    weights: int
    symmetric: int
    power4: int
    outputs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractedRow:
    """A tensor towards a client that knows its inputs.

    Attributes:
        found: the share of a layer's columns that it finds, by relative noise.
    """

    tensor: str
    found: dict[float, float]


def revealed_row(tensor: str, kind: Kind, sizes: Sizes, seed: int = 0) -> RevealedRow:
    """Audits one tensor of `REVEALED`; the first token of each prompt is known, as of a chat template."""
    found = dict.fromkeys(NOISES, 0.0)
    for number in range(sizes.prompts):
        generator = torch.Generator().manual_seed(seed + number)
        table = gaussian((sizes.vocabulary, sizes.width), generator)
        rows = _rows(REVEALED[tensor], Head.random(sizes.width, kind, seed=seed + number), table)
        ids = _ids(sizes.vocabulary, sizes.tokens, generator)
        clean = revealed_rows(rows, ids)
        for noise in NOISES:
            seen = noisy(clean, noise, generator)
            guess = enumerate_tokens(rows, seen, sizes.vocabulary, ids[:1], sizes.beam)
            found[noise] += recovery(guess, ids, 1) / sizes.prompts
    rank = _rank(tensor, kind, seed)
    return RevealedRow(
        tensor=tensor,
        kind=kind,
        unknowns=_RANK_WIDTH * _RANK_TOKENS,
        deficit=rank,
        recovery=found,
        guessing=1.0 / sizes.vocabulary,
    )


def deficit_row(width: int, seed: int = 0) -> DeficitRow:
    """Ranks for N = 2 D + 2 tokens: floor(D/2), D(D-1)/2, floor(D/2) + 1, and 0 are expected.

    The group that leaves attention weights as they are is {M: M^T W M = W}; fourth powers add scale.
    """
    generator = torch.Generator().manual_seed(seed + width)
    x = gaussian((2 * width + 2, width), generator)

    def deficit(reveal: Revealed, kind: Kind = "softmax", *, symmetric: bool = False) -> int:
        head = Head.random(width, kind, causal=False, symmetric=symmetric, seed=seed + width)
        return jacobian_rank(lambda y: reveal(head, y, y), x).deficit

    return DeficitRow(
        width=width,
        weights=deficit(Head.weights),
        symmetric=deficit(Head.weights, symmetric=True),
        power4=deficit(Head.weights, "power4"),
        outputs=deficit(Head.outputs),
    )


def extracted_rows(width: int = 32, seed: int = 0) -> list[ExtractedRow]:
    """Outputs of a linear layer as they are, and with the entries of each row permuted."""
    generator = torch.Generator().manual_seed(seed)
    layer = gaussian((width, width), generator) / width**0.5
    inputs = gaussian((2 * width, width), generator)
    plain, permuted = dict[float, float](), dict[float, float]()
    for noise in NOISES:
        [seen] = noisy([inputs @ layer], noise, generator)
        plain[noise] = weights_found(from_outputs(inputs, seen), layer)
        permuted[noise] = weights_found(from_permuted_outputs(layer, generator, noise), layer)
    return [
        ExtractedRow(tensor="outputs of a linear layer", found=plain),
        ExtractedRow(tensor="permuted outputs of a linear layer", found=permuted),
    ]


def _rows(reveal: Revealed, head: Head, table: torch.Tensor) -> Rows:
    def rows(prompts: torch.Tensor) -> torch.Tensor:
        x = table[prompts]
        return reveal(head, x[:, -1:], x)[:, -1]

    return rows


def _ids(vocabulary: int, tokens: int, generator: torch.Generator) -> Sequence[int]:
    return random_ids(vocabulary, tokens, generator)


def _rank(tensor: str, kind: Kind, seed: int) -> int | None:
    if tensor in STEPS:
        return None
    generator = torch.Generator().manual_seed(seed)
    x = gaussian((_RANK_TOKENS, _RANK_WIDTH), generator)
    head = Head.random(_RANK_WIDTH, kind, seed=seed)
    return jacobian_rank(lambda y: REVEALED[tensor](head, y, y), x).deficit
