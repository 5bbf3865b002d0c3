"""The model as a program of FSS gates: a party, the dealer, the reference and the bill all run this file.

Layer norm needs no mean: the matrices that write the residual are centred in cleartext when weights are
loaded, and the embedding is centred once, so that its rows' means are zero everywhere.

Shape legend: B batch, T tokens of this step, S tokens so far, D model, H heads, K head width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch

from mpcinfer.models.attention_state import AttentionState
from mpcinfer.models.column_weights import ColumnWeights
from mpcinfer.models.config import ActivationKind, AttentionForm, ModelConfig, NormKind
from mpcinfer.models.folded import query_exponent
from mpcinfer.models.padding import positions_of
from mpcinfer.models.rope import Rope
from mpcinfer.models.site import INNER_NORMS, InnerNorm
from mpcinfer.suites.arithmetic.polynomial import require_polynomial
from mpcinfer.suites.fss.attention import softmax_attention
from mpcinfer.suites.fss.attention_inputs import publish_inputs
from mpcinfer.suites.fss.attention_widths import NormWidths
from mpcinfer.suites.fss.column_weights import require_room
from mpcinfer.suites.fss.embedding import embedded_rows
from mpcinfer.suites.fss.ffn_widths import FfnWidths
from mpcinfer.suites.fss.formats import activation_formats
from mpcinfer.suites.fss.kernel_attention import kernel_attention, publish_kernel_inputs
from mpcinfer.suites.fss.moving import MovingBackend
from mpcinfer.suites.fss.norms import Rows, over_roots
from mpcinfer.suites.fss.pointwise_norms import pointwise_norm
from mpcinfer.suites.fss.pooling import sum_without_padding
from mpcinfer.suites.fss.power_attention import power_attention, relu_attention
from mpcinfer.suites.fss.power_state import moved_into
from mpcinfer.suites.fss.range_check import plain_name
from mpcinfer.suites.fss.residual import sum_at_one_scale, through_gain
from mpcinfer.suites.fss.residual_widths import post_norm
from mpcinfer.suites.fss.seen_keys import by_head, in_one_axis
from mpcinfer.suites.fss.turning import turned
from mpcinfer.suites.fss.widths import RESIDUAL_WRITERS, Widths
from parties.errors import ConfigError
from protocols.fss.executors.executor import Executor
from protocols.fss.gates.cached import CachedShare
from protocols.fss.gates.embedding import TokensToServerHeld
from protocols.fss.gates.linear import Linear, RevealToClient, ToServerHeld
from protocols.fss.operations.activation_protocols import ActivationFormats, ActivationProtocol
from protocols.fss.operations.rescale import (
    extend_ring,
    in_scale,
    narrow,
    open_truncated,
    truncate_at_server,
    truncate_locally,
)
from protocols.fss.operations.suite import FssSuite
from protocols.fss.preprocessing.matrix import Matrix
from protocols.fss.ring import signed
from protocols.share import Held, Share


class FssBackend(MovingBackend):
    """Runs a decoder on an executor of the FSS suite.

    Args:
        executor: a party, the dealer, the reference, or a counter.
        config: the shape, norms folded.
        widths: rings and fraction bits of every value.
        suite: the plan's protocols.
        batch: B, sequences of every pass.
        padding: how many tokens at the start of each are padding; at the client and in the clear.

    Raises:
        ConfigError: the plan is polynomial and the model is not.
    """

    def __init__(
        self,
        executor: Executor,
        config: ModelConfig,
        widths: Widths,
        suite: FssSuite,
        batch: int = 1,
        padding: Sequence[int] | None = None,
    ) -> None:
        super().__init__(executor)
        self._config, self._widths, self._suite = config, widths, suite
        self._batch, self._padding = batch, padding
        self._precision = widths.precision
        if suite.polynomial:
            require_polynomial(config, otherwise="fss")

    @property
    def widths(self) -> Widths:
        """Rings and fraction bits of every value."""
        return self._widths

    def span(self, name: str, kind: str = "") -> AbstractContextManager[object]:
        return self.executor.meter.span(name, kind)

    # -- into the residual ---------------------------------------------------------------------------------

    def tokens(self, ids: Sequence[int] | None, count: int) -> Share:
        """`count` tokens a sequence, as the plan's embedding takes them, such as server-held one-hot rows."""
        with self.span("embedding", "embedding"):
            config, ring_bits = self._config, self._widths.embedding_bits
            return self._suite.embedding.tokens(
                self.executor, ids, count, config.vocabulary, ring_bits, self._batch, config.types
            )

    def embed(self, tokens: Share, table: Matrix, types: int = 1) -> Share:
        return self._suite.embedding.rows(self.executor, tokens, table, types)

    def add_positions(self, x: Share, table: Matrix, start: int) -> Share:
        """The server adds them to the value it has whole; where sequences are padded, those that the client
        asks for by one-hot rows, as for private tokens."""
        if self._widths.padded:
            own, (size, count) = None, x.shape[:2]
            if self._padding is not None:
                own = positions_of(self._padding, start, count)
            gate = TokensToServerHeld(own, count, table.shape[0], self._widths.embedding_bits, size)
            return self.executor.add(x, self.executor.one(Linear(table), self.executor.one(gate)))
        rows = table.value[start : start + x.shape[-2]]
        return x if rows.device.type == "meta" else self.executor.add_public(x, rows.to(torch.int64))

    def embedded(self, x: Share) -> Share:
        return embedded_rows(self.executor, self._config, self._widths, x)

    def add(self, a: Share, b: Share) -> Share:
        """Adds a linear layer's output to the residual, which stays at the server where no norm reads it."""
        with self.span("residual", "residual"):
            if self._bare:
                return self.executor.add(a, self._kept(b))
            b = sum_at_one_scale(self.executor, self._widths, a, b) if self._post else b
            (b,) = open_truncated(self.executor, (b, self._precision.residual, self._widths.residual_bits))
            return b if self._post else self.executor.add(a, b)

    def diagonal(self, x: Share, gain: Matrix, bias: Matrix | None, mean: Matrix | None = None) -> Share:
        """The bias is kept with the gain. Costs nothing online, unless the residual needs a wider ring."""
        return through_gain(self.executor, self._in_ring(x, gain.ring_bits), gain, mean)

    @property
    def _post(self) -> bool:
        """Norms come last: the residual is a norm's rows at the server."""
        return self._config.norm_order == "post"

    @property
    def _one_norm(self) -> bool:
        """Attention and FFN read the same norm, each in a ring of its own."""
        return self._config.norm_before(0, "attn") == self._config.norm_before(0, "ffn")

    @property
    def _bare(self) -> bool:
        """The blocks have no norms of rows: the residual is held by the server."""
        return not self._config.row_norms

    def _kept(self, x: Share) -> Share:
        return truncate_at_server(self.executor, x, self._precision.residual, self._widths.held_bits)

    # -- linear layers, norms --------------------------------------------------------------------------------

    def linear(self, x: Share, weight: Matrix, bias: Matrix | None) -> Share:
        """The bias is kept with the weight."""
        stays = weight.name.endswith("attn.qkv.weight") and self._config.temperature == "position"
        if (self._post or self._one_norm) and x.ring_bits > weight.ring_bits:
            x = self.executor.reduce(x, weight.ring_bits)
        if not self._bare:
            held = Held.SERVER_HELD if stays else Held.SERVER_MASKED
            return self.executor.one(Linear(weight, held=held), x)
        stays |= weight.name.endswith(RESIDUAL_WRITERS) and not self.executor.exact_truncation
        name = plain_name(weight.name)
        stays |= name == "head.input.weight" and not self._config.final_norm
        held = Held.SERVER_HELD if stays else Held.SERVER_MASKED
        return self.executor.one(Linear(weight, held=held), self._in_ring(x, self._widths.reader_bits(name)))

    def _in_ring(self, x: Share, ring_bits: int | None) -> Share:
        """A residual that the server holds, in the ring of the layer that reads it; None for other values."""
        if ring_bits is None or ring_bits == x.ring_bits:
            return x
        if ring_bits < x.ring_bits:
            return self.executor.reduce(x, ring_bits)
        return extend_ring(self.executor, x, self._widths.residual_bits, ring_bits)

    def norm(self, x: Share, weight: Matrix | None, bias: Matrix | None, kind: NormKind, eps: float) -> Share:
        """Rows over the root of their mean square, held by the server; gain and bias are a diagonal layer.

        Those inside a block open what they read, and leave a result that the server may publish.
        """
        part, executor, p = self.site.part, self.executor, self._precision
        if part in INNER_NORMS:
            assert weight is not None
            return self._inner_norms([(x, weight, part)], eps)[0]
        widths, ring_bits = self._norm_widths()
        if self._bare:
            (x,) = open_truncated(executor, (x, p.residual, self._widths.residual_bits))
        (held,) = over_roots(executor, self._suite, p, eps, [Rows(x, widths, ring_bits)])
        return held if weight is None else executor.one(Linear(weight, held=Held.SERVER_HELD), held)

    def head_norms(
        self, q: Share, k: Share, gains: tuple[Matrix, Matrix], kind: NormKind, eps: float
    ) -> tuple[Share, Share]:
        """Both together, in the rounds of one."""
        with self.span("qk_norm", kind):
            q, k = self._inner_norms([(q, gains[0], "attn.q_norm"), (k, gains[1], "attn.k_norm")], eps)
            return q, k

    def _inner_norms(self, inputs: Sequence[tuple[Share, Matrix, InnerNorm]], eps: float) -> list[Share]:
        """Norms inside a block of what the server has whole, times their gains."""
        executor, p = self.executor, self._precision
        widths = [self._widths.inner_norm(self._layer, part) for _, _, part in inputs]
        pairs = list(zip(inputs, widths, strict=True))
        opened = open_truncated(executor, *((x, p.residual, w.open_bits) for (x, _, _), w in pairs))
        rows = [Rows(x, w.norm, w.ring_bits) for x, w in zip(opened, widths, strict=True)]
        held = over_roots(executor, self._suite, p, eps, rows)
        return [executor.one(Linear(gain), x) for (_, gain, _), x in zip(inputs, held, strict=True)]

    def _norm_widths(self) -> tuple[NormWidths, int]:
        """The norm at hand, and the ring of the layer that reads it."""
        if self._post:
            return post_norm(self._widths, self.site)
        if self.site.part == "norm":
            return self._widths.head_norm, self._widths.head_bits
        if self.site.part == "norm1":
            attention, ffn = self._widths.attention(self._layer), self._widths.ffn
            shared = ffn(self._layer).in_bits if self._one_norm else 0
            return attention.norm, max(attention.qkv_bits, shared)
        ffn = self._widths.ffn(self._layer)
        return ffn.norm, ffn.in_bits

    # -- attention -------------------------------------------------------------------------------------------

    def scale(self, x: Share, factor: float) -> Share:
        """Queries over sqrt(K): the binary point moves; the weights have the rest (`scale_queries`)."""
        assert factor == self._config.query_scale
        return self.executor.scaled(x, query_exponent(self._config))

    def rope(self, x: Share, start: int, rope: Rope) -> Share:
        return turned(self.executor, x, start, rope, self._precision.rotation)

    def require_room(self, columns: ColumnWeights) -> None:
        require_room(self._widths, columns)

    def apply_temperature(self, q: Share, log_temperature: Matrix, start: int) -> Share:
        """Multiplies by exp of the temperature, a linear layer of its own (`encoded`)."""
        columns = slice(start, start + q.shape[-2])
        return self.executor.one(Linear(log_temperature, columns=columns), q)

    def kernel_inputs(self, q: Share, k: Share) -> tuple[Share, Share]:
        """As they are: squares are taken of what is published (`attention_inputs`)."""
        return q, k

    def attention_inputs(self, q: Share, k: Share, v: Share, start: int | None) -> tuple[Share, Share, Share]:
        widths = self._widths.attention(self._layer)
        if self._config.attention == "gaussian":
            return publish_kernel_inputs(self.executor, widths, self._precision, q, k, v)
        return publish_inputs(self.executor, widths, self._precision, q, k, v)

    def attention(
        self,
        q: Share,
        k: Share,
        v: Share,
        start: int,
        form: AttentionForm,
        offset: Matrix | None = None,
        epsilon: Matrix | None = None,
        *,
        state: AttentionState[Share] | None = None,
    ) -> Share:
        assert isinstance(k, CachedShare)
        assert isinstance(v, CachedShare)
        executor, widths = self.executor, self._widths.attention(self._layer)
        inputs = in_one_axis(executor, form, q, k, v)
        around = (executor, self._suite, *inputs, widths, self._precision, form)
        if form.kind == "softmax":  # a number that is added to all scores of a row changes nothing
            mixed = softmax_attention(*around, self._padding, state, self.column_weights)
        elif form.kind == "power":
            mixed = power_attention(*around, offset, epsilon, state)
        elif state is not None:
            raise ConfigError(f"fss: no {form.kind} attention over states")
        elif form.kind == "gaussian":
            mixed = kernel_attention(*around)
        else:
            mixed = relu_attention(*around, offset)
        return by_head(executor, form, mixed)

    def into_state(
        self,
        state: AttentionState[Share] | None,
        k: Share,
        v: Share,
        form: AttentionForm,
        offset: Matrix | None,
    ) -> AttentionState[Share]:
        assert isinstance(k, CachedShare)
        assert isinstance(v, CachedShare)
        widths = self._widths.attention(self._layer).state
        assert widths is not None, "a program without states"
        with self.span("state", "matmul"):
            return moved_into(self.executor, state, k, v, widths, form, offset)

    # -- FFN -------------------------------------------------------------------------------------------------

    def activation(self, x: Share, kind: ActivationKind) -> Share:
        """An activation of a value that the server has, masked; the result is held by the server again."""
        if kind == "identity":
            return x
        if self.site.part in ("norm", "norm1", "norm2"):
            widths, around = self._widths.pointwise(self.site.key), self._norm_widths()
            return pointwise_norm(self.executor, self._suite, kind, x, widths, *around, self._precision)
        executor, p, widths = self.executor, self._precision, self._activation_widths
        (x,) = open_truncated(executor, (x, p.activation, widths.preactivation_bits))
        protocol, formats = self._activation(kind, p.activation)
        index = self._index(protocol, formats, x)
        activated = protocol(executor, kind, formats, x, index)
        activated = in_scale(executor, activated, p.activation, formats.ring_bits)
        return executor.one(ToServerHeld(), truncate_locally(executor, activated, p.activation))

    def gated(self, gate: Share, up: Share, kind: ActivationKind) -> Share:
        with self.span(kind, kind):
            executor, p, widths = self.executor, self._precision, self._widths.ffn(self._layer)
            x, factor = open_truncated(
                executor, *((x, p.gate, widths.preactivation_bits) for x in (gate, up))
            )
            protocol, formats = self._activation(kind, p.gate)
            index = self._index(protocol, formats, x)
            product = protocol(executor, kind, formats, x, index, factor)
            product = in_scale(executor, product, 2 * p.gate, formats.ring_bits)
            return executor.one(ToServerHeld(), truncate_locally(executor, product, p.held))

    def _index(self, protocol: ActivationProtocol, formats: ActivationFormats, x: Share) -> Share:
        """What an activation's table is read at."""
        if not protocol.indexed:
            return x
        (index,) = narrow(self.executor, (x, formats.index_frac, formats.index_bits))
        return index

    def _activation(
        self, kind: ActivationKind, frac_bits: int
    ) -> tuple[ActivationProtocol, ActivationFormats]:
        """The plan's protocol for it, and the fixed-point formats around it."""
        ffn, protocol = self._activation_widths, self._suite.activations[kind]
        exact_truncation = self.executor.exact_truncation
        return protocol, activation_formats(
            protocol, ffn, self._precision, frac_bits, exact_truncation=exact_truncation
        )

    # -- the answer ------------------------------------------------------------------------------------------

    @property
    def _activation_widths(self) -> FfnWidths:
        """Of the FFN at hand, or of the pooler."""
        return self._widths.pooler if self.site.part == "pooler" else self._widths.ffn(self._layer)

    def sum_tokens(self, x: Share) -> Share:
        """In a ring that holds it (`Widths.head_bits`)."""
        if self._widths.padded:
            return sum_without_padding(self.executor, x, self._padding)
        turned = self.executor.map(x, lambda v: v.transpose(-1, -2))
        return self.executor.map(self.executor.sum_last(turned), lambda v: v.transpose(-1, -2))

    def head(self, x: Share, table: Matrix, tied: bool, bias: Matrix | None = None) -> Share:
        """The bias is kept with the table."""
        if not (self._config.final_norm or self._config.head_input):
            x = self._in_ring(x, self._widths.head_bits)
        return self.executor.one(Linear(table, transposed=tied, held=Held.SERVER_HELD), x)

    def open_logits(self, logits: Share) -> torch.Tensor | None:
        """The logits at the client, cut to a few fraction bits where truncation is probabilistic."""
        with self.span("output", "output"):
            if not self.executor.exact_truncation:
                logits = self.executor.truncate(logits, logits.frac_bits - self._widths.logits_frac)
                logits = self.executor.reduce(logits, self._widths.logits_bits)
            opened = self.executor.one(RevealToClient(), logits)
        if opened.value.device.type == "meta":
            return None
        return signed(opened.value, opened.ring_bits).double() / 2.0**opened.frac_bits

    # -- what this suite computes inside of larger steps -------------------------------------------------

    def matmul(self, a: Share, b: Share) -> Share:
        raise ConfigError("products of secrets are part of `attention` here")

    def attention_weights(
        self, scores: Share, start: int, form: AttentionForm, epsilon: Matrix | None = None
    ) -> Share:
        raise ConfigError("attention weights are part of `attention` here")

    def mul(self, a: Share, b: Share) -> Share:
        raise ConfigError("products of activations are part of `gated` here")

    @property
    def _layer(self) -> int:
        layer = self.site.layer
        assert layer is not None, "no operation of a block"
        return layer
