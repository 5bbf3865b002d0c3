"""The model, written once: every backend runs this file.

Shape legend: B batch, T tokens of this step, S tokens so far, D model, H heads, K head width,
F hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic

import torch

from mpcinfer.backends.attention_weights import capped
from mpcinfer.backends.base import Backend, TensorT, WeightT
from mpcinfer.models.attention_state import AttentionState
from mpcinfer.models.config import AttentionForm, ModelConfig
from mpcinfer.models.kept_heads import KeptHeads
from mpcinfer.models.kinds import ActivationKind
from mpcinfer.models.norm_kinds import POINTWISE
from mpcinfer.models.site import Part, Site
from parties.errors import ConfigError


@dataclass(slots=True)
class KVCache(Generic[TensorT]):
    """Keys and values [B, H_kv, S, K] seen so far, a pair a layer; shares when the backend is secure.

    Attributes:
        other: of a second evaluation of the same tokens, where there is one.
        prefix: what a private run opened of a prefix, a state a layer.
    """

    length: int = 0
    keys: list[TensorT] = field(default_factory=list[TensorT])
    values: list[TensorT] = field(default_factory=list[TensorT])
    other: KVCache[TensorT] | None = None
    prefix: list[AttentionState[TensorT]] = field(default_factory=list[AttentionState[TensorT]])

    def before(
        self,
        layer: int,
        groups: int,
        backend: Backend[TensorT, WeightT],
        form: AttentionForm,
        offset: WeightT | None,
    ) -> AttentionState[TensorT] | None:
        """The first tokens, where they are a state of this layer and no keys and values (`StateCache`).

        Args:
            groups: so many query heads share a head of keys.
        """
        return None

    def beside(self) -> KVCache[TensorT]:
        """That of the second evaluation."""
        if self.other is None:
            self.other = KVCache()
        return self.other

    def extend(self, layer: int, k: TensorT, v: TensorT, backend: Backend[TensorT, WeightT]) -> None:
        """Appends one step's keys and values [B, H_kv, T, K] to a layer's."""
        if layer < len(self.keys):
            self.keys[layer] = backend.concat_tokens(self.keys[layer], k)
            self.values[layer] = backend.concat_tokens(self.values[layer], v)
        else:
            self.keys.append(k)
            self.values.append(v)

    def rewind(self, length: int, first_tokens: Callable[[TensorT, int], TensorT]) -> None:
        """Forgets all tokens but the first `length`, of at least as many."""
        if length == self.length:
            return
        assert 0 <= length < self.length, f"{length} of {self.length} tokens"
        for kept in (self.keys, self.values):
            kept[:] = [first_tokens(each, length) for each in kept]
        self.length = length
        if self.other is not None:
            self.other.rewind(length, first_tokens)


@dataclass(frozen=True, slots=True)
class _Pass(Generic[TensorT]):
    """What a block runs: tokens after `start` others, whose keys and values the cache has, and of how many
    of these one row alone is read; 0 for all."""

    start: int
    cache: KVCache[TensorT] | None
    one_row_of: int = 0


@dataclass(frozen=True, slots=True)
class Decoder(Generic[TensorT, WeightT]):
    """A model on a backend: `config`'s layers over `weights` (names and shapes: `weight_shapes`).

    Attributes:
        prefix: what every layer's queries see besides the tokens, or nothing.
    """

    backend: Backend[TensorT, WeightT]
    config: ModelConfig
    weights: Mapping[str, WeightT]
    prefix: Sequence[AttentionState[TensorT]] = ()

    def forward(
        self,
        tokens: TensorT,
        count: int,
        *,
        cache: KVCache[TensorT] | None = None,
        rows: int | None = None,
    ) -> TensorT:
        """Logits after each of `count` tokens [B, T, V], or of their last `rows` alone. Extends the cache.

        Heads that are not over the vocabulary give one row, [B, 1, D] or [B, 1, classes]; the mean of rows
        comes as their sum (`of_sum`), and logits without their cap (`answered`). Where every token sees all
        others, the cache keeps their number alone.

        Raises ConfigError where cache and tokens together exceed the model's context, or where tokens come
        after others that would have to see them.
        """
        start = cache.length if cache is not None else 0
        if start + count > self.config.context:
            raise ConfigError(f"{start + count} tokens do not fit the context of {self.config.context}")
        if start and not self.config.causal:
            raise ConfigError(f"tokens after {start} others: this model reads whole texts only")
        x = self.embedding(tokens, start)
        one_row = self.config.head != "vocabulary" and self.config.pooling != "mean"
        seen = cache if self.config.causal else None
        x = self.stack(x, start=start, cache=seen, one_row_of=count if one_row else 0)
        if cache is not None:
            cache.length += count
        if self.config.head != "vocabulary" or rows is None:
            return self.head(x)
        return self.head(self.backend.last_tokens(x, rows))

    def of_sum(self, opened: torch.Tensor, count: int | torch.Tensor) -> torch.Tensor:
        """What `forward` gave over `count` tokens, opened, as the head means it: means come as sums.

        Args:
            opened: [B, D].
            count: of all sequences, or of each, [B, 1].
        """
        return opened / count if self.config.pooling == "mean" else opened

    def answered(self, opened: torch.Tensor) -> torch.Tensor:
        """Opened logits as the model has them: their cap is left to who has them in the clear."""
        return capped(opened, self.config.logit_cap)

    def embedding(self, tokens: TensorT, start: int = 0) -> TensorT:
        """Token rows, plus learned positions where the model has them: [B, T, D]."""
        with self.backend.span("embedding", "embedding"):
            x = self.backend.embed(tokens, self.weights["embed.tokens"], self.config.types)
            if self.config.positions == "learned":
                x = self.backend.add_positions(x, self.weights["embed.positions"], start)
            return self.backend.embedded(x)

    def stack(
        self,
        x: TensorT,
        *,
        start: int = 0,
        cache: KVCache[TensorT] | None = None,
        one_row_of: int = 0,
    ) -> TensorT:
        """All blocks, and the norm before them where norms come last: [B, T, D] -> [B, T, D].

        Args:
            one_row_of: T where the head reads one row alone, [B, 1, D]: after its keys and values the last
                block computes no other. 0 for all rows.
        """
        every, last = _Pass(start, cache), _Pass(start, cache, one_row_of)
        if self.config.norm_order == "post":
            with self.backend.span("embed"):
                x = self._norm(x, None, "embedding")
        for layer in range(self.config.layers):
            with self.backend.span(f"layer{layer}"):
                x = self._block(x, layer, last if layer == self.config.layers - 1 else every)
        return x

    def _block(self, x: TensorT, layer: int, of: _Pass[TensorT]) -> TensorT:
        """Attention and FFN one after the other, or both of the same residual."""
        if self.config.norm_order == "post":
            return self._post_norm_block(x, layer, of)
        config, norms = self.config, self.config.block_norms
        one_norm = config.norm_before(layer, "ffn") == config.norm_before(layer, "attn")
        read = self._norm(x, layer, "norm1") if norms else x
        written = self._attention(read, layer, of)
        if of.one_row_of:
            x, read = self._pooled(x), self._pooled(read) if one_norm else read
        after = self.backend.add(x, written)
        if not config.has_ffn(layer):
            return after
        if not one_norm:
            read = x if config.parallel else after
            read = self._norm(read, layer, "norm2") if norms else read
        return self.backend.add(after, self._ffn(read, layer))

    def blocks(self, x: TensorT) -> TensorT:
        """`stack`, and the last norm's gain where norms come last and have left theirs to who reads them."""
        y = self.stack(x, cache=KVCache() if self.config.causal else None)
        return self._residual(y, "head.residual", "residual") if self.config.head == "embedding" else y

    def _post_norm_block(self, x: TensorT, layer: int, of: _Pass[TensorT]) -> TensorT:
        """A block that reads norms and gives one: norm2(y + FFN(y)), y = norm1(x + attention(x))."""
        written = self._attention(x, layer, of)
        x = self._pooled(x) if of.one_row_of else x
        x = self.backend.add(self._residual(x, f"layer{layer}.residual1", "residual1"), written)
        x = self._norm(x, layer, "norm1")
        written = self._ffn(x, layer)
        x = self.backend.add(self._residual(x, f"layer{layer}.residual2", "residual2"), written)
        return self._norm(x, layer, "norm2")

    def _residual(self, x: TensorT, name: str, label: str) -> TensorT:
        """A norm's rows as the residual reads them: times the gain that folding took from the norm."""
        if not self.config.residual_affine:
            return x
        gain, bias, mean = (self.weights.get(f"{name}.{part}") for part in ("weight", "bias", "mean"))
        assert gain is not None
        with self.backend.span(label, "residual"):
            return self.backend.diagonal(x, gain, bias, mean)

    def _pooled(self, x: TensorT) -> TensorT:
        """The row that the head reads, of [.., T, D]: [.., 1, D]."""
        if self.config.pooling == "last":
            return self.backend.last_tokens(x, 1)
        return self.backend.first_tokens(x, 1)

    def _embedding_head(self, x: TensorT) -> TensorT:
        """Rows with the last norm's gain; their sum where the mean is wanted."""
        x = self._residual(x, "head.residual", "residual")
        return self.backend.sum_tokens(x) if self.config.pooling == "mean" else x

    def _pooler(self, x: TensorT) -> TensorT:
        """A matrix and an activation of the pooled row."""
        backend, kind = self.backend, self.config.pooler
        assert kind != "none"
        with backend.at(None, "pooler"), backend.span("pooler"):
            x = self._linear(x, "head.pooler", "in")
            with backend.span(kind, kind):
                return backend.activation(x, kind)

    def head(self, x: TensorT) -> TensorT:
        """What is left of folding, final norm, and logits: [B, T, D] -> [B, T, V], or as `forward` says."""
        with self.backend.span("head"):
            if self.config.head == "embedding":
                return self._embedding_head(x)
            if self.config.pooler != "none":
                x = self._pooler(x)
            if self.config.head_input:
                x = self._linear(x, "head.input", "input")
            if self.config.final_norm:
                x = self._norm(x, None, "norm")
            with self.backend.span("logits", "linear"):
                table = self.weights["embed.tokens" if self.config.tied_head else "head.weight"]
                return self.backend.head(x, table, self.config.tied_head, self.weights.get("head.bias"))

    def _attention(self, x: TensorT, layer: int, of: _Pass[TensorT]) -> TensorT:
        """Self-attention with grouped heads, of all rows or of the one that the head reads."""
        backend, config, start, cache = self.backend, self.config, of.start, of.cache
        first = start  # the position of the first query
        with backend.at(layer, "attn"), backend.span("attn"):
            qkv = self._linear(x, f"layer{layer}.attn.qkv", "qkv")
            kv_width = config.kv_heads * config.head_width
            q, k, v = backend.split(qkv, [config.heads * config.head_width, kv_width, kv_width])
            q = backend.split_heads(q, config.heads)
            k, v = backend.split_heads(k, config.kv_heads), backend.split_heads(v, config.kv_heads)
            kept = KeptHeads.of(config, layer)
            if kept.dropped:
                q, k, v = kept.of_inputs(backend, q, k, v)
            if of.one_row_of:
                q, start = self._pooled(q), start + of.one_row_of - 1
                first = start if config.pooling == "last" else first
            if config.qk_norm:
                gains = (self.weights[f"layer{layer}.attn.{name}_norm.weight"] for name in "qk")
                q, k = backend.head_norms(q, k, (next(gains), next(gains)), config.norm, config.norm_eps)
            rope = config.rope(layer)
            if rope is not None:
                q, k = backend.rope(q, first, rope), backend.rope(k, of.start, rope)
            q = backend.scale(q, config.query_scale)
            if config.attention == "gaussian":
                q, k = backend.kernel_inputs(q, backend.scale(k, config.query_scale))
            if config.temperature == "position":
                q = backend.apply_temperature(q, self.weights[f"layer{layer}.attn.log_temperature"], first)
            caching = cache is not None and not of.one_row_of
            q, k, v = backend.attention_inputs(q, k, v, of.start if caching else None)
            state = self.prefix[layer] if self.prefix else None
            groups, form = config.heads // config.kv_heads, config.form_of(layer)
            offset, epsilon = (
                kept.of_numbers(backend, self.weights.get(f"layer{layer}.attn.{name}"))
                for name in ("offset", "epsilon")
            )
            if cache is not None:
                before = cache.before(layer, groups, backend, form, offset)
                if before is not None:
                    start, state = start - before.keys, before
                cache.extend(layer, k, v, backend)
                k, v = cache.keys[layer], cache.values[layer]
            k, v = kept.of_keys(backend, k), kept.of_keys(backend, v)
            mixed = backend.attention(q, k, v, start, form, offset, epsilon, state=state)
            mixed = kept.placed(backend, mixed)
            out = self._linear(backend.merge_heads(mixed), f"layer{layer}.attn.out", "out")
            return self._norm(out, layer, "attn.post") if config.post_norms else out

    def _ffn(self, x: TensorT, layer: int) -> TensorT:
        """MLP, gated unit, or a matrix alone."""
        backend, config = self.backend, self.config
        with backend.at(layer, "ffn"), backend.span("ffn"):
            if config.ffn == "fused":
                return self._ffn_out(x, layer)
            x = self._linear(x, f"layer{layer}.ffn.in", "in")
            if config.ffn == "glu":
                gate, up = backend.split(x, [config.hidden, config.hidden])
                x = backend.gated(gate, up, config.activation)
            else:
                with backend.span(config.activation, config.activation):
                    x = backend.activation(x, config.activation)
            return self._ffn_out(x, layer)

    def _ffn_out(self, x: TensorT, layer: int) -> TensorT:
        """What an FFN adds to the residual."""
        out = self._linear(x, f"layer{layer}.ffn.out", "out")
        return self._norm(out, layer, "ffn.post") if self.config.post_norms else out

    def _norm(self, x: TensorT, layer: int | None, part: Part) -> TensorT:
        name = Site(layer, part).key
        weight, bias = self.weights.get(f"{name}.weight"), self.weights.get(f"{name}.bias")
        label = "norm" if part == "embedding" else part.rpartition(".")[2]
        with self.backend.at(layer, part), self.backend.span(label, self.config.norm):
            if (function := POINTWISE.get(self.config.norm)) is not None:
                return self._pointwise(x, name, function)
            return self.backend.norm(x, weight, bias, self.config.norm, self.config.norm_eps)

    def _pointwise(self, x: TensorT, name: str, function: ActivationKind) -> TensorT:
        """A function of a x + s, times the gain, plus the bias: those of them that there are."""
        factor, gain = self.weights[f"{name}.input.weight"], self.weights.get(f"{name}.weight")
        x = self.backend.diagonal(x, factor, self.weights.get(f"{name}.input.bias"))
        x = self.backend.activation(x, function)
        return x if gain is None else self.backend.diagonal(x, gain, self.weights.get(f"{name}.bias"))

    def _linear(self, x: TensorT, name: str, label: str) -> TensorT:
        with self.backend.span(label, "linear"):
            return self.backend.linear(x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"))
