"""How far a run of the FSS suite may be from the float model, worked out operation by operation.

Nothing is estimated: every method carries the worst case through its operation, whatever the masks are. What
goes wrong, with u(f) = 2^-f:

* a weight, a table or a public factor is off by u / 2 (rounding to nearest);
* a truncation to f fraction bits is off by less than u(f): probabilistic ones go up or down, exact ones down
  or to the nearest;
* look-ups are off by what their gates state; binades by (1 - 2^-m)^-p - 1 of the value, and half a unit;
* products and sums are exact.
"""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch

from mpcinfer.models.attention_state import AttentionState
from mpcinfer.models.config import ActivationKind, AttentionForm, NormKind
from mpcinfer.models.folded import query_exponent
from mpcinfer.models.rope import Rope
from mpcinfer.suites.fss.attention_widths import NormWidths
from mpcinfer.suites.fss.backend import FssBackend
from mpcinfer.suites.fss.formats import activation_formats, exponential_formats
from mpcinfer.suites.fss.widths import Widths
from mpcinfer.suites.registry import get_plan
from parties.meter import Meter
from protocols.fss.gates.range_reduction import line_error
from protocols.fss.operations.suite import FssSuite
from protocols.fss.preprocessing.matrix import Matrix
from protocols.fss.registry import resolve as resolve_fss
from protocols.share import Share
from tests.mpcinfer.attention_bounds import power_bound, relu_bound
from tests.mpcinfer.backends.error_bounds import SLOPE, Bounded, ErrorBoundBackend
from tests.mpcinfer.turned import rope_partner


class FssBounds(ErrorBoundBackend):
    """A backend of float values with bounds; weights in float64, norms folded, residual matrices centred.

    Args:
        widths: of the run.
        exact_truncation: truncations round down, and look-ups stand for the middles of their cells.
        exact_weights: the weights given are what the run holds, not rounded any more.
        meter: says in which layer a step is.
    """

    def __init__(
        self,
        widths: Widths,
        *,
        exact_truncation: bool,
        exact_weights: bool = False,
        meter: Meter | None = None,
    ) -> None:
        super().__init__(widths.precision.weight)
        self._widths, self._precision, self._exact_truncation = widths, widths.precision, exact_truncation
        self._config, self._meter = widths.config, meter or Meter(timed=False)
        self._rounded = not exact_weights
        self.half *= self._rounded

    def span(self, name: str, kind: str = "") -> AbstractContextManager[object]:
        return self._meter.span(name, kind)

    def embed(self, tokens: Bounded, table: torch.Tensor, types: int = 1) -> Bounded:
        value = self.plain.embed(tokens.value, table)
        return Bounded(value, torch.full_like(value, self._table_half))

    def add_positions(self, x: Bounded, table: torch.Tensor, start: int) -> Bounded:
        return Bounded(self.plain.add_positions(x.value, table, start), x.error + self._table_half)

    def embedded(self, x: Bounded) -> Bounded:
        """Centring: 1/D is rounded to log2(D) + 4 bits."""
        value, error, cut = x.value, x.error, self._cut(self._precision.embedding, self._precision.residual)
        if self._config.norm == "layernorm":
            cut = _unit(self._precision.residual)  # of what centring adds, at least
            mean, off = value.mean(-1, keepdim=True), error.mean(-1, keepdim=True)
            width, bits = self._config.width, math.ceil(math.log2(self._config.width)) + 4
            factor = abs(round(2**bits / width) / 2**bits - 1 / width)
            value, error = value - mean, error + off + (mean.abs() + off) * width * factor
        return Bounded(value, error + cut)

    def add(self, a: Bounded, b: Bounded) -> Bounded:
        return Bounded(a.value + b.value, a.error + b.error + _unit(self._precision.residual))

    def linear(self, x: Bounded, weight: torch.Tensor, bias: torch.Tensor | None) -> Bounded:
        value = self.plain.linear(x.value, weight, bias)
        weight_error = torch.full_like(weight, self.half)
        error = x.value.abs() @ weight_error + x.error @ (weight.abs() + weight_error)
        return Bounded(value, error + (0.0 if bias is None else self.half))

    def norm(
        self, x: Bounded, weight: torch.Tensor | None, bias: torch.Tensor | None, kind: NormKind, eps: float
    ) -> Bounded:
        """With a gain only where it is the final norm.

        (c + e) ((1 + d) / r' + h) for c / r: |r' - r| is at most the root mean square of e.
        """
        widths = self._norm_widths()
        c, e = x.value, x.error + self._cut(self._precision.residual, widths.input_frac)
        power, moved = c.square().mean(-1, keepdim=True), e.square().mean(-1, keepdim=True).sqrt()
        root = (power + eps).sqrt()
        least = (root - moved).clamp(min=eps**0.5)
        _within(power.sqrt() - moved, power.sqrt() + moved, widths.low**0.5, widths.high**0.5)
        d, h = self._range_reduction(0.5), self._inverse_half(widths.frac)
        error = e / least * (1 + d) + c.abs() * (moved / (root * least) + d / least) + (c.abs() + e) * h
        error = error + self._cut(widths.input_frac + widths.frac, widths.held)
        value = c / root
        if weight is not None:
            half = self._rounded * _unit(self._widths.gain_frac + 1)
            error = (value.abs() + error) * half + error * weight.abs()
            value = value * weight
        if bias is not None:
            value, error = value + bias, error + self.half
        return Bounded(value, error)

    def scale(self, x: Bounded, factor: float) -> Bounded:
        """The weights have what a power of two lacks."""
        moved = 2.0 ** query_exponent(self._config)
        return Bounded(x.value * moved, x.error * moved)

    def rope(self, x: Bounded, start: int, rope: Rope) -> Bounded:
        """Cosines and sines are at most 1 and off by half a unit."""
        turned, half = self.plain.rope(x.value, start, rope), _unit(self._precision.rotation + 1)
        moved = x.error + rope_partner(x.error, rope)
        sizes = x.value.abs() + rope_partner(x.value.abs(), rope) + moved
        return Bounded(turned, moved + sizes * half)

    def apply_temperature(self, q: Bounded, log_temperature: torch.Tensor, start: int) -> Bounded:
        """Given the factors, exp of minus the logarithms, which are on their grid."""
        factors = log_temperature[:, start : start + q.value.shape[-2], None]
        return Bounded(q.value * factors, q.error * factors)

    def attention_inputs(
        self, q: Bounded, k: Bounded, v: Bounded, start: int | None
    ) -> tuple[Bounded, Bounded, Bounded]:
        p = self._precision
        parts = ((q, p.query), (k, p.key), (v, p.value))
        q, k, v = (Bounded(x.value, x.error + _unit(frac)) for x, frac in parts)
        return q, k, v

    def attention(
        self,
        q: Bounded,
        k: Bounded,
        v: Bounded,
        start: int,
        form: AttentionForm,
        offset: torch.Tensor | None = None,
        epsilon: torch.Tensor | None = None,
        *,
        state: AttentionState[Bounded] | None = None,
    ) -> Bounded:
        """softmax(q k^T) v; see `_weights_error`. The reciprocal is off by d of itself and by h."""
        assert state is None
        p, widths = self._precision, self._widths.attention(int(self._meter.label.split(".")[0][5:]))
        keys = k.map(lambda t: t.transpose(-1, -2))
        scores = q.value @ keys.value
        off = q.value.abs() @ keys.error + q.error @ (keys.value.abs() + keys.error)
        if form.kind != "softmax":
            return self._other_attention(Bounded(scores, off), v, start, form, offset, epsilon)
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(start + 1)
        weights = torch.softmax(scores.masked_fill(hidden, -torch.inf), -1)
        off = off.masked_fill(hidden, 0.0).amax(-1, keepdim=True)
        counts = (~hidden).sum(-1, keepdim=True)
        wrong, (least, most) = self._weights_error(weights, off, counts)
        wrong = wrong.masked_fill(hidden, 0.0)
        value = weights @ v.value
        error = wrong @ v.value.abs() + (weights + wrong) @ v.error
        d, h, cut = (
            self._range_reduction(1.0),
            self._inverse_half(widths.weighting.inverse),
            self._cut(p.power + p.value, p.mixed),
        )
        size = value.abs() + error
        error = error + size * d + cut * (1 + d) / least + (most * size + cut) * h
        error = error + self._cut(widths.weighting.mixed + widths.weighting.inverse, widths.held)
        return Bounded(value, error)

    def _other_attention(
        self,
        scores: Bounded,
        v: Bounded,
        start: int,
        form: AttentionForm,
        offset: torch.Tensor | None,
        epsilon: torch.Tensor | None,
    ) -> Bounded:
        """Offsets, shift and epsilon are on the grid of scores, and within half a unit of it."""
        p, widths = self._precision, self._widths.attention(int(self._meter.label.split(".")[0][5:]))
        half = self._rounded * _unit(p.query + p.key + 1)
        hidden = ~torch.ones(scores.value.shape[-2:], dtype=torch.bool).tril(start)
        value = self.plain.add_offset(scores.value, offset, form.shift).masked_fill(hidden, 0.0)
        error = (scores.error + half + _unit(p.query + p.key + 1)).masked_fill(hidden, 0.0)
        lengths = torch.arange(start + 1, start + scores.value.shape[-2] + 1)[:, None]
        if form.kind == "relu":
            return relu_bound(
                Bounded(value, error), v, lengths, widths, p, exact_truncation=self._exact_truncation
            )
        per_key = form.epsilon if epsilon is None else epsilon[:, None, None]
        return power_bound(
            Bounded(value, error), v, lengths, form, per_key, widths, p, self._range_reduction(1.0)
        )

    def _weights_error(
        self, weights: torch.Tensor, off: torch.Tensor, counts: torch.Tensor
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """Bounds on errors of softmax weights, and on each row's sum of powers.

        Powers a_j = b_j (1 + t_j) + h_j with b_j = exp(score - P) of the true score: |t_j| is at most t =
        exp(off) (1 + g) - 1, with g and h >= |h_j| the gate's errors and the cut after it; P, the coarse
        maximum, is within 2^step of the row's own, so the b_j sum up to B >= exp(-2^step - off) and at most
        n exp(2^step + off). Then

            |a_j / A - b_j / B| <= ((t b_j + h) + b_j (t + n h / B)) / A,   A >= B (1 - t) - n h.
        """
        p, widths = self._precision, self._widths.attention(int(self._meter.label.split(".")[0][5:]))
        formats = exponential_formats(widths, p, coarse=True, exact_truncation=self._exact_truncation)
        g = self._suite.exponential.max_rel_error(formats)
        h = _unit(p.power + 1) + (0.0 if self._exact_truncation else _unit(p.power))
        t, reach = torch.exp(off) * (1 + g) - 1, 2.0**p.step
        least = torch.exp(-reach - off)
        h = h / least
        shrunk = 1 - t - counts * h
        assert bool((shrunk > 0).all()), "the bound says nothing: errors of scores are too large"
        wrong = (t * weights + h + weights * (t + counts * h)) / shrunk
        most = counts * torch.exp(reach + off) * (1 + t + h)
        return wrong, (least * shrunk, most)

    def activation(self, x: Bounded, kind: ActivationKind) -> Bounded:
        if kind == "identity":
            return x
        frac_bits = self._precision.activation
        bent = self._curve(x, kind, frac_bits)
        return Bounded(bent.value, bent.error + (0.0 if self._exact_truncation else _unit(frac_bits)))

    def gated(self, gate: Bounded, up: Bounded, kind: ActivationKind) -> Bounded:
        p = self._precision
        bent = self._curve(gate, kind, p.gate)
        off = up.error + _unit(p.gate)
        error = bent.value.abs() * off + (up.value.abs() + off) * bent.error
        error = error + (0.0 if self._exact_truncation else self._cut(2 * p.gate, min(p.held, 2 * p.gate)))
        return Bounded(bent.value * up.value, error)

    def _curve(self, x: Bounded, kind: ActivationKind, frac_bits: int) -> Bounded:
        assert kind != "identity"
        widths = self._widths.ffn(int(self._meter.label.split(".")[0][5:]))
        protocol = self._suite.activations[kind]
        formats = activation_formats(
            protocol, widths, self._precision, frac_bits, exact_truncation=self._exact_truncation
        )
        stated = protocol.max_abs_error(kind, formats)
        error = SLOPE[kind] * (x.error + _unit(frac_bits)) + stated
        return Bounded(self.plain.activation(x.value, kind), error)

    def head(self, x: Bounded, table: torch.Tensor, tied: bool, bias: torch.Tensor | None = None) -> Bounded:
        weight = table.T if tied else table
        weight_error = torch.full_like(weight, self._table_half if tied else self.half)
        error = x.value.abs() @ weight_error + x.error @ (weight.abs() + weight_error)
        value = x.value @ weight + (0.0 if bias is None else bias)
        return Bounded(value, error + (0.0 if self._exact_truncation else _unit(self._precision.logits)))

    @property
    def _suite(self) -> FssSuite:
        """The plans' protocols."""
        return resolve_fss(get_plan("fss-faithful" if self._exact_truncation else "fss"))

    @property
    def _table_half(self) -> float:
        """What an entry of the embedding is off by."""
        return self._rounded * _unit(self._precision.embedding + 1)

    def _range_reduction(self, power: float) -> float:
        """Largest relative error of s^-power."""
        p = self._precision
        return (
            (1 + _unit(p.exact_cells + 1)) ** power - 1
            if self._exact_truncation
            else line_error(power, p.cells)
        )

    def _inverse_half(self, frac_bits: int) -> float:
        """What an inverse is off besides: rounded values and slopes, and cut as it is read."""
        return _unit(frac_bits + 1) if self._exact_truncation else 2 * _unit(frac_bits)

    def _cut(self, have: int, keep: int) -> float:
        return 0.0 if keep == have else _unit(keep)

    def _norm_widths(self) -> NormWidths:
        label = self._meter.label
        if label.startswith("head"):
            return self._widths.head_norm
        layer = int(label.split(".")[0][5:])
        both = {"norm1": self._widths.attention(layer).norm, "norm2": self._widths.ffn(layer).norm}
        return both[label.split(".")[1]]


def _unit(frac_bits: int) -> float:
    return 2.0**-frac_bits


def _within(least: torch.Tensor, most: torch.Tensor, low: float, high: float) -> None:
    assert float(least.min()) >= low, "the bound does not hold below the norm's range"
    assert float(most.max()) <= high, "the bound does not hold above the norm's range"


# -- each step by itself -------------------------------------------------------------------------------------

OPERATIONS = (
    "add_positions", "embedded", "add", "linear", "norm", "scale", "rope", "apply_temperature",
    "attention_inputs",
    "attention", "activation", "gated", "head",
)  # fmt: skip


def check_every_operation(backend: FssBackend, widths: Widths) -> Counter[str]:
    """From now on each operation of a reference run is compared with the float one on the same numbers.

    Raises AssertionError where a result is farther off than the operation's own error allows. Returns how
    often each was checked, counting on.
    """
    executor = backend.executor
    bounds = FssBounds(
        widths, exact_truncation=executor.exact_truncation, exact_weights=True, meter=executor.meter
    )
    checked: Counter[str] = Counter()
    for name in OPERATIONS:
        operation, bound = getattr(backend, name), getattr(bounds, name)
        setattr(backend, name, _checked(name, operation, bound, checked))
    return checked


def _checked(
    name: str, operation: Callable[..., object], bound: Callable[..., object], checked: Counter[str]
) -> Callable[..., object]:
    parameters = list(inspect.signature(bound).parameters)

    def run(*arguments: object, **by_name: object) -> object:
        names = [name for name in parameters if name not in by_name]
        named = dict(zip(names, arguments, strict=True)) | by_name
        weight = named.get("weight", named.get("table"))
        if isinstance(weight, Matrix) and "bias" in named:
            named["bias"] = weight.bias
        allowed = bound(**{parameter: _as_float(value) for parameter, value in named.items()})
        result = operation(*arguments, **by_name)
        pairs = zip(_as_tuple(result), _as_tuple(allowed), strict=True)
        for got, right in pairs:
            assert isinstance(got, Share)
            assert isinstance(right, Bounded)
            off = (got.value.double() / 2.0**got.frac_bits - right.value).abs()
            # Biases are rounded to the result's grid; float64 is off by far less than 2^-40 of anything.
            slack = right.value.abs().max() * 2.0**-40 + _unit(got.frac_bits + 1)
            excess = off - right.error - slack
            assert float(excess.max()) <= 0, f"{name} is off by {float(off.max()):.4g}"
        checked[name] += 1
        return result

    return run


def _as_tuple(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else (value,)


def _as_float(value: object) -> object:
    if isinstance(value, Share):
        real = value.value.double() / 2.0**value.frac_bits
        return Bounded(real, torch.zeros_like(real))
    if isinstance(value, Matrix):
        return value.value.double() / 2.0**value.frac_bits
    return value.double() if isinstance(value, torch.Tensor) else value
