"""Patterns for a model, from public text: measured in float, fitted, and ranges of the model with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import torch

from mpcinfer.models.decoder import Decoder
from mpcinfer.models.model import Model
from mpcinfer.models.patterns import Patterns
from mpcinfer.models.ranges import calibrate
from mpcinfer.models.static import static
from mpcinfer.prompts import Text
from mpcinfer.sparsity.errors import MeasuringBackend
from mpcinfer.sparsity.fit import fitted, fitted_to
from parties.errors import ConfigError

LENGTHS = (64, 128, 256, 512)
"""Of rows, where texts and the model's context have room for them."""


def measured(
    model: Model,
    texts: Sequence[Sequence[int]],
    lengths: Sequence[int],
    on_text: Callable[[int, int], object] = lambda done, of: None,
) -> MeasuringBackend:
    """Runs the float model over texts, of which the first tokens up to the longest length are read.

    Args:
        texts: token ids, each of at least the longest length.
        on_text: is told how many of them are done.

    Raises:
        ConfigError: no texts, fewer than two lengths or one that does not fit, texts that are too short, or a
            model whose attention is not causal, has windows, or has patterns already.
    """
    config = model.config
    if not config.causal or config.windows or config.patterns:
        raise ConfigError(f"{model.name}: patterns are fitted to causal attention that sees all keys")
    if len(set(lengths)) < 2 or min(lengths) < 2 or max(lengths) > config.context:
        raise ConfigError(
            f"lengths {', '.join(map(str, lengths))}: two or more are needed, from 2 tokens to the model's "
            f"context of {config.context}"
        )
    longest = max(lengths)
    short = [len(text) for text in texts if len(text) < longest]
    if short or not texts:
        raise ConfigError(f"texts of at least {longest} tokens are needed, got {short or 'none'}")
    static_config, weights = static(config, model.weights)
    backend = MeasuringBackend(weights, sorted(set(lengths)))
    decoder = Decoder(backend, static_config, weights)
    with torch.no_grad():
        for done, text in enumerate(texts):
            on_text(done, len(texts))
            decoder.forward(backend.tokens(list(text[:longest]), longest), longest, rows=1)
    on_text(len(texts), len(texts))
    return backend


def sparse(
    model: Model, backend: MeasuringBackend, lengths: Sequence[int], error: float, texts: Sequence[Text]
) -> Model:
    """The model with patterns fitted to what was measured, and with ranges that hold for them, too.

    Args:
        error: how far each layer's attention may be off, relative; see `fitted`.
        texts: to calibrate with; each fits the context.

    Raises:
        ConfigError: an error that is not above 0 and below 1.
    """
    patterns = fitted(backend.errors, model.config.layers, sorted(set(lengths)), fitted_to(error))
    return with_patterns(model, patterns, texts)


def with_patterns(model: Model, patterns: Patterns, texts: Sequence[Text]) -> Model:
    """The model with patterns; ranges are what it had, and what texts show of it now."""
    config = dataclasses.replace(model.config, patterns=patterns)
    changed = dataclasses.replace(model, config=config)
    return dataclasses.replace(changed, ranges=joined(model.ranges, calibrate(changed, texts)))


def joined(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, float]:
    """Ranges that hold both: the greater of each, the lesser of those that end in `_min`."""
    both = {**first, **second}
    for key in first.keys() & second.keys():
        pick = min if key.endswith("_min") else max
        both[key] = pick(first[key], second[key])
    return both
