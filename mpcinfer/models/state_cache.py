"""A cache whose size does not grow: keys and values move into sums over pairs of keys, so many at a time."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic

from mpcinfer.backends.base import Backend, TensorT, WeightT
from mpcinfer.models.attention_state import AttentionState, FeatureMap
from mpcinfer.models.config import AttentionForm, ModelConfig
from mpcinfer.models.decoder import KVCache
from parties.errors import ConfigError

States = list[AttentionState[TensorT]]


@dataclass(frozen=True, slots=True)
class _Before(Generic[TensorT]):
    """What a cache had before a pass moved some tokens; the pass that moved some before it began after
    `last_move` tokens."""

    last_move: int
    keys: list[TensorT]
    values: list[TensorT]
    states: States[TensorT]


@dataclass(slots=True)
class StateCache(KVCache[TensorT]):
    """The first tokens are a state a layer, [B, H_kv, R, K + 1] (`AttentionState`), and the others keys and
    values. States have H heads where scores have an offset a head.

    A pass begins with moving all whole chunks of what is there: of n tokens all but n mod `chunk` are moved.
    What a pass adds itself stays until the next, so that drafts can be taken back.

    Attributes:
        chunk: so many tokens move at once, or a multiple of it.
        reversible: of how many passes the moves can be taken back.
        states: a layer each; empty before the first move.
        past: what there was before those passes.
        last_move: how many tokens there were when some moved; 0 where none did.
    """

    chunk: int = 1
    reversible: int = 0
    states: States[TensorT] = field(default_factory=list[AttentionState[TensorT]])
    past: deque[_Before[TensorT]] = field(default_factory=deque[_Before[TensorT]])
    last_move: int = 0

    def beside(self) -> KVCache[TensorT]:
        if self.other is None:
            self.other = StateCache(chunk=self.chunk, reversible=self.reversible)
        return self.other

    def before(
        self,
        layer: int,
        groups: int,
        backend: Backend[TensorT, WeightT],
        form: AttentionForm,
        offset: WeightT | None,
    ) -> AttentionState[TensorT] | None:
        state = self.states[layer] if layer < len(self.states) else None
        ready = self.length - self.length % self.chunk - (0 if state is None else state.keys)
        if ready:
            if layer == 0:
                self._remember()
            state = self._with_more(
                state, layer, ready, 1 if offset is None else groups, backend, form, offset
            )
            self.states[layer : layer + 1] = [state]
        if state is None or offset is not None:
            return state
        return dataclasses.replace(state, sums=backend.repeat_heads(state.sums, groups))

    def rewind(self, length: int, first_tokens: Callable[[TensorT, int], TensorT]) -> None:
        """Forgets all tokens but the first `length`, and that tokens moved since.

        Raises:
            ConfigError: they moved, and that cannot be taken back.
        """
        assert 0 <= length <= self.length, f"{length} of {self.length} tokens"
        if length == self.length:
            return
        if length == 0:
            for each in (self.keys, self.values, self.states, self.past):
                each.clear()
            self.last_move = 0
        else:
            self._take_back(length)
            moved = self.states[0].keys if self.states else 0
            for kept in (self.keys, self.values):
                kept[:] = [first_tokens(each, length - moved) for each in kept]
        self.length = length
        if self.other is not None:
            self.other.rewind(length, first_tokens)

    def _with_more(
        self,
        state: AttentionState[TensorT] | None,
        layer: int,
        count: int,
        groups: int,
        backend: Backend[TensorT, WeightT],
        form: AttentionForm,
        offset: WeightT | None,
    ) -> AttentionState[TensorT]:
        """A layer's state with its next `count` keys and values."""
        k, v = self.keys[layer], self.values[layer]
        self.keys[layer], self.values[layer] = (backend.all_but_first_tokens(each, count) for each in (k, v))
        k, v = (backend.repeat_heads(backend.first_tokens(each, count), groups) for each in (k, v))
        return backend.into_state(state, k, v, form, offset)

    def _remember(self) -> None:
        self.past.append(_Before(self.last_move, [*self.keys], [*self.values], [*self.states]))
        self.last_move = self.length
        while len(self.past) > self.reversible:
            self.past.popleft()

    def _take_back(self, length: int) -> None:
        """What passes from so many tokens on have moved."""
        while self.last_move >= length:
            if not self.past:
                raise ConfigError(
                    f"the first {length} of {self.length} tokens: a state of {self.states[0].keys} "
                    "cannot be told apart again. Start anew, or keep keys and values with --cache kv"
                )
            before = self.past.pop()
            self.keys[:], self.values[:], self.states[:] = before.keys, before.values, before.states
            self.last_move = before.last_move


def cache_of(chunk: int, reversible: int = 0) -> KVCache[Any]:
    """An empty one: of keys and values where `chunk` is 0. Other arguments as of `StateCache`."""
    return StateCache(chunk=chunk, reversible=reversible) if chunk else KVCache()


def require_states(config: ModelConfig, chunk: int) -> None:
    """Raises ConfigError where a model has no states, or tokens cannot move so many at a time."""
    if config.head != "vocabulary" or not config.causal:
        raise ConfigError("--cache state: this model reads whole texts and keeps nothing")
    if config.qk_norm:
        raise ConfigError("--cache state: this model's queries and keys have norms of their own (qk_norm)")
    if config.patterns:
        raise ConfigError("--cache state: a state is of all keys, not of those that patterns show")
    if config.attention != "power" or config.power != 2:
        has = f"power {config.power}" if config.attention == "power" else config.attention
        raise ConfigError(
            f"--cache state: for attention of power 2 alone, and this model has {has}: take --cache kv"
        )
    if not 1 <= chunk <= config.context:
        raise ConfigError(f"--chunk {chunk}: from 1 to the context of {config.context}")


def require_no_adapter(features: FeatureMap | None, chunk: int) -> None:
    """Raises ConfigError where a session over states has a prefix adapter."""
    if features is not None and chunk:
        raise ConfigError(
            "--cache state: attention reads one state, and a prefix adapter is another: leave --prefix out, "
            "or take --cache kv"
        )


def require_no_public_prefix(tokens: int) -> None:
    """Raises ConfigError where a session over states has a public prefix of so many tokens."""
    if tokens:
        raise ConfigError(
            "--cache state: a public prefix's keys and values are kept as they are: leave --public-prefix "
            "out, or take --cache kv"
        )
