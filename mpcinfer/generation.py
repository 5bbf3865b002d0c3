"""The token loop over a KV cache, the same for a model on one machine and on two."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Literal

import torch

from mpcinfer.backends.base import TensorT, WeightT
from mpcinfer.models.decoder import Decoder, KVCache
from mpcinfer.sampling import Sampler, greedy
from parties.errors import ConfigError

Step = Callable[[Sequence[int]], torch.Tensor]
"""New token ids -> logits [V] of the token after them; what came before is remembered."""

StopReason = Literal["stop", "length", "context"]
"""A stop token came; `max_new_tokens` were made; prompt and answer fill the context."""


@dataclass(slots=True)
class Session(Generic[TensorT, WeightT]):
    """A decoder and what it has seen. In a private run each party has one, and steps it with the other."""

    decoder: Decoder[TensorT, WeightT]
    cache: KVCache[TensorT] = field(default_factory=KVCache[TensorT])

    def advance(self, ids: Sequence[int] | None, count: int) -> torch.Tensor | None:
        """Runs the decoder over `count` more tokens.

        Args:
            ids: the tokens at the client; None at a party that must not know them.
            count: how many there are, known to both.

        Returns:
            Logits [V] of the next token at the client, None at the other party.

        Raises:
            ConfigError: the tokens do not fit the context.
        """
        backend = self.decoder.backend
        with torch.no_grad():
            tokens = backend.tokens(ids, count)
            logits = self.decoder.forward(tokens, count, cache=self.cache, last_only=True)
            opened = backend.open_logits(logits)
        return None if opened is None else opened.reshape(-1)

    def step(self, ids: Sequence[int]) -> torch.Tensor:
        """`advance` at the party that knows the tokens and gets the logits."""
        logits = self.advance(ids, len(ids))
        assert logits is not None, "this party does not get the logits"
        return logits


def generate(
    step: Step,
    prompt: Sequence[int],
    *,
    max_new_tokens: int,
    context: int,
    sampler: Sampler = greedy,
    stop: Collection[int] = (),
) -> Generator[int, None, StopReason]:
    """The client's loop: picks tokens from logits and feeds them back.

    Args:
        step: runs the model, for example `Session.step`; the first call gets the whole prompt, every later
            one the token before. The last token is never fed back.
        prompt: token ids, at least one.
        max_new_tokens: the most tokens to make, >= 0.
        context: the longest that prompt and answer may be together.
        stop: ids that end the answer; they are not part of it.

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
    return _loop(step, list(prompt), min(max_new_tokens, room), limit, sampler, stop)


def _loop(
    step: Step, fresh: list[int], count: int, limit: StopReason, sampler: Sampler, stop: Collection[int]
) -> Generator[int, None, StopReason]:
    for _ in range(count):
        token = sampler(step(fresh))
        if token in stop:
            return "stop"
        yield token
        fresh = [token]
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
