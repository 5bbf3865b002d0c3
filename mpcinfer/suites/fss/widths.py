"""Widths of the FSS suite: from the ranges of values to their rings and fraction bits.

A value needs only the ring of whoever reads it next. Going backwards from a reader that wants `w` bits at `f`
fraction bits, a producer whose result has `g` fraction bits must compute in w + g - f bits: truncation
drops bits at the low end and nothing adds any at the top (views do, see `protocols/fss/gates/polynomial.py`).

Ranges come from `mpcinfer calibrate` with the margins below; shapes without weights take `PROFILE`.
"""

from __future__ import annotations

import math
from functools import cached_property

from mpcinfer.models.bounds import ACTIVATION_MARGIN, PROFILE, integer_bits
from mpcinfer.models.folded import query_exponent
from mpcinfer.models.site import InnerNorm
from mpcinfer.suites.fss.attention_widths import AttentionWidths, NormWidths, Weighting
from mpcinfer.suites.fss.ffn_widths import FfnWidths, product_bits
from mpcinfer.suites.fss.inner_norm_widths import InnerNormWidths, inner_norm_widths
from mpcinfer.suites.fss.precision import RING_BITS, fits, ring
from mpcinfer.suites.fss.shared_widths import SharedWidths
from mpcinfer.suites.fss.state_widths import StateWidths, prefix_widths, published_bits, state_widths
from parties.errors import RangeError

RESIDUAL_WRITERS = ("attn.out.weight", "ffn.out.weight")


class Widths(SharedWidths):
    """Widths of a model's formats. Arguments and errors as `SharedWidths`."""

    @cached_property
    def _attentions(self) -> dict[int, AttentionWidths]:
        return {}

    @cached_property
    def _ffns(self) -> dict[int, FfnWidths]:
        return {}

    @cached_property
    def _inner_norms(self) -> dict[tuple[int, InnerNorm], InnerNormWidths]:
        return {}

    # -- the embedding, the head ----------------------------------------------------------------------------

    @property
    def residual_gain_frac(self) -> int:
        """Fraction bits of the gains through which a residual reads norms that come last."""
        return self.precision.weight

    @cached_property
    def pooler(self) -> FfnWidths:
        """The matrix and the activation before the classes."""
        return self._mlp("head.pooler", self._last_norm, "head.logits/head", self._profile.logits)

    @property
    def _last_norm(self) -> str:
        return f"layer{self.config.layers - 1}.norm2"

    @cached_property
    def input_bits(self) -> int:
        """The matrix before the final norm, whose result is truncated into the residual's ring; where there
        is no norm the head reads it as it is."""
        if not self.config.final_norm:
            return self.head_bits
        return fits(self.residual_bits + self.precision.weight, "head.input")

    @cached_property
    def embedding_bits(self) -> int:
        """Token rows, plus positions where they are learned."""
        usual = self._profile.embedding
        largest = max(self._seen.largest("embedding/embed", usual), 2.0**-4)
        if self.config.positions == "learned":
            largest = max(largest, self._seen.largest("embedding/add_positions", usual))
        return ring(largest, self.precision.embedding, slack=2, what="the embedding")

    @cached_property
    def head_norm(self) -> NormWidths:
        """The final norm."""
        return self._norm("head.norm" if self.config.norm_order == "pre" else self._last_norm)

    @cached_property
    def gain_frac(self) -> int:
        """Fraction bits of the final norm's gain: as the head's ring leaves room for, at most a weight's."""
        room = RING_BITS - self._head_bits(0)
        if room < 1:
            raise RangeError(f"the logits need {RING_BITS + 1 - room} bits, a ring has at most {RING_BITS}")
        return min(room, self.precision.weight)

    @cached_property
    def head_bits(self) -> int:
        """Norm gain, or the matrix of a head without a norm, and vocabulary are two linear layers on one
        server-held value; pooled rows are the last norm's, or as many of them as there may be tokens."""
        if self.config.head == "embedding":
            return fits(
                integer_bits(self._pooled) + self.head_norm.held + self.residual_gain_frac + 2, "head"
            )
        if self.config.pooler != "none":
            return self.pooler.out_bits
        if not self.config.final_norm:
            return self._head_bits(0)
        return self._head_bits(self.gain_frac) - self.head_norm.dropped_bits

    def _head_bits(self, gain_frac: int) -> int:
        p = self.precision
        table = p.embedding if self.config.tied_head else p.weight
        if self.config.final_norm:
            read = self.head_norm.input_frac + self.head_norm.frac + gain_frac
        else:
            read = p.residual + (p.weight if self.config.head_input else 0)
        return integer_bits(self._seen.largest("head.logits/head", PROFILE.logits)) + read + table + 1

    @cached_property
    def _pooled(self) -> float:
        """How large pooled rows get: the last norm's, summed where the mean is wanted."""
        terms = self.max_context if self.config.pooling == "mean" else 1
        return self._seen.largest(f"{self._last_norm}/norm", self._profile.normed) * terms

    @property
    def logits_frac(self) -> int:
        """Fraction bits of the logits, or of pooled rows, as they go to the client."""
        return self.precision.pooled if self.config.head == "embedding" else self.precision.logits

    @cached_property
    def logits_bits(self) -> int:
        """Ring bits of the logits, or of pooled rows, as they go to the client."""
        if self.config.head == "embedding":
            return ring(self._pooled, self.logits_frac, slack=1, what="pooled rows")
        return ring(
            self._seen.largest("head.logits/head", PROFILE.logits),
            self.precision.logits,
            slack=1,
            what="the logits",
        )

    # -- layers --------------------------------------------------------------------------------------------

    def attention(self, layer: int) -> AttentionWidths:
        """Rings of a layer's attention."""
        if layer not in self._attentions:
            self._attentions[layer] = self._attention(layer)
        return self._attentions[layer]

    def ffn(self, layer: int) -> FfnWidths:
        """Rings of a layer's FFN."""
        if layer not in self._ffns:
            self._ffns[layer] = self._ffn(layer)
        return self._ffns[layer]

    def _attention(self, layer: int) -> AttentionWidths:
        config, p = self.config, self.precision
        prefix = f"layer{layer}.attn"
        weights = self._weightings[layer]
        (integer, product), score_bits = self._scores(weights)
        qkv = self._seen.largest(f"{prefix}.qkv/linear", PROFILE.linear)
        mix_bits = ring(weights.largest_mix, weights.frac + p.value, slack=2, what=f"{prefix}.mix")
        norm, scale, limit = self._read(self.config.norm_before(layer, "attn"))
        turned = scale + (0 if config.qk_norm else self._turning(layer))
        by_position = config.temperature == "position"
        scaled = turned + (p.weight if by_position else 0)
        qkv = max(qkv, self._seen.largest(f"{prefix}/temper", PROFILE.linear) if by_position else 0.0)
        own = integer_bits(qkv) + scaled + 2
        # Queries come divided by sqrt(K), both of a Gaussian kernel by its root.
        exponent = query_exponent(config)
        moved = exponent if config.attention == "gaussian" else 0
        dropped = scaled - exponent - p.query, turned - moved - p.key, scale - p.value
        state = self._state(weights, max(qkv, weights.scores), prefix)
        needs = [
            bits + drop
            for bits, drop in zip(published_bits(score_bits, mix_bits, state), dropped, strict=True)
        ]
        products, values = max(needs[:2]), needs[2]
        extended = (products > limit, values > limit)
        if config.qk_norm:
            inner = [self.inner_norm(layer, part) for part in ("attn.q_norm", "attn.k_norm")]
            products, extended = 0, (any(each.extended for each in inner), values > limit)
            qkv = max([qkv, *(self._seen.largest(f"{prefix}.{n}_norm/norm", PROFILE.linear) for n in "qk")])
        qkv_bits = max([own, *(need for need in (products, values) if need <= limit)])
        finer = self._finer(limit - qkv_bits)
        frac, what = self._quotient_frac(weights), f"{prefix}.out"
        out = self._seen.largest(f"{prefix}.out/linear", self._profile.residual)
        writing, reopened = self._writing(weights), not self._has_room(weights)
        out_bits = self._into_residual(out, frac + writing, what)
        alone = ring(weights.output, weights.mixed + weights.inverse, slack=2, what=what)
        held = frac if reopened else self._held(frac)
        return AttentionWidths(
            norm=norm,
            weighting=weights,
            qkv_bits=fits(qkv_bits + finer, f"{prefix}.qkv") - norm.dropped_bits,
            reading=p.weight + finer,
            extended=extended,
            qkv_integer=integer_bits(qkv) + 2,
            score_bits=score_bits,
            score_integer=integer,
            product_integer=product,
            mix_bits=mix_bits,
            state=state,
            sum_bits=ring(weights.largest_sum, weights.frac, slack=2, what=f"{prefix}: row sums"),
            quotient_bits=alone if reopened else out_bits,
            held=held,
            reopened=reopened,
            writing=writing,
            out_bits=out_bits - (frac - held),
        )

    def _state(self, weights: Weighting, largest: float, what: str) -> StateWidths | None:
        """RoPE turns numbers up to `largest` into such up to sqrt(2) of it."""
        read = max(weights.largest_mix, weights.largest_sum)
        if weights.hidden_keys:
            return prefix_widths(read, weights.frac, self.precision, what)
        if not self._states:
            return None
        return state_widths(read, math.sqrt(2) * largest, self.precision, self.max_context, what)

    def _scores(self, weights: Weighting) -> tuple[tuple[int, int], int]:
        """Integer bits of scores, and of them before their cap; the ring of queries and keys that they are
        products of."""
        p, softmax = self.precision, self.config.attention == "softmax"
        integer = integer_bits(weights.scores + (2.0 ** (p.step + 1) if softmax else 0.0))
        product = integer_bits(weights.products) if weights.products else integer
        # What reads scores of other kinds reads them into wider rings.
        return (integer, product), product + p.query + p.key + (1 + self._exact_truncation if softmax else 2)

    def _turning(self, layer: int) -> int:
        """Fraction bits that RoPE adds."""
        return 0 if self.config.rope(layer) is None else self.precision.rotation

    def inner_norm(self, layer: int, part: InnerNorm) -> InnerNormWidths:
        """A norm of a layer's queries or keys, or of what its attention or FFN adds."""
        if (layer, part) not in self._inner_norms:
            self._inner_norms[layer, part] = self._inner_norm(layer, part)
        return self._inner_norms[layer, part]

    def _inner_norm(self, layer: int, part: InnerNorm) -> InnerNormWidths:
        label, p, seen = f"layer{layer}.{part}", self.precision, self._seen
        if part in ("attn.post", "ffn.post"):
            bits = self.residual_bits
            return inner_norm_widths(
                self._norm(label),
                open_bits=bits,
                own=integer_bits(seen.largest(f"{label}/norm", PROFILE.residual)) + 2,
                needed=bits - p.residual,
                moved=0,
                weight=p.weight,
                what=label,
            )
        read, moved = p.key, self._turning(layer)
        if part == "attn.q_norm":
            read, moved = p.query, moved - query_exponent(self.config)
        linear = seen.largest(f"layer{layer}.attn.qkv/linear", PROFILE.linear)
        return inner_norm_widths(
            self._norm(label, width=self.config.head_width),
            open_bits=ring(linear, p.residual, slack=2, what=label),
            own=integer_bits(seen.largest(f"{label}/norm", PROFILE.linear)) + 2,
            needed=self._scores(self._weightings[layer])[1] - read,
            moved=moved,
            weight=p.weight,
            what=label,
        )

    def _ffn(self, layer: int) -> FfnWidths:
        config, p = self.config, self.precision
        prefix = f"layer{layer}.ffn"
        norm, scale, _ = self._read(self.config.norm_before(layer, "ffn"))
        if config.ffn == "fused":
            out = self._into_residual(0.0, scale, f"{prefix}.out") - norm.dropped_bits
            return FfnWidths(
                norm=norm,
                in_bits=out,
                reading=p.weight,
                largest=0.0,
                preactivation_bits=1,
                index_bits=1,
                activation_bits=out,
                out_bits=out,
            )
        out = self._seen.largest(f"{prefix}.out/linear", self._profile.residual)
        if config.ffn == "glu":
            return self._glu(prefix, norm, scale, out)
        out_bits = self._into_residual(out, p.activation + p.weight, f"{prefix}.out")
        return self._activated(prefix, norm, scale, p.activation, (out_bits, out_bits))

    def _glu(self, prefix: str, norm: NormWidths, scale: int, out: float) -> FfnWidths:
        """A gated unit, which writes numbers up to `out`."""
        p = self.precision
        largest = self._seen.largest(f"{prefix}.in/linear", self._profile.pre_activation)
        out_bits = self._into_residual(out, 2 * p.gate + p.weight, f"{prefix}.out")
        activated = max(out_bits, product_bits(self._seen, p, prefix, largest, out_bits))
        out_bits = activated - (2 * p.gate - self._held(2 * p.gate))
        return self._activated(prefix, norm, scale, p.gate, (activated, out_bits))

    def _mlp(self, prefix: str, read: str, written: str, usual: float) -> FfnWidths:
        """A linear layer and an activation before the linear layer that ends a model.

        Args:
            read, written: the norm's label, and that of what the last layer gives; `usual`, for a shape.
        """
        p, (norm, scale, _) = self.precision, self._read(read)
        largest = self._seen.largest(written, usual)
        out = ring(largest, p.activation + p.weight, slack=2, what=written)
        return self._activated(prefix, norm, scale, p.activation, (out, out))

    def _activated(
        self, prefix: str, norm: NormWidths, scale: int, fraction: int, out: tuple[int, int]
    ) -> FfnWidths:
        """Rings around an activation of `fraction` fraction bits, and after it: of its result, and of what
        the next layer reads."""
        p, (activated, out_bits) = self.precision, out
        label, usual = f"{prefix}.in/linear", self._profile.pre_activation
        largest = self._seen.largest(label, usual)
        preactivation_bits = ring(largest, fraction, slack=2, what=f"{prefix}.in")
        in_bits = max(preactivation_bits + scale - fraction, integer_bits(largest) + scale + 2)
        finer = self._finer(RING_BITS - in_bits)
        return FfnWidths(
            norm=norm,
            in_bits=fits(in_bits + finer, f"{prefix}.in") - norm.dropped_bits,
            reading=p.weight + finer,
            largest=self._seen.largest(label, usual, ACTIVATION_MARGIN),
            preactivation_bits=preactivation_bits,
            index_bits=integer_bits(largest) + p.index + 1,
            activation_bits=activated,
            out_bits=out_bits,
        )

    def reader_bits(self, name: str) -> int | None:
        """The ring in which a layer reads a residual that the server holds; None for layers that do not."""
        if name == "head.input.weight":
            return self.input_bits
        if self.config.block_norms:
            return None
        layer, part = name.split(".", 1)
        index = int(layer.removeprefix("layer"))
        if part == "attn.qkv.weight":
            return self.attention(index).qkv_bits
        reads = part == "ffn.in.weight" or (part == "ffn.out.weight" and self.config.ffn == "fused")
        return self.ffn(index).in_bits if reads else None
