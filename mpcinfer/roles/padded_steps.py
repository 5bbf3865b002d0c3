"""A session's steps as the client's token loop takes them: it does not see the padding before a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mpcinfer.backends.parts import Pass
from mpcinfer.batch_answers import Prompts
from mpcinfer.models.buckets import Buckets
from mpcinfer.models.column_weights import ColumnWeights
from mpcinfer.sessions.exchange import StepClient


@dataclass(frozen=True, slots=True)
class PaddedPass:
    """A pass, and what it would be without padding, or of a batch with padding up to its longest prompt."""

    run: Pass
    exact: Pass


class PaddedSteps:
    """Puts padding before the first token of a conversation, and keeps account of it.

    Later passes of a conversation have none: they follow its tokens in the cache, and the server learns how
    many they have.

    Args:
        steps: of a session whose passes may be padded, or not.
        buckets: what prompts are padded to; None for no more than a batch or a folder of correlations asks.

    Attributes:
        passes: that were run.
        padded_to: the length of each first pass that buckets or a folder for single prompts padded, and how
            many of its tokens are the longest prompt's.
        padding: tokens of it before the conversation in the cache.
    """

    def __init__(self, steps: StepClient, buckets: Buckets | None = None) -> None:
        self._steps, self._buckets, self._first = steps, buckets, steps.length
        self._columns: ColumnWeights | None = None
        self._next = 0
        self.padding = 0
        self.passes: list[PaddedPass] = []
        self.padded_to: list[tuple[int, int]] = []

    def length_of(self, tokens: int, answer: int) -> int:
        """How long the first pass of a conversation will be, padding included.

        Args:
            tokens: of the prompt, of a batch the longest; where they do not fit, their number is returned.
            answer: the most new tokens; 0 for a text that is read.
        """
        steps = self._steps
        if not steps.batch.padded:
            return tokens
        if steps.first_tokens is not None:
            return max(tokens, steps.first_tokens)
        room = steps.context - self._first
        if self._buckets is None or tokens > room - min(answer, 1):
            return tokens
        return self._buckets.of(tokens, room, answer)

    def begin(self, tokens: int, answer: int) -> int:
        """The next conversation's prompt has so many tokens; how much padding will be before it."""
        self._next = self.length_of(tokens, answer) - tokens
        return self._next

    def step(self, ids: Sequence[int], rows: int, then: int) -> torch.Tensor:
        """As `StepClient.step`, of one prompt; the first tokens of a conversation get their padding."""
        steps, start = self._steps, self._steps.length
        if start > self._first or not steps.batch.padded:
            self._note(Pass(start, len(ids), rows), Pass(start - self.padding, len(ids), rows))
            return steps.step(ids, rows, then=then)
        self.padding = self._next
        steps.pad([self.padding])
        self.weigh(self._columns)
        whole, prompt = [*[ids[0]] * self.padding, *ids], len(ids) - (rows - 1)
        self.padded_to.append((self.padding + prompt, prompt))
        self._note(Pass(start, len(whole), rows), Pass(start, len(ids), rows))
        return steps.step(whole, rows, then=then)

    def begin_batch(self, given: Prompts) -> None:
        """A pass of several prompts, or of texts, follows, from the first token on: these, padded as they
        are."""
        steps = self._steps
        steps.restart()
        if steps.batch.padded:
            self.padding = min(given.padding)
            steps.pad(given.padding)
            if self._buckets is not None or not steps.batch.several:
                self.padded_to.append((given.length, given.length - self.padding))

    def step_batch(self, ids: Sequence[int]) -> torch.Tensor:
        """The next pass of all of them; as `StepClient.step`."""
        start, tokens = self._steps.length, len(ids) // self._steps.batch.size
        before = self.padding if start > self._first else 0
        fewer = 0 if start > self._first else self.padding
        self._note(Pass(start, tokens, 1), Pass(start - before, tokens - fewer, 1))
        return self._steps.step(ids)

    def rewind(self, length: int) -> None:
        """The next step follows the first `length` tokens, padding not counted."""
        self._steps.rewind(length + self.padding if length > self._first else length)

    def weigh(self, columns: ColumnWeights | None) -> None:
        """Weights of keys, see `PrivateSession.weigh`; those of padding are put before them.

        Raises:
            ConfigError, RangeError: as there; nothing has changed.
        """
        shifted = columns
        if columns is not None and not self._steps.batch.several:  # a batch's are given with its padding
            shifted = columns.after(self.padding)
        self._steps.weigh(shifted)
        self._columns = columns

    def _note(self, run: Pass, exact: Pass) -> None:
        if self._steps.batch.padded:
            self.passes.append(PaddedPass(run, exact))
