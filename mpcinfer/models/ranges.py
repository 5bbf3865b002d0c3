"""Calibration: how large every value gets when the float model runs on sample prompts, and what weights say.

A range is a number under `label/quantity`. The label is the decoder's nested spans (`embedding`, `layer3`,
`layer3.attn`, `layer3.attn.qkv`, `layer3.ffn.gelu_tanh`, `head.norm`, ...); the quantity is

    embed, add_positions, linear, matmul, offset, cap_scores, apply_temperature, attention_weights, norm,
    activation, mul, add, scale, rope, sum_tokens,
    diagonal, head
                        largest magnitude of that operation's output; `layer3/add` is the residual stream
    in                  activations, those of pointwise norms too: largest magnitude of the input
    normalised          norms: largest magnitude before gain and bias
    mean_square_min, mean_square_max
                        RMSNorm: least and greatest mean square of a row, before eps
    variance_min, variance_max
                        LayerNorm: least and greatest variance of a row, before eps
    half_squares        Gaussian kernels: largest half square of a query or a key
    spread              softmax: largest (row maximum - score) over the keys a query may see
    denominator         softmax: largest sum of exp(score - row maximum) over those keys; at least 1
    divisor_min, divisor_max
                        power attention: least and greatest mean over those keys of the scores' powers
    epsilon_min, epsilon_max
                        power attention with an epsilon a head: the least and the greatest
    bound               what the label's output cannot exceed, whatever the prompt, where that is known

Every quantity but `bound` is the greatest seen, those that end in `_min` the least, without a margin: whoever
sizes a ring or guards a range adds one. Where weights alone say more than prompts, they are what weights say:
`mpcinfer.models.known_ranges`.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import final

import torch

from mpcinfer.backends.attention_weights import visible_keys
from mpcinfer.backends.base import Backend
from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.config import ActivationKind, AttentionForm, NormKind
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.known_ranges import widened
from mpcinfer.models.model import Model
from mpcinfer.models.rope import Rope
from mpcinfer.models.static import static
from mpcinfer.prompts import Text, prompt_ids
from parties.errors import ConfigError, RangeError


def calibrate(model: Model, prompts: Sequence[Text]) -> dict[str, float]:
    """Runs the float model over prompts: the ranges of everything in it, and what is known without them.

    Args:
        model: runs as it is; fold its norms first to calibrate the folded form.
        prompts: texts, each shorter than the context. With `tokenizer.chat` around a question where the
            model is a chat model: ranges of plain text differ. A model whose tokens have types reads each
            text once more as a pair with the next, where both fit.

    Returns:
        The ranges over all prompts, under the keys that this module's page explains.

    Raises:
        ConfigError: no prompts, an empty one, one that does not fit the context, or one with a token that the
            model has not.
        RangeError: a value was infinite or not a number.
    """
    if not prompts:
        raise ConfigError("calibration needs at least one prompt")
    backend = RecordingBackend()
    decoder = Decoder(backend, *static(model.config, model.weights))
    for prompt in prompts:
        _record(decoder, prompt_ids(model, prompt))
    if model.config.types > 1:
        for first, second in pairwise(prompts):
            if not isinstance(first, tuple) and not isinstance(second, tuple):
                ids = prompt_ids(model, (first, second))
                if len(ids) <= model.config.context:
                    _record(decoder, ids)
    return widened(model.config, model.weights, backend.ranges)


def _record(decoder: Decoder[torch.Tensor, torch.Tensor], ids: Sequence[int]) -> None:
    with torch.no_grad():
        decoder.forward(decoder.backend.tokens(ids, len(ids)), len(ids))


@final
class RecordingBackend(Backend[torch.Tensor, torch.Tensor]):
    """Does what `PlainBackend` does and keeps the ranges of it.

    Attributes:
        ranges: what was seen so far.
    """

    def __init__(self) -> None:
        self.ranges: dict[str, float] = {}
        self._plain = PlainBackend()
        self._spans: list[str] = []

    @contextmanager
    def span(self, name: str, kind: str = "") -> Generator[None, None, None]:
        """Adds a name to the label of what happens inside."""
        self._spans.append(name)
        try:
            yield
        finally:
            self._spans.pop()

    def _note(self, quantity: str, value: torch.Tensor) -> None:
        """Keeps the greatest entry of a tensor, or the least where the quantity says so."""
        least = quantity.endswith("_min")
        seen = float(value.min() if least else value.max())
        key = f"{'.'.join(self._spans)}/{quantity}"
        if not abs(seen) < float("inf"):
            raise RangeError(f"{key}: the float model gives {seen}")
        kept = self.ranges.get(key, seen)
        self.ranges[key] = min(kept, seen) if least else max(kept, seen)

    def _output(self, quantity: str, value: torch.Tensor) -> torch.Tensor:
        self._note(quantity, value.abs())
        return value

    def tokens(self, ids: Sequence[int] | None, count: int) -> torch.Tensor:
        return self._plain.tokens(ids, count)

    def embed(self, tokens: torch.Tensor, table: torch.Tensor, types: int = 1) -> torch.Tensor:
        return self._output("embed", self._plain.embed(tokens, table, types))

    def add_positions(self, x: torch.Tensor, table: torch.Tensor, start: int) -> torch.Tensor:
        return self._output("add_positions", self._plain.add_positions(x, table, start))

    def linear(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return self._output("linear", self._plain.linear(x, weight, bias))

    def matmul(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self._output("matmul", self._plain.matmul(a, b))

    def attention_weights(
        self, scores: torch.Tensor, start: int, form: AttentionForm, epsilon: torch.Tensor | None = None
    ) -> torch.Tensor:
        visible = visible_keys(scores, start, form.window, causal=form.causal, patterns=form.patterns)
        if form.kind == "softmax":
            peak = scores.masked_fill(~visible, float("-inf")).amax(-1, keepdim=True)
            below = (peak - scores).masked_fill(~visible, 0.0)
            self._note("spread", below)
            self._note("denominator", torch.exp(-below).masked_fill(~visible, 0.0).sum(-1))
        if form.kind == "power":
            mean = scores.masked_fill(~visible, 0.0).double().pow(form.power).sum(-1) / visible.sum(-1)
            self._note("divisor_min", mean)
            self._note("divisor_max", mean)
            if epsilon is not None:
                self._note("epsilon_min", epsilon)
                self._note("epsilon_max", epsilon)
        return self._output("attention_weights", self._plain.attention_weights(scores, start, form, epsilon))

    def kernel_inputs(self, q: torch.Tensor, k: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        q, k = self._plain.kernel_inputs(q, k)
        for x in (q[..., -1:], k[..., -2:-1]):
            self._note("half_squares", x.abs())
        return q, k

    def cap_scores(self, scores: torch.Tensor, start: int, form: AttentionForm) -> torch.Tensor:
        return self._output("cap_scores", self._plain.cap_scores(scores, start, form))

    def add_offset(self, scores: torch.Tensor, offset: torch.Tensor | None, shift: float) -> torch.Tensor:
        if offset is None and not shift:
            return scores
        return self._output("offset", self._plain.add_offset(scores, offset, shift))

    def apply_temperature(self, q: torch.Tensor, log_temperature: torch.Tensor, start: int) -> torch.Tensor:
        return self._output("temper", self._plain.apply_temperature(q, log_temperature, start))

    def norm(
        self,
        x: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        kind: NormKind,
        eps: float,
    ) -> torch.Tensor:
        centred = x - x.mean(-1, keepdim=True) if kind == "layernorm" else x
        power = centred.square().mean(-1)
        name = "variance" if kind == "layernorm" else "mean_square"
        self._note(f"{name}_min", power)
        self._note(f"{name}_max", power)
        self._note("normalised", self._plain.norm(x, None, None, kind, eps).abs())
        return self._output("norm", self._plain.norm(x, weight, bias, kind, eps))

    def activation(self, x: torch.Tensor, kind: ActivationKind) -> torch.Tensor:
        self._note("in", x.abs())
        return self._output("activation", self._plain.activation(x, kind))

    def mul(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self._output("mul", self._plain.mul(a, b))

    def add(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self._output("add", self._plain.add(a, b))

    def scale(self, x: torch.Tensor, factor: float) -> torch.Tensor:
        return self._output("scale", self._plain.scale(x, factor))

    def rope(self, x: torch.Tensor, start: int, rope: Rope) -> torch.Tensor:
        return self._output("rope", self._plain.rope(x, start, rope))

    def split(self, x: torch.Tensor, sizes: Sequence[int]) -> list[torch.Tensor]:
        return self._plain.split(x, sizes)

    def split_heads(self, x: torch.Tensor, heads: int) -> torch.Tensor:
        return self._plain.split_heads(x, heads)

    def merge_heads(self, x: torch.Tensor) -> torch.Tensor:
        return self._plain.merge_heads(x)

    def repeat_heads(self, x: torch.Tensor, times: int) -> torch.Tensor:
        return self._plain.repeat_heads(x, times)

    def take_heads(self, x: torch.Tensor, numbers: Sequence[int]) -> torch.Tensor:
        return self._plain.take_heads(x, numbers)

    def take_rows(self, weight: torch.Tensor, numbers: Sequence[int]) -> torch.Tensor:
        return self._plain.take_rows(weight, numbers)

    def place_heads(self, x: torch.Tensor, numbers: Sequence[int], heads: int) -> torch.Tensor:
        return self._plain.place_heads(x, numbers, heads)

    def transpose(self, x: torch.Tensor) -> torch.Tensor:
        return self._plain.transpose(x)

    def concat_tokens(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self._plain.concat_tokens(a, b)

    def first_tokens(self, x: torch.Tensor, count: int) -> torch.Tensor:
        return self._plain.first_tokens(x, count)

    def last_tokens(self, x: torch.Tensor, count: int) -> torch.Tensor:
        return self._plain.last_tokens(x, count)

    def sum_tokens(self, x: torch.Tensor) -> torch.Tensor:
        return self._output("sum_tokens", self._plain.sum_tokens(x))

    def diagonal(
        self,
        x: torch.Tensor,
        gain: torch.Tensor,
        bias: torch.Tensor | None,
        mean: torch.Tensor | None = None,
    ) -> torch.Tensor:
        return self._output("diagonal", self._plain.diagonal(x, gain, bias, mean))

    def head(
        self, x: torch.Tensor, table: torch.Tensor, tied: bool, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        return self._output("head", self._plain.head(x, table, tied, bias))

    def open_logits(self, logits: torch.Tensor) -> torch.Tensor:
        return self._plain.open_logits(logits)
