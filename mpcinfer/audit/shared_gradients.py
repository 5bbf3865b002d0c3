"""What shared gradients of one text give away, with and without noise, and what noise costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mpcinfer.audit.algebra import gaussian, length
from mpcinfer.audit.defence import DELTA, clipped, epsilon_spent, noised
from mpcinfer.audit.gradients import Classifier
from mpcinfer.audit.inversion import Inverted, invert_by_lbfgs, invert_by_lm
from mpcinfer.audit.rank import jacobian_rank
from mpcinfer.audit.span import set_recovery, tokens_in_span
from mpcinfer.audit.utility import BOUND, trained_accuracy

WIDTH, TOKENS, CLASSES = 8, 6, 10
SPAN_WIDTH, SPAN_VOCABULARY = 32, 200
SIGMAS = (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)
"""Length of the noise over that of the clipped gradient: the multiplier times the root of the number of
entries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InversionRow:
    """One text of 6 rows of 8.

    Attributes:
        labels: `pooled` or `per token`.
        rank, condition: of the Jacobian of the gradients, of 48 unknowns.
        lbfgs, lm: from the gradients as they are.
        noisy: LM, with noise a tenth as long as the gradient.
    """

    labels: str
    rank: int
    condition: float
    lbfgs: Inverted
    lm: Inverted
    noisy: Inverted


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseRow:
    """One amount of noise.

    Attributes:
        sigma: as in `SIGMAS`.
        multiplier: noise on an entry over the clipping bound.
        span: the share of a text's tokens that the span check names.
        accuracy: of a classifier that learns from gradients with that noise.
        epsilon: of one release at delta 1e-5; None without noise, or where nobody counted.
    """

    sigma: float
    multiplier: float
    span: float
    accuracy: float
    epsilon: float | None


def inversion_row(
    number: int, *, pooled: bool, lm_restarts: int = 10, lbfgs_restarts: int = 4
) -> InversionRow:
    """Inverts the gradients of one random text; its number seeds everything."""
    model = Classifier.random(WIDTH, CLASSES, pooled=pooled, seed=number)
    generator = torch.Generator().manual_seed(100 + number)
    x = gaussian((TOKENS, WIDTH), generator)
    labels = torch.randint(CLASSES, (1 if pooled else TOKENS,), generator=generator)
    shared = model.flat_gradients(x, labels)
    noise = gaussian(shared.shape, generator)
    with_noise = shared + 0.1 * noise * (length(shared) / length(noise))
    rank = jacobian_rank(lambda rows: model.flat_gradients(rows, labels), x)
    return InversionRow(
        labels="pooled" if pooled else "per token",
        rank=rank.rank,
        condition=rank.condition,
        lbfgs=invert_by_lbfgs(model, x, labels, shared, restarts=lbfgs_restarts, seed=number),
        lm=invert_by_lm(model, x, labels, shared, restarts=lm_restarts, seed=number),
        noisy=invert_by_lm(model, x, labels, with_noise, restarts=min(2, lm_restarts), seed=number),
    )


def noise_rows(sigmas: Sequence[float] = SIGMAS, *, texts: int = 200, account: bool) -> list[NoiseRow]:
    """Span recovery of so many texts, and a classifier's accuracy, by noise.

    Args:
        account: count epsilons.

    Raises:
        ConfigError: they are to be counted and the accountant is missing.
    """
    table = _table(0)
    return [_noise_row(sigma, table, texts, account) for sigma in sigmas]


def _noise_row(sigma: float, table: torch.Tensor, texts: int, account: bool) -> NoiseRow:
    entries = 3 * SPAN_WIDTH**2 + SPAN_WIDTH * CLASSES
    multiplier = sigma / entries**0.5
    return NoiseRow(
        sigma=sigma,
        multiplier=multiplier,
        span=sum(span_recovery(number, multiplier) for number in range(texts)) / texts,
        accuracy=trained_accuracy(table, CLASSES, TOKENS, multiplier),
        epsilon=epsilon_spent(multiplier, 1, delta=DELTA) if account and multiplier > 0 else None,
    )


def span_recovery(number: int, multiplier: float) -> float:
    """Of one text of 6 of 200 tokens, whose gradients have length 1 and noise; the number seeds all."""
    model = Classifier.random(SPAN_WIDTH, CLASSES, pooled=False, seed=number)
    generator, table = torch.Generator().manual_seed(number), _table(number)
    ids = [int(each) for each in torch.randperm(SPAN_VOCABULARY, generator=generator)[:TOKENS]]
    labels = torch.randint(CLASSES, (TOKENS,), generator=generator)
    flat = model.flat_gradients(table[ids], labels)
    flat = flat * (BOUND / length(flat))
    shared = noised(flat, BOUND, multiplier, generator) if multiplier else clipped(flat, BOUND)
    start, size = 2 * SPAN_WIDTH**2, SPAN_WIDTH**2
    by_v = shared[start : start + size].reshape(SPAN_WIDTH, SPAN_WIDTH)
    return set_recovery(tokens_in_span(by_v, table, TOKENS), ids)


def _table(seed: int) -> torch.Tensor:
    return gaussian((SPAN_VOCABULARY, SPAN_WIDTH), torch.Generator().manual_seed(1000 + seed))
