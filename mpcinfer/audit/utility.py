"""What a classifier learns from gradients that were clipped and noised before anybody else saw them."""

from __future__ import annotations

import torch

from mpcinfer.audit.algebra import per_text
from mpcinfer.audit.defence import noised
from mpcinfer.audit.gradients import Classifier, Weights, logits

BOUND = 1.0
_TEXTS, _STEPS, _RATE, _TESTED = 32, 300, 2.0, 512


def trained_accuracy(
    table: torch.Tensor, classes: int, tokens: int, multiplier: float, *, seed: int = 0
) -> float:
    """The share of tokens whose class a trained classifier names, over texts that it has not seen.

    A token's class is its number modulo C. Each step takes 32 texts; every text's gradient is clipped to
    length 1 and noised by itself, as by a contributor who trusts nobody, and their mean is a step of gradient
    descent.

    Args:
        table: embeddings [V, D], which stay.
        tokens: of a text.
        multiplier: noise on an entry of a text's gradient over the clipping bound.

    Returns:
        0 to 1; guessing is 1/C.
    """
    generator = torch.Generator().manual_seed(seed)
    model = Classifier.random(table.shape[1], classes, pooled=False, seed=seed)
    weights, shapes = model.weights, {name: each.shape for name, each in model.weights.items()}

    for _ in range(_STEPS):
        ids = torch.randint(len(table), (_TEXTS, tokens), generator=generator)
        learning = Classifier(weights, pooled=False)
        each = per_text(learning.flat_gradients, table[ids], ids % classes)
        step = noised(each, BOUND, multiplier, generator).mean(0)
        weights = {name: weights[name] - _RATE * part for name, part in _parts(step, shapes).items()}
    ids = torch.randint(len(table), (_TESTED, tokens), generator=generator)
    named = logits(weights, table[ids], pooled=False).argmax(-1)
    return float((named == ids % classes).double().mean())


def _parts(flat: torch.Tensor, shapes: dict[str, torch.Size]) -> Weights:
    parts: tuple[torch.Tensor, ...] = torch.split(flat, [shape.numel() for shape in shapes.values()])
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
