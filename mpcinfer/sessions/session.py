"""A model on shares, as one party holds it: what the conversation between the parties steps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch

from mpcinfer.models.batch import SINGLE, Batch
from mpcinfer.models.column_weights import ColumnWeights
from mpcinfer.models.decoder import KVCache
from parties.errors import ConfigError
from protocols.share import Share


class PrivateSession(ABC):
    """Both parties hold one and take the same steps with it, whatever suite computes them.

    Unless a suite says otherwise, correlations come while a step runs: nothing is prepared.

    Attributes:
        padding: (the client's, of a padded batch) how many tokens at the start of each sequence are padding;
            set before the first pass over them.
    columns: (the client's) weights of keys in attention, set by `weigh`; the server cannot tell.
    """

    padding: Sequence[int] | None = None
    columns: ColumnWeights | None = None

    @property
    def batch(self) -> Batch:
        """The sequences of every pass."""
        return SINGLE

    @property
    def first(self) -> int:
        """Tokens of a public prefix, which stay in the KV cache."""
        return 0

    @property
    @abstractmethod
    def length(self) -> int:
        """Tokens in the KV cache, those of a public prefix included."""

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
        """Forgets all tokens but the first `length`, of at least `first`; weights stay. Gives up what was
        prepared."""

    @property
    def prepared_end(self) -> int:
        """How long the cache will be when everything that was asked for by `prepare` is used up."""
        return self.length

    @property
    def on_demand(self) -> bool:
        """Whether any pass can be asked for at any time, not only those that were scheduled long before."""
        return True

    @property
    def apart(self) -> bool:
        """Whether tokens can be taken back to any number of them; otherwise to none, and a pass's drafts."""
        return True

    @property
    def first_tokens(self) -> int | None:
        """How many tokens the pass has that a conversation begins with; None where it may have any number."""
        return None

    def wanted(self, tokens: int, rows: int, then: int) -> tuple[int, int, int] | None:
        """Which pass to `prepare` now, before a step.

        Args:
            tokens, rows: of that step, which follows the tokens in the cache.
            then: of how many tokens, each with a row, the step after it will most likely be; 0 for no guess.

        Returns:
            After how many tokens it comes, its tokens and its rows; None where nothing is to be prepared, or
            no longer.
        """
        return None

    def check(self, start: int, lengths: Sequence[int], rows: int = 1) -> None:
        """Whether passes of these lengths can be asked for, the first after `start` tokens.

        Raises:
            CorrelationExhausted: there are no correlations for them; nothing has happened yet.
        """
        return

    def prepare(self, lengths: Sequence[int], rows: int = 1) -> None:
        """Asks for passes of these lengths, after those asked for before.

        Args:
            rows: the logits after so many tokens, the last ones of each pass, will be opened.

        Raises:
            CorrelationExhausted: there are no correlations for them.
        """
        return

    def settle(self) -> None:
        """Waits until everything that was asked for is there and prepared."""
        return

    @abstractmethod
    def advance(self, ids: Sequence[int] | None, count: int, rows: int = 1) -> torch.Tensor | None:
        """Runs `count` more tokens of every sequence.

        Args:
            ids: at the client; of several sequences one after the other.

        Returns:
            Logits [rows, V] of what comes after the last of them at the client, [B * rows, V] of B sequences;
            None at the server.
        """

    def weigh(self, columns: ColumnWeights | None) -> None:
        """Weights of keys from the next pass on, those in the cache included; None for none.

        Raises:
            ConfigError, RangeError: see `require_room`; nothing has changed.
        """
        if columns is not None:
            self.require_room(columns)
        self.columns = columns

    def require_room(self, columns: ColumnWeights) -> None:
        """Whether scores with these weights of keys keep to their ranges.

        Raises:
            RangeError: they might not; the message says which layer's.
            ConfigError: the suite has no such weights.
        """
        raise ConfigError(f"{type(self).__name__} has no prompt weights")

    def finish(self) -> None:
        """Gives up what was prepared and not used; before the bill is made."""
        self.rewind(self.length)


def rewind_cache(cache: KVCache[Share], length: int) -> None:
    """Cuts a cache of shares [B, H, S, K] to its first `length` tokens."""
    cache.rewind(length, lambda kept, count: kept.first_rows(count))
