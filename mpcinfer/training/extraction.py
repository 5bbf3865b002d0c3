"""How much of a text a model continues word for word."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.static import static
from mpcinfer.training.batches import Tokens
from parties.errors import ConfigError

_LOGITS = 1 << 26
"""Of a pass, at most: a quarter of a gigabyte."""


@dataclass(frozen=True, slots=True)
class Extraction:
    """What came of prefixes of a text.

    Attributes:
        prefixes: how many were tried.
        verbatim: the fraction whose whole continuation was the text's, word for word.
        tokens: the fraction of continuation tokens that the model would have chosen after the text's own.
    """

    prefixes: int
    verbatim: float
    tokens: float


@torch.no_grad()
def extraction(
    config: ModelConfig,
    weights: Mapping[str, torch.Tensor],
    texts: Sequence[Tokens | Sequence[int]],
    *,
    prefix: int,
    continuation: int,
    stride: int = 1,
    batch: int = 64,
    before: Sequence[int] = (),
    on_rows: Callable[[int, int], None] | None = None,
) -> Extraction:
    """Verbatim continuation rate of prefixes of `prefix` tokens, in float32.

    A greedy answer of `continuation` tokens is the text's own exactly where the most probable token after
    every prefix of it is the text's next: one pass a prefix decides it.

    Args:
        texts: token ids; prefixes begin at every `stride`-th token where prefix and continuation fit.
        batch: prefixes a pass, at most; fewer where the vocabulary is large.
        before: what stands before every prefix, as a tokenizer's bos; it is no part of it.
        on_rows: told, pass by pass, how many prefixes are done, and of how many.

    Raises:
        ConfigError: no prefix fits, prefix and continuation are longer than the context, or the model does
            not continue texts.
    """
    if config.head != "vocabulary":
        raise ConfigError("the model reads texts and continues none: nothing can be extracted by prefixes")
    length, first = prefix + continuation, len(before)
    if min(prefix, continuation, stride) < 1 or first + length > config.context:
        raise ConfigError(
            f"prefix ({prefix}) and continuation ({continuation}) must be at least 1 and fit the context of "
            f"{config.context} tokens"
        )
    rows = [text[at : at + length] for text in texts for at in range(0, len(text) - length + 1, stride)]
    if not rows:
        raise ConfigError(f"no text has {length} tokens: nothing to continue")
    stacked = torch.tensor(
        np.stack([np.array([*before, *row], dtype=np.int64) for row in rows]),
        device=weights["embed.tokens"].device,
    )
    shape, used = static(config, weights)
    at_once = max(1, min(batch, _LOGITS // (continuation * config.vocabulary)))
    right: list[torch.Tensor] = []
    for part in torch.split(stacked, at_once):
        decoder = Decoder(PlainBackend(), shape, used)
        logits = decoder.forward(part[:, :-1], first + length - 1, rows=continuation)
        right.append(decoder.answered(logits).argmax(-1) == part[:, -continuation:])
        if on_rows is not None:
            on_rows(min(len(right) * at_once, len(rows)), len(rows))
    hits = torch.cat(right)
    return Extraction(len(rows), float(hits.all(1).float().mean()), float(hits.float().mean()))
