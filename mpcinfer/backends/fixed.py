"""Fixed point in the clear: what a private run computes, without the sharing.

Shape legend: B batch, T tokens of this step, S tokens so far, D model, H heads, K head width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache

import torch

from mpcinfer.backends.fixed_functions import (
    EPSILON_BITS,
    activate,
    capped_scores,
    causal_exponentials,
    causal_powers,
    causal_relu,
    causal_softmax,
    exp_of_minus,
    normalise,
    rope_table,
    with_half_squares,
)
from mpcinfer.backends.fixed_state import fixed_squares_with_state, fixed_state
from mpcinfer.backends.tensors import TensorBackend
from mpcinfer.models.attention_state import AttentionState
from mpcinfer.models.config import ActivationKind, AttentionForm, NormKind
from mpcinfer.models.rope import Rope
from mpcinfer.models.turning import Turning
from parties.errors import ConfigError
from protocols import fixed_point
from protocols.fixed_point import decode
from protocols.typed_tokens import rows_of


class FixedBackend(TensorBackend):
    """Runs a decoder on Z_2^64: activations and weights are int64 tensors with `frac_bits` fraction bits.

    Sums are exact. Every product (linear layers, attention, gating, RoPE, public factors, norm weights) is an
    exact integer product followed by one exact truncation: less than one unit of the last place below the
    true product of its fixed-point factors, never above. Attention weights, the activations and the row norm
    before its weight are the true functions of their fixed-point inputs, rounded to nearest
    (`fixed_functions`); a protocol that approximates them is measured against these.

    Nothing wraps: an entry that reaches 2^62, before truncation, raises RangeError with the span path and the
    operation, e.g. ``layer3.ffn.out: linear``. Results do not depend on threads, on batching or on the cache.
    """

    def __init__(self, frac_bits: int = 16) -> None:
        """Raises ConfigError unless `frac_bits` is from 0 to 30."""
        fixed_point.check_frac_bits(frac_bits)
        self.frac_bits = frac_bits
        self._path: list[str] = []

    def load(self, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Float weights to ring elements, rounded to nearest, 8 bytes a weight; epsilons with `EPSILON_BITS`.

        Raises:
            RangeError: a weight does not fit; the message names it.
        """
        encoded = {
            name: fixed_point.encode(w, self._weight_bits(name), f"weight {name}")
            for name, w in weights.items()
        }
        if "embed.tokens" in encoded:
            # Kept column by column: a tied head multiplies by the transpose, ten times faster this way.
            encoded["embed.tokens"] = encoded["embed.tokens"].T.contiguous().T
        return encoded

    @contextmanager
    def span(self, name: str, kind: str = "") -> Generator[None]:
        self._path.append(name)
        try:
            yield
        finally:
            self._path.pop()

    def tokens(self, ids: Sequence[int] | None, count: int) -> torch.Tensor:
        assert ids is not None
        assert len(ids) == count
        return torch.tensor([list(ids)], dtype=torch.int64)

    def embed(self, tokens: torch.Tensor, table: torch.Tensor, types: int = 1) -> torch.Tensor:
        return rows_of(tokens, table, types)

    def add_positions(self, x: torch.Tensor, table: torch.Tensor, start: int) -> torch.Tensor:
        positions = table[start : start + x.shape[-2]]
        return fixed_point.add(x, positions, self.frac_bits, self._name("positions"))

    def linear(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return self._affine(self._matmul(x, weight, "linear"), bias)

    def matmul(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self._matmul(a, b, "matmul")

    def attention_weights(
        self, scores: torch.Tensor, start: int, form: AttentionForm, epsilon: torch.Tensor | None = None
    ) -> torch.Tensor:
        bits, name, patterns = self.frac_bits, self._name(form.kind), form.patterns
        if form.kind == "softmax":
            return causal_softmax(
                scores, start, bits, name, window=form.window, causal=form.causal, patterns=patterns
            )
        if form.kind == "relu":
            return causal_relu(scores, start, bits, name, patterns)
        if form.kind == "gaussian":
            return causal_exponentials(scores, start, bits, name, patterns)
        per_key = form.epsilon if epsilon is None else decode(epsilon, EPSILON_BITS)[:, None, None]
        return causal_powers(scores, start, form.power, per_key, bits, name, patterns)

    def kernel_inputs(self, q: torch.Tensor, k: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return with_half_squares(q, k, self.frac_bits, self._name("kernel"))

    def attention(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        start: int,
        form: AttentionForm,
        offset: torch.Tensor | None = None,
        epsilon: torch.Tensor | None = None,
        *,
        state: AttentionState[torch.Tensor] | None = None,
    ) -> torch.Tensor:
        if state is None:
            return super().attention(q, k, v, start, form, offset, epsilon)
        if state.features != "pairs":
            raise ConfigError(f"fixed point: no attention over a state of features {state.features!r}")
        bits, name = self.frac_bits, self._name("state")
        scores = self.add_offset(self.matmul(q, self.transpose(k)), offset, form.shift)
        per_key = form.epsilon if epsilon is None else decode(epsilon, EPSILON_BITS)[:, None, None]
        shifted = offset is not None or bool(form.shift)
        return fixed_squares_with_state(
            q, scores, v, start, form, state, per_key, bits, name, shifted=shifted
        )

    def into_state(
        self,
        state: AttentionState[torch.Tensor] | None,
        k: torch.Tensor,
        v: torch.Tensor,
        form: AttentionForm,
        offset: torch.Tensor | None,
    ) -> AttentionState[torch.Tensor]:
        column = None
        if offset is not None or form.shift:
            column = self.add_offset(torch.zeros(1, 1, 1, dtype=torch.int64), offset, form.shift)
        return fixed_state(state, k, v, column, self.frac_bits, self._name("state"))

    def cap_scores(self, scores: torch.Tensor, start: int, form: AttentionForm) -> torch.Tensor:
        return capped_scores(scores, form.cap, self.frac_bits, self._name("cap"))

    def weigh_columns(self, scores: torch.Tensor, form: AttentionForm) -> torch.Tensor:
        if self.column_weights is None:
            return scores
        if form.kind != "softmax":
            raise ConfigError(f"prompt weights in fixed point are for softmax attention, not for {form.kind}")
        name, logs = self._name("weights"), self.column_weights.centred(scores.shape[-1])[:, None, None]
        encoded = fixed_point.encode(logs, self.frac_bits, name)
        return fixed_point.add(scores, encoded, self.frac_bits, name)

    def add_offset(self, scores: torch.Tensor, offset: torch.Tensor | None, shift: float) -> torch.Tensor:
        name = self._name("offset")
        if offset is not None:
            scores = fixed_point.add(scores, offset[:, None, None], self.frac_bits, name)
        if not shift:
            return scores
        encoded = torch.tensor(fixed_point.encode_number(shift, self.frac_bits, name))
        return fixed_point.add(scores, encoded, self.frac_bits, name)

    def apply_temperature(self, q: torch.Tensor, log_temperature: torch.Tensor, start: int) -> torch.Tensor:
        rows = log_temperature[:, start : start + q.shape[-2], None]
        return self._mul(q, exp_of_minus(rows, self.frac_bits, self._name("temperatures")), "temper")

    def norm(
        self,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        kind: NormKind,
        eps: float,
    ) -> torch.Tensor:
        name = self._name(kind)
        rows = normalise(x, centre=kind == "layernorm", eps=eps, frac_bits=self.frac_bits, name=name)
        scaled = rows if weight is None else self._mul(rows, weight, f"{kind} weight")
        return self._affine(scaled, bias)

    def activation(self, x: torch.Tensor, kind: ActivationKind) -> torch.Tensor:
        return activate(x, kind, self.frac_bits, self._name(kind))

    def mul(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self._mul(a, b, "mul")

    def add(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return fixed_point.add(a, b, self.frac_bits, self._name("add"))

    def scale(self, x: torch.Tensor, factor: float) -> torch.Tensor:
        encoded = fixed_point.encode_number(factor, self.frac_bits, self._name("factor"))
        return self._mul(x, torch.tensor(encoded), "scale")

    def rope(self, x: torch.Tensor, start: int, rope: Rope) -> torch.Tensor:
        cos, sin = _encoded_rope_table(rope, x.shape[-2], start, self.frac_bits)
        turning = Turning(rope)
        first, second = turning.first(x), turning.second(x)
        turned = (self._rotate(first, cos, second, -sin), self._rotate(second, cos, first, sin))
        return torch.cat([turning.placed(torch.cat(turned, dim=-1)), turning.rest(x)], dim=-1)

    def diagonal(
        self,
        x: torch.Tensor,
        gain: torch.Tensor,
        bias: torch.Tensor | None,
        mean: torch.Tensor | None = None,
    ) -> torch.Tensor:
        assert mean is None
        return self._affine(self._mul(x, gain, "diagonal"), bias)

    def sum_tokens(self, x: torch.Tensor) -> torch.Tensor:
        ones = torch.ones(1, x.shape[-2], dtype=torch.int64)
        return fixed_point.matmul(ones, x, self.frac_bits, self._name("sum"))

    def head(
        self, x: torch.Tensor, table: torch.Tensor, tied: bool, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        return self._affine(self._matmul(x, table.T if tied else table, "head"), bias)

    def open_logits(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits in float64, exactly."""
        return fixed_point.decode(logits, self.frac_bits)

    def _weight_bits(self, name: str) -> int:
        return EPSILON_BITS if name.endswith("attn.epsilon") else self.frac_bits

    def _name(self, operation: str) -> str:
        """The span path and the operation, for messages."""
        return f"{'.'.join(self._path) or 'outside any span'}: {operation}"

    def _matmul(self, a: torch.Tensor, b: torch.Tensor, operation: str) -> torch.Tensor:
        product = fixed_point.matmul(a, b, 2 * self.frac_bits, self._name(operation))
        return fixed_point.truncate(product, self.frac_bits)

    def _mul(self, a: torch.Tensor, b: torch.Tensor, operation: str) -> torch.Tensor:
        product = fixed_point.mul(a, b, 2 * self.frac_bits, self._name(operation))
        return fixed_point.truncate(product, self.frac_bits)

    def _affine(self, product: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        if bias is None:
            return product
        return fixed_point.add(product, bias, self.frac_bits, self._name("bias"))

    def _rotate(self, a: torch.Tensor, p: torch.Tensor, b: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
        """a * p + b * q with one truncation."""
        bits, name = 2 * self.frac_bits, self._name("rope")
        products = fixed_point.mul(a, p, bits, name), fixed_point.mul(b, q, bits, name)
        return fixed_point.truncate(fixed_point.add(*products, bits, name), self.frac_bits)


@lru_cache(maxsize=16)
def _encoded_rope_table(
    rope: Rope, tokens: int, start: int, frac_bits: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """`rope_table` as ring elements; every layer asks for the same one."""
    cos, sin = rope_table(rope, tokens, start)
    return fixed_point.encode(cos, frac_bits, "rope cosines"), fixed_point.encode(
        sin, frac_bits, "rope sines"
    )
