"""Answers to several prompts at once, a pass a token for all of them.

Shorter prompts have padding before them: copies of their own first token, whose values are those of the
token itself, so that nothing leaves its range. An answer that has ended goes on with copies of its last
token until all have; nobody reads what comes of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from mpcinfer.answer import Answer
from mpcinfer.generation import StopReason
from mpcinfer.models.batch import Batch
from mpcinfer.models.public import PublicModel
from mpcinfer.prompts import prompt_ids, require_room
from mpcinfer.public_prefix import PublicPrefix
from mpcinfer.reading import require_head
from mpcinfer.sampling import Sampler
from parties.errors import ConfigError

BatchStep = Callable[[Sequence[int]], torch.Tensor]
"""New token ids, as many of every sequence, sequence after sequence -> logits [B, V] of what comes next."""

OnBatchText = Callable[[int, str], None]
"""Is told, after each token, the number of a prompt and the whole of its answer so far."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """Prompts of a batch as token ids, all padded to the longest, or to a length that is given.

    Attributes:
        count: how many were given; after them come copies of the first, up to the batch's size.
        ids: of each.
        padding: how many of the ids at its start are padding.
    """

    count: int
    ids: list[list[int]]
    padding: list[int]

    @property
    def length(self) -> int:
        """Of each, padding included."""
        return len(self.ids[0])

    def of_row(self, number: int) -> list[int]:
        """A prompt by itself."""
        return self.ids[number][self.padding[number] :]

    def padded_to(self, length: int) -> Prompts:
        """The same with padding up to `length`, of each, or as they are where they are as long."""
        more = max(length - self.length, 0)
        ids = [each[:1] * more + each for each in self.ids]
        return Prompts(self.count, ids, [before + more for before in self.padding])

    @classmethod
    def of(
        cls,
        public: PublicModel,
        texts: Sequence[str],
        batch: Batch,
        first_tokens: int | None = None,
        public_prefix: PublicPrefix | None = None,
    ) -> Prompts:
        """The prompts of a session.

        Args:
            first_tokens: how many a conversation begins with, where that is settled.
            public_prefix: what comes before each of them and is in the cache.

        Raises:
            ConfigError: none, more than a pass has, an empty one, or different lengths where there is no
                padding.
        """
        if not 1 <= len(texts) <= batch.size:
            raise ConfigError(f"batch: the session runs up to {batch.size} prompts at once, not {len(texts)}")
        ids = [
            prompt_ids(public, text) if public_prefix is None else public_prefix.after(public, text)
            for text in texts
        ]
        return cls.of_ids(ids, batch, first_tokens, "prompt")

    @classmethod
    def of_ids(
        cls,
        texts: Sequence[Sequence[int]],
        batch: Batch,
        first_tokens: int | None,
        what: str,
        before: int = 0,
    ) -> Prompts:
        """Token ids of 1 to `batch.size` texts, padded.

        Args:
            first_tokens: as for `of`.
            what: what an error calls one of them.
            before: how many there are in passes before this one.

        Raises:
            ConfigError: different lengths where there is no padding.
        """
        ids = [list(each) for each in texts]
        for number, each in enumerate(ids, before + 1):
            if len(each) != len(ids[0]) and not batch.padded:
                raise ConfigError(
                    f"{what} {number} has {len(each)} tokens, {what} {before + 1} has {len(ids[0])}: a "
                    f"session with equal_lengths (--equal-lengths) takes {what}s of one length"
                )
        ids += [list(ids[0]) for _ in range(batch.size - len(ids))]
        longest = max(*map(len, ids), first_tokens or 0 if batch.padded else 0)
        padding = [longest - len(each) for each in ids]
        padded = [each[:1] * before + each for each, before in zip(ids, padding, strict=True)]
        return cls(len(texts), padded, padding)


@dataclass(slots=True)
class _Row:
    """One answer on its way; `reason` is None while it goes on."""

    sampler: Sampler
    last: int
    ids: list[int] = field(default_factory=list[int])
    reason: StopReason | None = None


def batch_answers(
    step: BatchStep,
    public: PublicModel,
    prompts: Prompts,
    max_new_tokens: int,
    samplers: Sequence[Sampler],
    on_text: OnBatchText | None,
    *,
    context: int,
) -> list[Answer]:
    """Runs the token loop over prompts until the last answer ends.

    Args:
        step: runs a pass; its first one is over all of the prompts.
        samplers: one for each prompt.
        context: the most tokens of the longest prompt and its answer.

    Returns:
        The answers, in the order of the prompts. What `reason` says of the context is said of the longest
        prompt: all answers have the room that is left behind it.

    Raises:
        ConfigError: a limit below 1, prompts that fill the context, not a sampler for each, or a model that
            does not continue texts.
    """
    require_head(public, "vocabulary")
    if max_new_tokens < 1:
        raise ConfigError(f"max_new_tokens of a batch is at least 1, got {max_new_tokens}")
    if len(samplers) != prompts.count:
        raise ConfigError(f"{len(samplers)} samplers for {prompts.count} prompts")
    require_room(prompts.length, context, public.config.context)
    room = context - prompts.length
    limit: StopReason = "length" if max_new_tokens <= room else "context"
    most, tokenizer = min(max_new_tokens, room), public.tokenizer
    rows = [_Row(sampler, ids[-1]) for sampler, ids in zip(samplers, prompts.ids, strict=False)]
    fed = [token for ids in prompts.ids for token in ids]
    while True:
        logits = step(fed)
        for number, (row, scores) in enumerate(zip(rows, logits, strict=False)):
            if row.reason is not None:
                continue
            token = row.sampler(scores)
            if token in tokenizer.stop:
                row.reason = "stop"
                continue
            row.ids.append(token)
            row.last = token
            if len(row.ids) == most:
                row.reason = limit
            if on_text is not None:
                on_text(number, tokenizer.decode_after(prompts.of_row(number), row.ids))
        if all(row.reason is not None for row in rows):
            break
        fed = [row.last for row in rows] + [rows[0].last] * (len(prompts.ids) - prompts.count)
    return [
        _answer(tokenizer.decode_after(prompts.of_row(number), row.ids), row)
        for number, row in enumerate(rows)
    ]


def _answer(text: str, row: _Row) -> Answer:
    assert row.reason is not None
    return Answer(text=text, ids=tuple(row.ids), reason=row.reason)
