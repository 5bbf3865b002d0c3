"""How far a fixed-point run may be from a float run, worked out operation by operation."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mpcinfer.backends.base import Backend
from mpcinfer.backends.fixed import FixedBackend
from mpcinfer.backends.fixed_functions import EPSILON_BITS
from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.config import ActivationKind, AttentionForm, NormKind
from mpcinfer.models.rope import Rope
from protocols.fixed_point import decode
from tests.mpcinfer.turned import rope_partner

FLOAT_SLACK = 2.0**-30
"""Float64's own error in a softmax or norm over up to 2^12 entries: `fixed_functions` states S * 2^-48, and
D * 2^-48 relative of a number up to sqrt(D)."""

SLOPE = {"gelu": 1.13, "gelu_tanh": 1.13, "silu": 1.1, "relu": 1.0, "identity": 1.0}
"""No activation is steeper: both forms of GELU reach 1.129 (near sqrt 2), SiLU 1.0998."""


@dataclass(frozen=True)
class Bounded:
    """The float value, and how far the fixed-point value may be from it, entry by entry."""

    value: torch.Tensor
    error: torch.Tensor

    def map(self, function: object) -> Bounded:
        """The same rearrangement of both."""
        assert callable(function)
        return Bounded(function(self.value), function(self.error))


class ErrorBoundBackend(Backend[Bounded, torch.Tensor]):
    """PlainBackend on float64 weights, with a proven bound on what FixedBackend differs from it by.

    With u = 2^-frac_bits, three things go wrong in fixed point: a weight, a table entry or a public factor is
    off by at most u/2 (rounding to nearest); a product loses less than u (floor); a function's result is off
    by at most u/2. A product of factors a and b, off by e and d, is off by at most |a| d + (|b| + d) e. Each
    method carries this through its operation; nothing is estimated.
    """

    def __init__(self, frac_bits: int, *, exact_weights: bool = False) -> None:
        """`exact_weights`: the weights given are what the fixed-point run holds, not rounded any more."""
        self.plain = PlainBackend()
        self.unit = 2.0**-frac_bits
        self.half = self.unit / 2
        self.weight_error = 0.0 if exact_weights else self.half

    def tokens(self, ids: Sequence[int] | None, count: int) -> Bounded:
        value = self.plain.tokens(ids, count)
        return Bounded(value, torch.zeros_like(value))

    def embed(self, tokens: Bounded, table: torch.Tensor, types: int = 1) -> Bounded:
        value = self.plain.embed(tokens.value, table)
        return Bounded(value, torch.full_like(value, self.weight_error))

    def add_positions(self, x: Bounded, table: torch.Tensor, start: int) -> Bounded:
        return Bounded(self.plain.add_positions(x.value, table, start), x.error + self.weight_error)

    def linear(self, x: Bounded, weight: torch.Tensor, bias: torch.Tensor | None) -> Bounded:
        bias_error = 0.0 if bias is None else self.weight_error
        error = self._product_error(x, Bounded(weight, torch.full_like(weight, self.weight_error)))
        return Bounded(self.plain.linear(x.value, weight, bias), error + bias_error)

    def matmul(self, a: Bounded, b: Bounded) -> Bounded:
        return Bounded(self.plain.matmul(a.value, b.value), self._product_error(a, b))

    def add_offset(self, scores: Bounded, offset: torch.Tensor | None, shift: float) -> Bounded:
        error = scores.error + (0.0 if offset is None else self.weight_error) + (self.half if shift else 0.0)
        return Bounded(self.plain.add_offset(scores.value, offset, shift), error)

    def apply_temperature(self, q: Bounded, log_temperature: torch.Tensor, start: int) -> Bounded:
        """exp of a logarithm that is off by e is off by a factor of exp(e), and by half a unit."""
        factor = torch.exp(-log_temperature[:, start : start + q.value.shape[-2], None])
        off = torch.full_like(factor, math.expm1(self.weight_error)) * factor + self.half
        return self.mul(q, Bounded(factor, off))

    def attention_weights(
        self, scores: Bounded, start: int, form: AttentionForm, epsilon: torch.Tensor | None = None
    ) -> Bounded:
        """Scores off by at most e change a numerator and the denominator by a factor within exp(+-e) each."""
        if form.kind != "softmax":
            return self._other_weights(scores, start, form, epsilon)
        weights = self.plain.attention_weights(scores.value, start, form)
        hidden = torch.ones(weights.shape[-2:], dtype=torch.bool).triu(start + 1)
        largest = scores.error.masked_fill(hidden, 0.0).amax(dim=-1, keepdim=True)
        error = weights * torch.expm1(2 * largest) + self.half + FLOAT_SLACK
        return Bounded(weights, error.masked_fill(hidden, 0.0))

    def _other_weights(
        self, scores: Bounded, start: int, form: AttentionForm, epsilon: torch.Tensor | None
    ) -> Bounded:
        """max(s, 0) / L. Or w = a / A, a = s^p off by (|s| + e)^p - a, A the sum plus epsilon L: w is off by
        (error of a + w times that of A) over the least A."""
        weights = self.plain.attention_weights(scores.value, start, form, epsilon)
        hidden = torch.ones(weights.shape[-2:], dtype=torch.bool).triu(start + 1)
        lengths = torch.arange(start + 1, start + weights.shape[-2] + 1)[:, None]
        size, e = (t.masked_fill(hidden, 0.0) for t in (scores.value.abs(), scores.error))
        if form.kind == "relu":
            error = e / lengths
        else:
            powers, wide = size**form.power, (size + e) ** form.power
            narrow = (size - e).clamp(min=0) ** form.power
            per_key = form.epsilon if epsilon is None else epsilon[:, None, None]
            off = torch.maximum(wide - powers, powers - narrow)
            least = narrow.sum(-1, keepdim=True) + (per_key - 2.0**-41) * lengths
            error = (off + weights * (off.sum(-1, keepdim=True) + 2.0**-41 * lengths)) / least
        return Bounded(weights, (error + self.half + FLOAT_SLACK).masked_fill(hidden, 0.0))

    def norm(
        self, x: Bounded, weight: torch.Tensor | None, bias: torch.Tensor | None, kind: NormKind, eps: float
    ) -> Bounded:
        """Root r is the length of (c / sqrt D, sqrt eps), so an error e of c moves it by at most rms(e)."""
        c, e = x.value, x.error
        if kind == "layernorm":
            c, e = c - c.mean(-1, keepdim=True), e + e.mean(-1, keepdim=True)
        root = (c.square().mean(-1, keepdim=True) + eps).sqrt()
        moved = e.square().mean(-1, keepdim=True).sqrt()
        least = (root - moved).clamp(min=eps**0.5)
        row_error = e / least + c.abs() * moved / (root * least) + self.half + FLOAT_SLACK
        error = row_error
        if weight is not None:
            error = (row_error + (c / root).abs()) * self.weight_error + row_error * weight.abs() + self.unit
        value = self.plain.norm(x.value, weight, bias, kind, eps)
        return Bounded(value, error + (0.0 if bias is None else self.weight_error))

    def activation(self, x: Bounded, kind: ActivationKind) -> Bounded:
        rounding = 0.0 if kind in {"relu", "identity"} else self.half + FLOAT_SLACK
        return Bounded(self.plain.activation(x.value, kind), SLOPE[kind] * x.error + rounding)

    def mul(self, a: Bounded, b: Bounded) -> Bounded:
        error = a.value.abs() * b.error + (b.value.abs() + b.error) * a.error + self.unit
        return Bounded(a.value * b.value, error)

    def add(self, a: Bounded, b: Bounded) -> Bounded:
        return Bounded(a.value + b.value, a.error + b.error)

    def scale(self, x: Bounded, factor: float) -> Bounded:
        error = x.error * abs(factor) + (x.value.abs() + x.error) * self.half + self.unit
        return Bounded(x.value * factor, error)

    def rope(self, x: Bounded, start: int, rope: Rope) -> Bounded:
        """Cosine and sine are at most 1 in magnitude and off by u/2; one truncation for the two products."""
        moved = x.error + rope_partner(x.error, rope)
        sizes = x.value.abs() + rope_partner(x.value.abs(), rope) + moved
        return Bounded(self.plain.rope(x.value, start, rope), moved + sizes * self.half + self.unit)

    def split(self, x: Bounded, sizes: Sequence[int]) -> list[Bounded]:
        pieces = zip(self.plain.split(x.value, sizes), self.plain.split(x.error, sizes), strict=True)
        return [Bounded(value, error) for value, error in pieces]

    def split_heads(self, x: Bounded, heads: int) -> Bounded:
        return x.map(lambda t: self.plain.split_heads(t, heads))

    def merge_heads(self, x: Bounded) -> Bounded:
        return x.map(self.plain.merge_heads)

    def repeat_heads(self, x: Bounded, times: int) -> Bounded:
        return x.map(lambda t: self.plain.repeat_heads(t, times))

    def transpose(self, x: Bounded) -> Bounded:
        return x.map(self.plain.transpose)

    def concat_tokens(self, a: Bounded, b: Bounded) -> Bounded:
        return Bounded(self.plain.concat_tokens(a.value, b.value), self.plain.concat_tokens(a.error, b.error))

    def first_tokens(self, x: Bounded, count: int) -> Bounded:
        return x.map(lambda t: self.plain.first_tokens(t, count))

    def last_tokens(self, x: Bounded, count: int) -> Bounded:
        return x.map(lambda t: self.plain.last_tokens(t, count))

    def head(self, x: Bounded, table: torch.Tensor, tied: bool, bias: torch.Tensor | None = None) -> Bounded:
        return self.linear(x, table.T if tied else table, bias)

    def open_logits(self, logits: Bounded) -> torch.Tensor:
        return logits.value

    def _product_error(self, a: Bounded, b: Bounded) -> torch.Tensor:
        """Of a matrix product with one truncation."""
        return a.value.abs() @ b.error + a.error @ (b.value.abs() + b.error) + self.unit


OPERATIONS = (
    "add_positions", "linear", "matmul", "add_offset", "apply_temperature", "attention_weights", "norm",
    "activation", "mul", "add", "scale",
    "rope", "split_heads", "merge_heads", "repeat_heads", "transpose", "concat_tokens", "last_tokens", "head",
)  # fmt: skip
ACTIVATIONS = {"x", "a", "b", "q", "scores"}


def check_every_operation(backend: FixedBackend) -> Counter[str]:
    """From now on each operation is compared with the float one on the same (decoded) inputs.

    Raises AssertionError where a result is farther off than the operation's own error allows; an operation
    without rounding allows none. Returns how often each was checked, counting on.
    """
    checked: Counter[str] = Counter()
    for name in OPERATIONS:
        setattr(backend, name, _checked(backend, name, checked))
    return checked


def _checked(backend: FixedBackend, name: str, checked: Counter[str]) -> object:
    operation = getattr(backend, name)
    bounds = ErrorBoundBackend(backend.frac_bits, exact_weights=True)
    parameters = list(inspect.signature(getattr(bounds, name)).parameters)

    def as_float(parameter: str, argument: object) -> object:
        if not isinstance(argument, torch.Tensor):
            return argument
        real = decode(argument, EPSILON_BITS if parameter == "epsilon" else backend.frac_bits)
        return Bounded(real, torch.zeros_like(real)) if parameter in ACTIVATIONS else real

    def run(*arguments: object) -> torch.Tensor:
        result = operation(*arguments)
        named = zip(parameters, arguments, strict=True)
        true = getattr(bounds, name)(*(as_float(parameter, argument) for parameter, argument in named))
        off = (decode(result, backend.frac_bits) - true.value).abs()
        # The float64 reference itself is off by far less than 2^-40 of its largest value.
        allowed = true.error + true.value.abs().max() * 2.0**-40
        assert bool((off <= allowed).all()), f"{name} is off by {off.max() / bounds.unit:.6g} units"
        checked[name] += 1
        return result

    return run
