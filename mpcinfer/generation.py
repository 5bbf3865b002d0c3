"""The token loop over a KV cache, the same for a model on one machine and on two."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal

import torch

from mpcinfer.backends.base import TensorT, WeightT
from mpcinfer.models.column_weights import ColumnWeights, same_columns
from mpcinfer.models.decoder import Decoder, KVCache
from mpcinfer.models.padding import lengths_of
from mpcinfer.sampling import Sampler, greedy
from mpcinfer.speculation import Speculation
from parties.errors import ConfigError

Step = Callable[[Sequence[int], int], torch.Tensor]
"""New token ids, and a number of rows -> logits [rows, V] of what comes after each of the last so many of
them; what came before is remembered."""

Predict = Callable[[Sequence[int], int], torch.Tensor]
"""The same of all token ids, old and new."""

StopReason = Literal["stop", "length", "context"]
"""A stop token came; `max_new_tokens` were made; prompt and answer fill the context."""


@dataclass(slots=True)
class Session(Generic[TensorT, WeightT]):
    """A decoder and what it has seen. In a private run each party has one, and steps it with the other."""

    decoder: Decoder[TensorT, WeightT]
    cache: KVCache[TensorT] = field(default_factory=KVCache[TensorT])

    def advance(
        self,
        ids: Sequence[int] | None,
        count: int,
        rows: int = 1,
        padding: Sequence[int] | None = None,
    ) -> torch.Tensor | None:
        """Runs the decoder over `count` more tokens.

        Args:
            ids: the tokens at the client, those of a batch sequence after sequence; None at a party that must
                not know them.
            count: how many there are of a sequence, known to both.
            rows: after how many of them, the last ones, the next token is asked for.
            padding: how many of them at the start of each sequence are none of a text, at the client.

        Returns:
            Logits [rows, V] of the next tokens at the client, of a batch [B * rows, V]; None at the other
            party.

        Raises:
            ConfigError: the tokens do not fit the context.
        """
        opened = self.opened(ids, count, rows, padding)
        return None if opened is None else self.decoder.answered(opened)

    def opened(
        self, ids: Sequence[int] | None, count: int, rows: int = 1, padding: Sequence[int] | None = None
    ) -> torch.Tensor | None:
        """As `advance`, before `Decoder.answered`: in the range that calibration saw."""
        backend = self.decoder.backend
        with torch.no_grad():
            tokens = backend.tokens(ids, count)
            logits = self.decoder.forward(tokens, count, cache=self.cache, rows=rows)
            opened = backend.open_logits(logits)
        if opened is None:
            return None
        read = count if padding is None else lengths_of(padding, count)
        return self.decoder.of_sum(opened.reshape(-1, opened.shape[-1]), read)

    def step(self, ids: Sequence[int], rows: int = 1) -> torch.Tensor:
        """`advance` at the party that knows the tokens and gets the logits."""
        logits = self.advance(ids, len(ids), rows)
        assert logits is not None, "this party does not get the logits"
        return logits

    def weigh(self, columns: ColumnWeights | None) -> None:
        """Weights of keys from the next pass on. Raises RangeError where they do not fit."""
        if columns is not None:
            self.decoder.backend.require_room(columns)
        self.decoder.backend.column_weights = columns

    def rewind(self, length: int) -> None:
        """Forgets all tokens but the first `length`."""
        self.cache.rewind(length, self.decoder.backend.first_tokens)


class Remembered:
    """Predictions over a KV cache: of the tokens it is given, those that it has seen are not run again.

    What it has seen and is not given again, a draft that was refused for one, is forgotten first.

    Args:
        step: runs new tokens after those before.
        rewind: forgets all tokens but the first so many.
        first: tokens that the cache begins with and keeps, a public prefix's.
        weigh: sets weights of keys.
        apart: what was seen can be cut anywhere; otherwise all of it is kept, or nothing.
    """

    def __init__(
        self,
        step: Step,
        rewind: Callable[[int], None],
        first: Sequence[int] = (),
        weigh: Callable[[ColumnWeights | None], None] | None = None,
        *,
        apart: bool = True,
    ) -> None:
        self._step, self._rewind, self._set, self._apart = step, rewind, weigh, apart
        self._prompt: list[int] = []
        self._first, self._seen = len(first), list(first)
        self._turns: list[int] = []
        self._columns: ColumnWeights | None = None

    @property
    def holds(self) -> bool:
        """Whether it has seen anything after what the cache begins with."""
        return len(self._seen) > self._first

    def kept(self, ids: Sequence[int], *, keep: bool) -> int:
        """How many tokens `begin` would keep for a prompt, those that the cache begins with included."""
        common = _common(self._seen, ids) if keep else 0
        if common == len(self._seen) and (self._apart or common < len(ids)):
            return common
        ends = self._turns if self._apart else ()
        return max(self._first, *(end for end in ends if end <= common), 0)

    def begin(self, ids: Sequence[int], *, keep: bool) -> None:
        """A new prompt follows. Where what was seen is kept, whole turns that the prompt begins with are: no
        part of one.

        A turn ends with a prompt, or with its answer. The other party sees how many tokens are kept: it
        learns after which turn a conversation changed, and not at which of the next one's tokens.
        """
        self.forget(self.kept(ids, keep=keep))
        kept, self._prompt = len(self._seen), list(ids)
        self._turns = [*(end for end in self._turns if end < kept), *([kept] if kept else []), len(ids)]

    def end(self, answer: Sequence[int]) -> None:
        """The prompt's answer is this. Drafts after it that were refused are forgotten now, so that the next
        prompt finds a turn's end there."""
        self.forget(_common(self._seen, [*self._prompt, *answer]))

    def __call__(self, ids: Sequence[int], rows: int) -> torch.Tensor:
        """See `Predict`; at least the last `rows` tokens are run. All texts begin with `first`."""
        known = min(_common(self._seen, ids), len(ids) - rows)
        self.forget(known)
        logits = self._step(ids[known:], rows)
        self._seen += ids[known:]
        return logits

    def weigh(self, columns: ColumnWeights | None) -> None:
        """Weights of keys from now on; all that was seen under others is forgotten, so that what is run again
        does not tell which of them changed.

        Raises:
            ConfigError, RangeError: there can be none, or none such; nothing has changed.
        """
        same = same_columns(self._columns, columns)
        if columns is None and self._columns is None:
            return
        if self._set is None:
            raise ConfigError("prompt weights are not for this session")
        self._set(columns)
        self._columns = columns
        if not same:
            self.forget()

    def forget(self, length: int = 0) -> None:
        """Keeps no more than the first `length` tokens, and those that the cache begins with."""
        length = max(length, self._first)
        if length < len(self._seen):
            self._rewind(length)
            del self._seen[length:]


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two sequences have in common at their start."""
    same = 0
    for a, b in zip(first, second, strict=False):
        if a != b:
            break
        same += 1
    return same


def generate(
    predict: Predict,
    prompt: Sequence[int],
    *,
    max_new_tokens: int,
    context: int,
    sampler: Sampler = greedy,
    stop: Collection[int] = (),
    speculation: Speculation | None = None,
) -> Generator[int, None, StopReason]:
    """The client's loop: picks tokens from logits and feeds them back.

    With `speculation` a pass runs drafts of the tokens to come, too. The sampler picks from the logits after
    each of them, as it would without drafts, until it picks something else than the draft: drafts change how
    many passes there are, and neither the distribution of the answer nor, where logits do not depend on how
    tokens are cut into passes, the answer for one seed (speculative sampling, Leviathan et al. 2023, section
    2.3, of drafts that are certain of themselves).

    Args:
        predict: runs the model, for example a `Remembered` session. The last token of an answer is never fed
            back.
        prompt: token ids, at least one.
        max_new_tokens: the most tokens to make, >= 0.
        context: the longest that prompt and answer may be together.
        stop: ids that end the answer; they are not part of it.
        speculation: makes drafts, and keeps count of them; None for a pass a token.

    Returns:
        A generator that yields each new token id as soon as it is picked; its value is why it ended.

    Raises:
        ConfigError: an empty prompt, one that fills the context, or a negative limit.
    """
    if not prompt:
        raise ConfigError("the prompt has no tokens")
    if max_new_tokens < 0:
        raise ConfigError(f"max_new_tokens must not be negative, got {max_new_tokens}")
    room = context - len(prompt)
    if room < 1:
        raise ConfigError(f"the prompt of {len(prompt)} tokens leaves no room in the context of {context}")
    limit: StopReason = "length" if max_new_tokens <= room else "context"
    drafting = speculation or Speculation(most=0)
    return _loop(predict, list(prompt), min(max_new_tokens, room), limit, sampler, stop, drafting)


def _loop(
    predict: Predict,
    text: list[int],
    count: int,
    limit: StopReason,
    sampler: Sampler,
    stop: Collection[int],
    speculation: Speculation,
) -> Generator[int, None, StopReason]:
    end = len(text) + count
    while len(text) < end:
        drafts = speculation.drafts(text, end - len(text) - 1, stop)
        logits = predict([*text, *drafts], len(drafts) + 1)
        for row, draft in zip(logits, [*drafts, None], strict=True):
            token = sampler(row)
            if token in stop:
                return "stop"
            speculation.accepted += token == draft
            yield token
            text.append(token)
            if token != draft:
                break
    return limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A finished answer: its token ids, and why it ended."""

    ids: tuple[int, ...]
    reason: StopReason


def complete(
    tokens: Generator[int, None, StopReason], on_token: Callable[[int], None] | None = None
) -> Completion:
    """Runs a `generate` loop to its end, telling `on_token` of each id as it comes."""
    ids: list[int] = []
    while True:
        try:
            token = next(tokens)
        except StopIteration as end:
            return Completion(ids=tuple(ids), reason=end.value)
        ids.append(token)
        if on_token is not None:
            on_token(token)
