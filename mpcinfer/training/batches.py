"""Token streams, and which window of the stream belongs to which training step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mpcinfer.tokenizer import Tokenizer
from mpcinfer.training.data import Document
from parties.errors import ConfigError

Tokens = NDArray[np.uint16]


def encode_documents(documents: Sequence[Document], tokenizer: Tokenizer, separator: int) -> Tokens:
    """All documents in one stream of token ids, the separator after each.

    Raises:
        ConfigError: a vocabulary beyond 65,536 ids.
    """
    if tokenizer.backend.get_vocab_size() > 1 << 16:
        raise ConfigError("the trainer stores tokens in 16 bits: a vocabulary of at most 65,536")
    pieces: list[Tokens] = []
    for start in range(0, len(documents), 256):
        texts = [document.text for document in documents[start : start + 256]]
        for encoding in tokenizer.backend.encode_batch(texts, add_special_tokens=False):
            pieces.append(np.array([*encoding.ids, separator], dtype=np.uint16))
    return np.concatenate(pieces)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """Training batches as a function of the step alone: a resumed run sees what an unbroken one would.

    Each epoch cuts the stream into windows at an offset of its own and shuffles them.

    Attributes:
        tokens: the training stream.
        batch: windows a step, B.
        context: inputs a window, T; a window holds T + 1 tokens.
        seed: decides offsets and orders.
        protected: which tokens of the stream are protected; None where none are told apart.
    """

    tokens: Tokens
    batch: int
    context: int
    seed: int
    protected: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if self.steps_per_epoch < 1:
            raise ConfigError(
                f"{len(self.tokens)} training tokens are too few for a batch of {self.batch} windows "
                f"of {self.context} tokens"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in one pass over the stream."""
        return (len(self.tokens) - self.context - 1) // self.context // self.batch

    def at(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets [B, T] of step `step` >= 0; targets are the inputs one token on."""
        return _windows(self.tokens, self._starts(step), self.context)

    def protected_at(self, step: int) -> torch.Tensor | None:
        """Which targets [B, T] of a step are protected; None where none are told apart."""
        if self.protected is None:
            return None
        return torch.tensor(self.protected[self._starts(step)[:, None] + 1 + np.arange(self.context)])

    def _starts(self, step: int) -> NDArray[np.int64]:
        """Where the windows of a step begin in the stream."""
        epoch, place = divmod(step, self.steps_per_epoch)
        offset, order = self._epoch(epoch)
        windows = order[place * self.batch : (place + 1) * self.batch]
        return offset + windows * self.context

    def _epoch(self, epoch: int) -> tuple[int, NDArray[np.int64]]:
        generator = np.random.default_rng([self.seed, epoch])
        offset = int(generator.integers(self.context))
        return offset, generator.permutation(self.steps_per_epoch * self.batch)


def consecutive_batches(
    tokens: Tokens, batch: int, context: int, limit: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The first `limit` full windows of a stream in order, `batch` at a time; the last may be smaller.

    A stream shorter than one window is one shorter window.
    """
    context = min(context, len(tokens) - 1)
    count = min((len(tokens) - 1) // context, limit)
    for start in range(0, count, batch):
        starts = np.arange(start, min(start + batch, count), dtype=np.int64) * context
        yield _windows(tokens, starts, context)


def _windows(tokens: Tokens, starts: NDArray[np.int64], context: int) -> tuple[torch.Tensor, torch.Tensor]:
    taken = tokens[starts[:, None] + np.arange(context + 1)].astype(np.int64)
    both = torch.tensor(taken)
    return both[:, :-1].contiguous(), both[:, 1:].contiguous()
