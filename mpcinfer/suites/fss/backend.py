"""The decoder as a program of FSS gates: a party, the dealer, the reference and the bill all run this file.

Layer norm needs no mean: the matrices that write the residual are centred in cleartext when weights are
loaded, and the embedding is centred once, so that its rows' means are zero everywhere.

Shape legend: B batch, T tokens of this step, S tokens so far, D model, H heads, K head width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch

from mpcinfer.backends.base import Backend
from mpcinfer.backends.plain import rope_angles
from mpcinfer.models.config import ActivationKind, AttentionForm, ModelConfig, NormKind, RopePairs
from mpcinfer.models.folded import query_exponent
from mpcinfer.suites.fss.attention import softmax_attention
from mpcinfer.suites.fss.attention_widths import NormWidths
from mpcinfer.suites.fss.power_attention import power_attention, relu_attention
from mpcinfer.suites.fss.range_check import plain_name
from mpcinfer.suites.fss.widths import RESIDUAL_WRITERS, Widths
from mpcinfer.suites.fss.wires import activation_wires, inverse_root
from parties.errors import ConfigError
from protocols.fss.activation_protocols import ActivationProtocol, ActivationWires
from protocols.fss.kept import Kept
from protocols.fss.kept import keep as hold_on
from protocols.fss.linear import Hold, Linear, ToClient, Veil
from protocols.fss.machine import Machine
from protocols.fss.matrix import Matrix
from protocols.fss.opening import Open
from protocols.fss.polynomial import Product, SumOfSquares
from protocols.fss.rescale import cut, deliver, keep, narrow, nearest, regain, view
from protocols.fss.ring import signed
from protocols.fss.suite import FssSuite
from protocols.fss.widening import Widen
from protocols.share import Held, Share


class FssBackend(Backend[Share, Matrix]):
    """Runs a decoder on a machine of the FSS suite.

    Args:
        machine: a party, the dealer, the reference, or a counter.
        config: the shape, norms folded.
        widths: rings and fraction bits of every wire.
        suite: the plan's protocols.
    """

    def __init__(self, machine: Machine, config: ModelConfig, widths: Widths, suite: FssSuite) -> None:
        self.machine, self._config, self._widths, self._suite = machine, config, widths, suite
        self._precision = widths.precision

    def span(self, name: str, kind: str = "") -> AbstractContextManager[object]:
        return self.machine.meter.span(name, kind)

    # -- into the residual ---------------------------------------------------------------------------------

    def tokens(self, ids: Sequence[int] | None, count: int) -> Share:
        """As the plan's embedding wants them: one-hot rows [1, T, V] held by the server, say."""
        with self.span("embedding", "embedding"):
            vocabulary, ring_bits = self._config.vocabulary, self._widths.embedding_bits
            return self._suite.embedding.tokens(self.machine, ids, count, vocabulary, ring_bits)

    def embed(self, tokens: Share, table: Matrix) -> Share:
        return self._suite.embedding.rows(self.machine, tokens, table)

    def add_positions(self, x: Share, table: Matrix, start: int) -> Share:
        """The server adds them to the value it has whole."""
        rows = table.value[start : start + x.shape[-2]]
        return x if rows.device.type == "meta" else self.machine.add_public(x, rows.to(torch.int64))

    def embedded(self, x: Share) -> Share:
        """From the embedding's narrow ring to the residual's, centred where blocks have layer norms."""
        machine, p = self.machine, self._precision
        (x,) = deliver(machine, (x, p.embedding, x.ring_bits))
        if self._bare:
            wide = self._widths.held_bits + p.embedding - p.residual
            held = machine.one(Hold(), machine.one(Product(wide), machine.view(x)))
            if p.embedding == p.residual:
                return held
            return self._kept(machine.one(Veil(), held) if machine.faithful else held)
        centred = self._config.norm == "layernorm"
        extra = math.ceil(math.log2(self._config.width)) + 4 if centred else 0
        wide = self._widths.residual_bits + (p.embedding - p.residual) + extra
        rows = machine.one(Product(wide), machine.view(x))
        if centred:
            mean = machine.mul_integer(machine.sum_last(rows), round(2**extra / self._config.width), extra)
            rows = machine.sub(machine.mul_integer(rows, 1 << extra, extra), mean)
        (rows,) = machine.apply(Open(), cut(machine, rows, p.residual))
        (rows,) = nearest(machine, (rows, p.residual, self._widths.residual_bits))
        return rows

    def add(self, a: Share, b: Share) -> Share:
        """The residual plus what a linear layer left at the server; it stays there where no norm reads it."""
        with self.span("residual", "residual"):
            if self._bare:
                return self.machine.add(a, self._kept(b))
            (b,) = deliver(self.machine, (b, self._precision.residual, self._widths.residual_bits))
            return self.machine.add(a, b)

    @property
    def _bare(self) -> bool:
        """The blocks have no norms: the residual is held by the server."""
        return not self._config.block_norms

    def _kept(self, x: Share) -> Share:
        return keep(self.machine, x, self._precision.residual, self._widths.held_bits)

    # -- linear layers, norms --------------------------------------------------------------------------------

    def linear(self, x: Share, weight: Matrix, bias: Matrix | None) -> Share:
        """The bias is kept with the weight."""
        stays = weight.name.endswith("attn.qkv.weight") and self._config.temperature == "position"
        if not self._bare:
            held = Held.SERVER_HELD if stays else Held.SERVER_MASKED
            return self.machine.one(Linear(weight, held=held), x)
        stays |= weight.name.endswith(RESIDUAL_WRITERS) and not self.machine.faithful
        name = plain_name(weight.name)
        stays |= name == "head.input.weight" and not self._config.final_norm
        held = Held.SERVER_HELD if stays else Held.SERVER_MASKED
        return self.machine.one(Linear(weight, held=held), self._in_ring(x, self._widths.reader_bits(name)))

    def _in_ring(self, x: Share, ring_bits: int | None) -> Share:
        """A residual that the server holds, in the ring of the layer that reads it; None for other values."""
        if ring_bits is None or ring_bits == x.ring_bits:
            return x
        if ring_bits < x.ring_bits:
            return self.machine.reduce(x, ring_bits)
        return regain(self.machine, x, self._widths.residual_bits, ring_bits)

    def norm(self, x: Share, weight: Matrix | None, bias: Matrix | None, kind: NormKind, eps: float) -> Share:
        """Rows over the root of their mean square, held by the server; gain and bias are a diagonal layer."""
        machine, (widths, ring_bits) = self.machine, self._norm_widths()
        if self._bare:
            (x,) = deliver(machine, (x, self._precision.residual, self._widths.residual_bits))
        rows = view(machine, x, widths.keep)
        squares = machine.one(SumOfSquares(widths.square_bits), rows)
        (squares,) = machine.apply(Open(), squares)
        width, faithful = self._config.width, machine.faithful
        root = inverse_root(widths, self._precision, width=width, eps=eps, faithful=faithful)
        (inverse,) = machine.apply(Open(), self._suite.inverse_sqrt(machine, *root, squares))
        inverse = view(machine, inverse, widths.frac)
        product = machine.one(Product(ring_bits + widths.cut), rows, inverse)
        held = machine.one(Hold(), cut(machine, product, widths.held))
        return held if weight is None else machine.one(Linear(weight, held=Held.SERVER_HELD), held)

    def _norm_widths(self) -> tuple[NormWidths, int]:
        """The norm at hand, and the ring of the layer that reads it."""
        if self.site.part == "norm":
            return self._widths.head_norm, self._widths.head_bits
        if self.site.part == "norm1":
            attention = self._widths.attention(self._layer)
            return attention.norm, attention.qkv_bits
        ffn = self._widths.ffn(self._layer)
        return ffn.norm, ffn.in_bits

    # -- attention -------------------------------------------------------------------------------------------

    def scale(self, x: Share, factor: float) -> Share:
        """Queries over sqrt(K): the binary point moves; the weights have the rest (`scale_queries`)."""
        assert factor == self._config.head_width**-0.5
        return self.machine.scaled(x, query_exponent(self._config))

    def rope(self, x: Share, start: int, base: float, pairs: RopePairs) -> Share:
        """A public linear map of what the server has whole."""
        machine, halves, bits = self.machine, pairs == "halves", self._precision.rotation
        angles = rope_angles(x.shape[-2], x.shape[-1], start, base)
        cos, sin = ((table.double() * 2.0**bits).round().to(torch.int64) for table in angles)
        half = x.shape[-1] // 2
        first = machine.map(x, lambda v: v[..., :half] if halves else v[..., 0::2])
        second = machine.map(x, lambda v: v[..., half:] if halves else v[..., 1::2])
        turned = (
            machine.sub(machine.mul_integer(first, cos, bits), machine.mul_integer(second, sin, bits)),
            machine.add(machine.mul_integer(second, cos, bits), machine.mul_integer(first, sin, bits)),
        )
        if halves:
            return machine.concat(turned, -1)
        pairwise = [machine.map(part, lambda v: v.unsqueeze(-1)) for part in turned]
        return machine.map(machine.concat(pairwise, -1), lambda v: v.flatten(-2))

    def temper(self, q: Share, log_temperature: Matrix, start: int) -> Share:
        """A linear layer of its own, of what the server took exp of (`encoded`)."""
        columns = slice(start, start + q.shape[-2])
        return self.machine.one(Linear(log_temperature, columns=columns), q)

    def attention_inputs(self, q: Share, k: Share, v: Share) -> tuple[Share, Share, Share]:
        """Published together, each in the ring of the product that reads it.

        Where the linear layer before would need over 64 bits for that, they are published in a narrow ring,
        and their upper bits opened.
        """
        p, widths = self._precision, self._widths.attention(self._layer)
        k, v = (self.machine.one(Veil(), x) if x.held is Held.SERVER_HELD else x for x in (k, v))
        wires = [
            (q, p.query, widths.score_bits),
            (k, p.key, widths.score_bits),
            (v, p.value, widths.mix_bits),
        ]
        products, values = widths.extended
        extended = (products, products, values)
        least = widths.wire_integer
        published = deliver(
            self.machine,
            *(
                (x, frac, min(least + frac, x.ring_bits - x.frac_bits + frac) if again else bits)
                for (x, frac, bits), again in zip(wires, extended, strict=True)
            ),
        )
        q, k, v = published
        if any(extended):
            again = list(zip(published, wires, extended, strict=True))
            gate = Widen(*(bits for _, (_, _, bits), narrow in again if narrow))
            wide = iter(self.machine.apply(gate, *(x for x, _, narrow in again if narrow)))
            q, k, v = (next(wide) if narrow else x for x, _, narrow in again)
        with self.span("kept", "matmul"):
            return q, hold_on(self.machine, k), hold_on(self.machine, v)

    def attention(
        self,
        q: Share,
        k: Share,
        v: Share,
        start: int,
        form: AttentionForm,
        offset: Matrix | None = None,
        epsilon: Matrix | None = None,
    ) -> Share:
        assert isinstance(k, Kept)
        assert isinstance(v, Kept)
        around = (self.machine, self._suite, q, k, v, self._widths.attention(self._layer), self._precision)
        if form.kind == "softmax":  # a number that is added to all scores of a row changes nothing
            return softmax_attention(*around)
        if form.kind == "relu":
            return relu_attention(*around, form, offset)
        return power_attention(*around, form, offset, epsilon)

    # -- FFN -------------------------------------------------------------------------------------------------

    def activation(self, x: Share, kind: ActivationKind) -> Share:
        """Of a pre-activation that the server has whole; the result is held by the server again."""
        if kind == "identity":
            return x
        machine, p, widths = self.machine, self._precision, self._widths.ffn(self._layer)
        (x,) = deliver(machine, (x, p.activation, widths.wire_bits))
        protocol, wires = self._activation(kind, p.activation)
        index = self._index(protocol, wires, x)
        bent = protocol(machine, kind, wires, x, index)
        return machine.one(Hold(), cut(machine, bent, p.activation))

    def gated(self, gate: Share, up: Share, kind: ActivationKind) -> Share:
        with self.span(kind, kind):
            machine, p, widths = self.machine, self._precision, self._widths.ffn(self._layer)
            x, factor = deliver(machine, *((x, p.gate, widths.wire_bits) for x in (gate, up)))
            protocol, wires = self._activation(kind, p.gate)
            index = self._index(protocol, wires, x)
            product = protocol(machine, kind, wires, x, index, factor)
            return machine.one(Hold(), cut(machine, product, p.held))

    def _index(self, protocol: ActivationProtocol, wires: ActivationWires, x: Share) -> Share:
        """What an activation's table is read at."""
        if not protocol.indexed:
            return x
        (index,) = narrow(self.machine, (x, wires.index_frac, wires.index_bits))
        return index

    def _activation(self, kind: ActivationKind, frac_bits: int) -> tuple[ActivationProtocol, ActivationWires]:
        """The plan's protocol for it, and the wires around it."""
        ffn, protocol = self._widths.ffn(self._layer), self._suite.activations[kind]
        faithful = self.machine.faithful
        return protocol, activation_wires(protocol, ffn, self._precision, frac_bits, faithful=faithful)

    # -- the answer ------------------------------------------------------------------------------------------

    def head(self, x: Share, table: Matrix, tied: bool) -> Share:
        if not (self._config.final_norm or self._config.head_input):
            x = self._in_ring(x, self._widths.head_bits)
        return self.machine.one(Linear(table, transposed=tied, held=Held.SERVER_HELD), x)

    def open_logits(self, logits: Share) -> torch.Tensor | None:
        """The logits at the client, cut to a few fraction bits where truncation is free."""
        with self.span("output", "output"):
            if not self.machine.faithful:
                logits = self.machine.truncate(logits, logits.frac_bits - self._precision.logits)
                logits = self.machine.reduce(logits, self._widths.logits_bits)
            opened = self.machine.one(ToClient(), logits)
        if opened.value.device.type == "meta":
            return None
        return signed(opened.value, opened.ring_bits).double() / 2.0**opened.frac_bits

    # -- moving elements -------------------------------------------------------------------------------------

    def split(self, x: Share, sizes: Sequence[int]) -> list[Share]:
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        return [
            self.machine.map(x, lambda v, at=at, size=size: v[..., at : at + size])
            for at, size in zip(starts, sizes, strict=True)
        ]

    def split_heads(self, x: Share, heads: int) -> Share:
        return self.machine.map(x, lambda v: v.reshape(*v.shape[:-1], heads, -1).transpose(-2, -3))

    def merge_heads(self, x: Share) -> Share:
        return self.machine.map(x, lambda v: v.transpose(-2, -3).flatten(-2))

    def repeat_heads(self, x: Share, times: int) -> Share:
        if times == 1:
            return x

        def repeat(v: torch.Tensor) -> torch.Tensor:
            return v.repeat_interleave(times, dim=-3)

        return x.arranged(repeat) if isinstance(x, Kept) else self.machine.map(x, repeat)

    def transpose(self, x: Share) -> Share:
        return self.machine.map(x, lambda v: v.transpose(-1, -2))

    def concat_tokens(self, a: Share, b: Share) -> Share:
        assert isinstance(a, Kept)
        assert isinstance(b, Kept)
        return a.appended(b)

    def first_tokens(self, x: Share, count: int) -> Share:
        return x.first_rows(count)

    def last_tokens(self, x: Share, count: int) -> Share:
        return self.machine.map(x, lambda v: v[..., -count:, :])

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
