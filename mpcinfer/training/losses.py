"""What training minimises: cross-entropy, and penalties on what attention and norms do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.entropy.measure import HeadEntropies, head_entropies
from mpcinfer.entropy.penalty import EntropyPenalty
from mpcinfer.entropy.watch import WatchingBackend
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder, KVCache
from mpcinfer.models.static import static
from mpcinfer.training.gradients import BatchLoss
from mpcinfer.training.protected_data import ProtectedDataLoss, cross_entropies
from mpcinfer.training.range_penalty import RangePenalty
from mpcinfer.training.recipe import Precision

TOKENS, ENTROPY, RANGES, FRACTIONS = "loss", "entropy_penalty", "range_penalty", "entropy_fractions"
PROTECTED = "protected_penalty"
Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """Cross-entropy plus penalties, as a function of weights and windows.

    Attributes:
        windows: B, windows a step: what the `sum` reduction of entropy penalties adds up over.
    """

    config: ModelConfig
    precision: Precision
    windows: int
    penalty: EntropyPenalty | None = None
    ranges: RangePenalty | None = None
    protection: ProtectedDataLoss | None = None

    def __call__(
        self,
        weights: Mapping[str, torch.Tensor],
        thresholds: torch.Tensor | None,
        inputs: torch.Tensor,
        targets: torch.Tensor,
        protected: torch.Tensor | None = None,
    ) -> BatchLoss:
        """The objective of windows [b, T]; thresholds [L, H] belong to an entropy penalty.

        It tells `loss` (nats a token), and where there is such a penalty `entropy_penalty`,
        `entropy_fractions` [L, H], `range_penalty`, `protected_penalty`.

        Args:
            protected: a mask of targets for the loss on protected data; None leaves it out.
        """
        penalised = self.penalty is not None or self.ranges is not None
        # A softmax of rounded scores trains well; powers of them, and quotients of their sums, do not.
        backend = PlainBackend()
        if penalised or self.config.attention != "softmax":
            backend = WatchingBackend(
                keep_weights=self.penalty is not None, keep_ranges=self.ranges is not None
            )
        logits = _logits(backend, self.config, weights, inputs, self.precision)
        total = _cross_entropy(logits, targets)
        told = {TOKENS: total.detach()}
        if self.protection is not None:
            held = total.new_zeros(())
            if protected is not None:
                held = self.protection.term(cross_entropies(logits, targets), protected)
            total = total + held
            told[PROTECTED] = held.detach()
        if isinstance(backend, WatchingBackend):
            if self.penalty is not None:
                assert thresholds is not None
                term = self.penalty.term(backend.weights, thresholds, self.windows)
                total = total + term.value
                told |= {ENTROPY: term.value.detach(), FRACTIONS: term.fractions}
            if self.ranges is not None:
                value = self.ranges.value(backend.score_peaks, backend.variances, backend.pre_activations)
                total = total + value
                told[RANGES] = value.detach()
        return BatchLoss(total, told)


def token_loss(
    config: ModelConfig,
    weights: Mapping[str, torch.Tensor],
    inputs: torch.Tensor,
    targets: torch.Tensor,
    precision: Precision,
) -> torch.Tensor:
    """Mean cross-entropy, nats a token, of targets [B, T] after inputs [B, T]."""
    return _cross_entropy(_logits(PlainBackend(), config, weights, inputs, precision), targets)


def _logits(
    backend: PlainBackend,
    config: ModelConfig,
    weights: Mapping[str, torch.Tensor],
    inputs: torch.Tensor,
    precision: Precision,
) -> torch.Tensor:
    decoder = Decoder(backend, *static(config, weights))
    with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        logits = decoder.answered(decoder.forward(inputs, inputs.shape[1]))
    return logits.float()


def _cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


@torch.no_grad()
def mean_loss(config: ModelConfig, weights: Mapping[str, torch.Tensor], batches: Iterable[Batch]) -> float:
    """Mean cross-entropy over all tokens of all batches, in float32."""
    device = weights["embed.tokens"].device
    total, count = 0.0, 0
    for inputs, targets in batches:
        loss = token_loss(config, weights, inputs.to(device), targets.to(device), "float32")
        total += loss.item() * targets.numel()
        count += targets.numel()
    return total / count


@torch.no_grad()
def measured_entropies(
    config: ModelConfig, weights: Mapping[str, torch.Tensor], batches: Iterable[Batch]
) -> HeadEntropies:
    """Entropies of a model's heads over batches of inputs [B, T] (targets are not looked at), in float32."""
    shape, used = static(config, weights)
    device = weights["embed.tokens"].device

    def attention(inputs: torch.Tensor) -> list[torch.Tensor]:
        backend = WatchingBackend()
        decoder = Decoder(backend, shape, used)
        decoder.stack(decoder.embedding(inputs.to(device)))
        return backend.weights

    return head_entropies(attention(inputs) for inputs, _ in batches)


@torch.no_grad()
def greedy_tokens(
    config: ModelConfig,
    weights: Mapping[str, torch.Tensor],
    prompt: Sequence[int],
    count: int,
    stop: frozenset[int] = frozenset(),
) -> list[int]:
    """The most probable continuation of a prompt, token by token: up to `count` ids or to a stop id."""
    backend = PlainBackend()
    decoder = Decoder(backend, *static(config, weights))
    cache: KVCache[torch.Tensor] = KVCache()
    answer: list[int] = []
    step = list(prompt)
    for _ in range(min(count, config.context - len(prompt))):
        logits = decoder.forward(backend.tokens(step, len(step)), len(step), cache=cache, rows=1)
        token = int(logits[0, -1].argmax())
        if token in stop:
            break
        answer.append(token)
        step = [token]
    return answer
