"""A model on shares, as one party holds it: what the conversation between the parties steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch

from mpcinfer.models.decoder import KVCache
from protocols.share import Share


class PrivateSession(ABC):
    """Both parties hold one and take the same steps with it, whatever engine computes them."""

    @property
    @abstractmethod
    def length(self) -> int:
        """Tokens in the KV cache."""

    @property
    @abstractmethod
    def context(self) -> int:
        """The most tokens it can hold."""

    @property
    @abstractmethod
    def notes(self) -> list[str]:
        """What whoever reads the bill should know about the result."""

    @abstractmethod
    def rewind(self, length: int) -> None:
        """Forgets all tokens but the first `length`; weights stay. Gives up what was prepared."""

    @property
    @abstractmethod
    def prepared_end(self) -> int:
        """How long the cache will be when everything that was asked for by `prepare` is used up."""

    @abstractmethod
    def wanted(self, tokens: int, more: int) -> tuple[int, list[int]] | None:
        """What to `prepare` now, before a step: after how many tokens, and passes of which lengths.

        Args:
            tokens: of that step, which follows the tokens in the cache.
            more: how many steps of one token may follow it.

        Returns:
            None where nothing is to be prepared, or no longer.
        """

    @abstractmethod
    def check(self, start: int, lengths: Sequence[int]) -> None:
        """Whether passes of these lengths can be asked for, the first after `start` tokens.

        Raises:
            CorrelationExhausted: there is no material for them; nothing has happened yet.
        """

    @abstractmethod
    def prepare(self, lengths: Sequence[int]) -> None:
        """Asks for passes of these lengths, after those asked for before.

        Raises:
            CorrelationExhausted: there is no material for them.
        """

    @abstractmethod
    def settle(self) -> None:
        """Waits until everything that was asked for is there and prepared."""

    @abstractmethod
    def advance(self, ids: Sequence[int] | None, count: int) -> torch.Tensor | None:
        """Runs `count` more tokens; logits [V] of the next token at the client, None at the server."""

    def finish(self) -> None:
        """Gives up what was prepared and not used; before the bill is made."""
        self.rewind(self.length)


def rewind_cache(cache: KVCache[Share], length: int) -> None:
    """Cuts a cache of shares [B, H, S, K] to its first `length` tokens."""
    if length == cache.length:
        return
    assert 0 <= length < cache.length, f"{length} of {cache.length} tokens"
    for kept in (cache.keys, cache.values):
        kept[:] = [each.first_rows(length) for each in kept]
    cache.length = length
