"""How much of a text a model continues word for word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.static import static
from mpcinfer.training.batches import Tokens
from parties.errors import ConfigError


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
    texts: Sequence[Tokens],
    *,
    prefix: int,
    continuation: int,
    stride: int = 1,
    batch: int = 64,
) -> Extraction:
    """Verbatim continuation rate of prefixes of `prefix` tokens, in float32.

    A greedy answer of `continuation` tokens is the text's own exactly where the most probable token after
    every prefix of it is the text's next: one pass a prefix decides it.

    Args:
        texts: token ids; prefixes begin at every `stride`-th token where prefix and continuation fit.

    Raises:
        ConfigError: no prefix fits, or prefix and continuation are longer than the context.
    """
    length = prefix + continuation
    if min(prefix, continuation, stride) < 1 or length > config.context:
        raise ConfigError(
            f"prefix ({prefix}) and continuation ({continuation}) must be at least 1 and fit the context of "
            f"{config.context} tokens"
        )
    rows = [text[at : at + length] for text in texts for at in range(0, len(text) - length + 1, stride)]
    if not rows:
        raise ConfigError(f"no text has {length} tokens: nothing to continue")
    stacked = torch.tensor(np.stack(rows).astype(np.int64), device=weights["embed.tokens"].device)
    shape, used = static(config, weights)
    right: list[torch.Tensor] = []
    for part in torch.split(stacked, batch):
        decoder = Decoder(PlainBackend(), shape, used)
        logits = decoder.answered(decoder.forward(part[:, :-1], length - 1))
        right.append(logits[:, prefix - 1 :].argmax(-1) == part[:, prefix:])
    hits = torch.cat(right)
    return Extraction(len(rows), float(hits.all(1).float().mean()), float(hits.float().mean()))
