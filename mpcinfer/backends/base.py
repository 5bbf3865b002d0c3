"""What a decoder asks of a backend: about fifteen operations, each on tensors of the backend's own kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Generic, TypeVar

import torch

from mpcinfer.models.attention_state import AttentionState
from mpcinfer.models.column_weights import ColumnWeights
from mpcinfer.models.config import ActivationKind, AttentionForm, NormKind
from mpcinfer.models.rope import Rope
from mpcinfer.models.site import Part, Site
from parties.errors import ConfigError

TensorT = TypeVar("TensorT")
WeightT = TypeVar("WeightT")


class Backend(ABC, Generic[TensorT, WeightT]):
    """Operations on tensors, in float, in fixed point, on shares, or on shapes alone.

    Shape legend: B batch, T tokens of this step, S tokens so far (cache included), D model, H heads,
    K head width, F hidden, V vocabulary. Weights are [in, out].
    """

    _site: Site | None = None
    column_weights: ColumnWeights | None = None
    """Weights of keys, at the client and in the clear; None at the server, and where there are none."""

    @property
    def site(self) -> Site:
        """Where the operation at hand stands in the model; the decoder says so."""
        assert self._site is not None, "no operation of a decoder"
        return self._site

    @contextmanager
    def at(self, layer: int | None, part: Part) -> Generator[None]:
        """What happens inside stands there."""
        before, self._site = self._site, Site(layer, part)
        try:
            yield
        finally:
            self._site = before

    def span(self, name: str, kind: str = "") -> AbstractContextManager[object]:
        """Names what happens inside, for bills and range errors; spans nest, `kind` groups across layers."""
        return nullcontext()

    def sized(self, name: str) -> AbstractContextManager[object]:
        """Inside is a product whose range calibration keeps under this name of the site's."""
        return nullcontext()

    @abstractmethod
    def tokens(self, ids: Sequence[int] | None, count: int) -> TensorT:
        """Brings `count` token ids in. `ids` is None at a party that must not know them."""

    @abstractmethod
    def embed(self, tokens: TensorT, table: WeightT, types: int = 1) -> TensorT:
        """Rows of the table [V + types - 1, D] -> [B, T, D]; `protocols.typed_tokens` says what types are."""

    @abstractmethod
    def add_positions(self, x: TensorT, table: WeightT, start: int) -> TensorT:
        """x [B, T, D] plus rows start..start+T of the position table [context, D]. Positions are public."""

    @abstractmethod
    def linear(self, x: TensorT, weight: WeightT, bias: WeightT | None) -> TensorT:
        """x [..., in] times weight [in, out], plus bias [out]."""

    @abstractmethod
    def matmul(self, a: TensorT, b: TensorT) -> TensorT:
        """Batched product of two activations, [..., m, k] x [..., k, n]."""

    @abstractmethod
    def attention_weights(
        self, scores: TensorT, start: int, form: AttentionForm, epsilon: WeightT | None = None
    ) -> TensorT:
        """Weights of scores [B, H, T, S]; query i, at position start + i, sees keys up to it, or the last of
        those where the form has a window, or all of them where it is not causal.

        `epsilon` [H] replaces the form's.
        """

    def cap_scores(self, scores: TensorT, start: int, form: AttentionForm) -> TensorT:
        """cap tanh(s / cap) of scores [B, H, T, S], the form's cap; of those that a query does not see
        anything."""
        raise ConfigError(f"{type(self).__name__} has no caps of scores")

    def weigh_columns(self, scores: TensorT, form: AttentionForm) -> TensorT:
        """Scores [B, H, T, S], capped, of keys that count `column_weights` times."""
        if self.column_weights is None:
            return scores
        raise ConfigError(f"{type(self).__name__} has no weights of keys")

    def require_room(self, columns: ColumnWeights) -> None:
        """Raises RangeError where scores with these weights of keys might leave their ranges."""
        return

    def add_offset(self, scores: TensorT, offset: WeightT | None, shift: float) -> TensorT:
        """Scores [B, H, T, S] plus a number a head [H] and a public number."""
        if offset is None and shift == 0.0:
            return scores
        raise ConfigError(f"{type(self).__name__} has no attention offsets")

    def apply_temperature(self, q: TensorT, log_temperature: WeightT, start: int) -> TensorT:
        """Queries [B, H, T, K] over exp of columns start.. of a table [H, context]."""
        raise ConfigError(f"{type(self).__name__} has no temperatures by position")

    def embedded(self, x: TensorT) -> TensorT:
        """What the blocks add to: token rows with positions, as this backend keeps a residual."""
        return x

    def kernel_inputs(self, q: TensorT, k: TensorT) -> tuple[TensorT, TensorT]:
        """Queries [B, H, T, K] and keys [B, H_kv, T, K] with two columns more, so that their product is
        -|q - k|^2 / 2: [q, 1, -|q|^2 / 2] and [k, -|k|^2 / 2, 1]."""
        raise ConfigError(f"{type(self).__name__} has no Gaussian kernels")

    def attention_inputs(
        self, q: TensorT, k: TensorT, v: TensorT, start: int | None
    ) -> tuple[TensorT, TensorT, TensorT]:
        """Queries [B, H, T, K], keys and values [B, H_kv, T, K] as attention and the cache want them.

        Args:
            start: tokens in the cache before these; None where there is none, or not for every key a query.
        """
        return q, k, v

    def attention(
        self,
        q: TensorT,
        k: TensorT,
        v: TensorT,
        start: int,
        form: AttentionForm,
        offset: WeightT | None = None,
        epsilon: WeightT | None = None,
        *,
        state: AttentionState[TensorT] | None = None,
    ) -> TensorT:
        """Attention of queries [B, H, T, K] over keys and values [B, H, S, K], and over what the state has
        -> [B, H, T, K]."""
        if state is not None:
            raise ConfigError(f"{type(self).__name__} has no attention over states")
        with self.span("scores", "matmul"):
            with self.sized("scores/matmul"):
                scores = self.matmul(q, self.transpose(k))
            scores = self.add_offset(scores, offset, form.shift)
        if form.cap:
            with self.span("cap", "tanh"):
                scores = self.cap_scores(scores, start, form)
        scores = self.weigh_columns(scores, form)
        with self.span(form.kind, form.kind):
            weighting = self.attention_weights(scores, start, form, epsilon)
        with self.span("mix", "matmul"), self.sized("mix/matmul"):
            return self.matmul(weighting, v)

    def into_state(
        self,
        state: AttentionState[TensorT] | None,
        k: TensorT,
        v: TensorT,
        form: AttentionForm,
        offset: WeightT | None,
    ) -> AttentionState[TensorT]:
        """A state, or none, with keys and values [B, H_kv, S, K] of power 2 in it; H heads where scores have
        an offset a head."""
        raise ConfigError(f"{type(self).__name__} keeps no keys as states")

    def all_but_first_tokens(self, x: TensorT, count: int) -> TensorT:
        """[B, H, S, K] -> [B, H, S - count, K], in memory of its own."""
        raise ConfigError(f"{type(self).__name__} keeps no keys as states")

    def gated(self, gate: TensorT, up: TensorT, kind: ActivationKind) -> TensorT:
        """activation(gate) * up, elementwise."""
        with self.span(kind, kind):
            gate = self.activation(gate, kind)
        with self.span("product", "product"), self.sized("product/mul"):
            return self.mul(gate, up)

    @abstractmethod
    def norm(
        self, x: TensorT, weight: WeightT | None, bias: WeightT | None, kind: NormKind, eps: float
    ) -> TensorT:
        """LayerNorm or RMSNorm over the last axis, with gain and bias where there are any."""

    def head_norms(
        self, q: TensorT, k: TensorT, gains: tuple[WeightT, WeightT], kind: NormKind, eps: float
    ) -> tuple[TensorT, TensorT]:
        """Norms of every head's queries [B, H, T, K] and keys [B, H_kv, S, K], a gain [K] for each."""
        layer = self.site.layer
        with self.at(layer, "attn.q_norm"), self.span("q_norm", kind):
            q = self.norm(q, gains[0], None, kind, eps)
        with self.at(layer, "attn.k_norm"), self.span("k_norm", kind):
            k = self.norm(k, gains[1], None, kind, eps)
        return q, k

    @abstractmethod
    def activation(self, x: TensorT, kind: ActivationKind) -> TensorT:
        """An elementwise nonlinearity."""

    @abstractmethod
    def mul(self, a: TensorT, b: TensorT) -> TensorT:
        """Elementwise product of two activations of one shape."""

    @abstractmethod
    def add(self, a: TensorT, b: TensorT) -> TensorT:
        """Elementwise sum of two activations of one shape."""

    @abstractmethod
    def scale(self, x: TensorT, factor: float) -> TensorT:
        """x times a public number."""

    @abstractmethod
    def rope(self, x: TensorT, start: int, rope: Rope) -> TensorT:
        """Rotary positions start.. on x [B, H, T, K]."""

    @abstractmethod
    def split(self, x: TensorT, sizes: Sequence[int]) -> list[TensorT]:
        """Cuts the last axis."""

    @abstractmethod
    def split_heads(self, x: TensorT, heads: int) -> TensorT:
        """[B, T, H*K] -> [B, H, T, K]."""

    @abstractmethod
    def merge_heads(self, x: TensorT) -> TensorT:
        """[B, H, T, K] -> [B, T, H*K]."""

    @abstractmethod
    def repeat_heads(self, x: TensorT, times: int) -> TensorT:
        """[B, H, T, K] -> [B, H*times, T, K], each head `times` times in a row."""

    def take_heads(self, x: TensorT, numbers: Sequence[int]) -> TensorT:
        """Some heads of [B, H, T, K], in this order; a number may come again."""
        raise ConfigError(f"{type(self).__name__} drops no heads")

    def take_rows(self, weight: WeightT, numbers: Sequence[int]) -> WeightT:
        """Some entries of a weight [H], a number a head."""
        raise ConfigError(f"{type(self).__name__} drops no heads")

    def place_heads(self, x: TensorT, numbers: Sequence[int], heads: int) -> TensorT:
        """[B, H', T, K] -> [B, heads, T, K]: these are heads `numbers`, all others are public zeros."""
        raise ConfigError(f"{type(self).__name__} drops no heads")

    @abstractmethod
    def transpose(self, x: TensorT) -> TensorT:
        """Swaps the last two axes."""

    @abstractmethod
    def concat_tokens(self, a: TensorT, b: TensorT) -> TensorT:
        """[B, H, S, K] and [B, H, T, K] -> [B, H, S+T, K]."""

    @abstractmethod
    def first_tokens(self, x: TensorT, count: int) -> TensorT:
        """[B, H, S, K] -> [B, H, count, K]."""

    @abstractmethod
    def last_tokens(self, x: TensorT, count: int) -> TensorT:
        """[B, T, D] -> [B, count, D]."""

    def diagonal(
        self, x: TensorT, gain: WeightT, bias: WeightT | None, mean: WeightT | None = None
    ) -> TensorT:
        """x [B, T, D] times a gain [D] or [1], plus bias alike: what a residual has of a norm's rows, and
        what a pointwise norm has around its function.

        `mean` [D, 1], where the backend made one of its own, gives the mean of x times gain, which is
        taken off: layer norms do not see it.
        """
        raise ConfigError(f"{type(self).__name__} has no gains of the residual")

    def sum_tokens(self, x: TensorT) -> TensorT:
        """[B, T, D] -> [B, 1, D]."""
        raise ConfigError(f"{type(self).__name__} has no sums over tokens")

    @abstractmethod
    def head(self, x: TensorT, table: WeightT, tied: bool, bias: WeightT | None = None) -> TensorT:
        """x [B, T, D] -> logits [B, T, V]; the table is [V, D] when tied, else [D, V]; the bias is [V]."""

    @abstractmethod
    def open_logits(self, logits: TensorT) -> torch.Tensor | None:
        """Logits in float at the party that asks (the client); None at the other."""
