"""One training step, and the state that steps change."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch.nn import functional

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.config import ModelConfig, weight_shapes
from mpcinfer.models.decoder import Decoder, KVCache
from mpcinfer.training.gradients import GradientWorkers
from mpcinfer.training.schedule import learning_rate
from parties.errors import ConfigError

Precision = Literal["bfloat16", "float32"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What, beside the data and the shape, decides a run.

    Attributes:
        steps: length of the run.
        batch: windows a step.
        learning_rate: the largest rate of AdamW (betas 0.9 and 0.95).
        warmup: steps of linear warm-up.
        decay: fraction of the run over which the rate falls linearly to zero.
        weight_decay: on matrices only, decoupled.
        clip: the gradient's norm is scaled down to this.
        seed: of the first weights and of the order of the data.
        precision: of the matrix products; weights, optimizer and loss are float32 in either case.
    """

    steps: int
    batch: int = 8
    learning_rate: float = 2e-3
    warmup: int = 200
    decay: float = 0.4
    weight_decay: float = 0.1
    clip: float = 1.0
    seed: int = 0
    precision: Precision = "bfloat16"

    def __post_init__(self) -> None:
        for name in ("steps", "batch"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "clip"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in ("warmup", "weight_decay", "seed"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be at least 0, got {getattr(self, name)}")
        if self.precision not in get_args(Precision):
            raise ConfigError(f"precision must be one of {get_args(Precision)}, got {self.precision!r}")
        if not 0 <= self.decay <= 1:
            raise ConfigError(f"decay must be a fraction in [0, 1], got {self.decay}")


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step did: mean loss (nats a token) before it, norm of the gradient, learning rate."""

    loss: float
    gradient_norm: float
    rate: float


class TrainingState:
    """Weights, optimizer and step count of a run.

    Attributes:
        step: steps done.
        weights: float32 parameters under our names.
    """

    def __init__(self, config: ModelConfig, recipe: Recipe, *, workers: int = 1) -> None:
        """The first state: weights as in `initial_weights`, no steps done; see `GradientWorkers`."""
        self._workers = GradientWorkers(workers)
        self.config = config
        self.recipe = recipe
        self.step = 0
        first = initial_weights(config, recipe.seed)
        self.weights = {name: torch.nn.Parameter(value) for name, value in first.items()}
        matrices = [weight for weight in self.weights.values() if weight.ndim >= 2]
        vectors = [weight for weight in self.weights.values() if weight.ndim < 2]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": recipe.weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            lr=recipe.learning_rate,
            betas=(0.9, 0.95),
            fused=True,
        )

    def advance(self, inputs: torch.Tensor, targets: torch.Tensor) -> StepResult:
        """One step of AdamW on a batch [B, T].

        Raises:
            ConfigError: the loss is not finite; a smaller learning rate may help.
        """
        recipe = self.recipe
        rate = learning_rate(
            self.step,
            steps=recipe.steps,
            peak=recipe.learning_rate,
            warmup=recipe.warmup,
            decay=recipe.decay,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        weights = list(self.weights.values())
        loss, gradients = self._workers.gradients(self._loss, weights, inputs, targets)
        if not math.isfinite(loss):
            raise ConfigError(f"training diverged at step {self.step}: the loss is {loss}")
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient
        norm = torch.nn.utils.clip_grad_norm_(weights, recipe.clip)
        self.optimizer.step()  # pyright: ignore[reportUnknownMemberType]
        self.step += 1
        return StepResult(loss, norm.item(), rate)

    def _loss(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return token_loss(self.config, self.weights, inputs, targets, self.recipe.precision)

    def plain_weights(self) -> dict[str, torch.Tensor]:
        """The weights without their gradients, sharing memory."""
        return {name: weight.detach() for name, weight in self.weights.items()}


def initial_weights(config: ModelConfig, seed: int) -> dict[str, torch.Tensor]:
    """Weights to begin with, as GPT-2's: norms 1, biases 0, matrices normal with standard deviation 0.02.

    The two matrices of each block that write to the residual are smaller by the square root of how many
    do, so that the residual's size does not grow with depth.
    """
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, torch.Tensor] = {}
    for name, shape in weight_shapes(config).items():
        if len(shape) >= 2:
            writes = name.endswith(("attn.out.weight", "ffn.out.weight"))
            deviation = 0.02 / math.sqrt(2 * config.layers) if writes else 0.02
            weights[name] = torch.randn(shape, generator=generator) * deviation
        else:
            weights[name] = torch.ones(shape) if name.endswith(".weight") else torch.zeros(shape)
    return weights


def token_loss(
    config: ModelConfig,
    weights: dict[str, torch.nn.Parameter] | dict[str, torch.Tensor],
    inputs: torch.Tensor,
    targets: torch.Tensor,
    precision: Precision,
) -> torch.Tensor:
    """Mean cross-entropy, nats a token, of targets [B, T] after inputs [B, T]."""
    decoder = Decoder(PlainBackend(), config, dict(weights))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        logits = decoder.forward(inputs, inputs.shape[1])
    return functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten())


@torch.no_grad()
def mean_loss(
    config: ModelConfig,
    weights: dict[str, torch.Tensor],
    batches: Iterable[tuple[torch.Tensor, torch.Tensor]],
) -> float:
    """Mean cross-entropy over all tokens of all batches, in float32."""
    total, count = 0.0, 0
    for inputs, targets in batches:
        total += token_loss(config, weights, inputs, targets, "float32").item() * targets.numel()
        count += targets.numel()
    return total / count


@torch.no_grad()
def greedy_tokens(
    config: ModelConfig,
    weights: dict[str, torch.Tensor],
    prompt: Sequence[int],
    count: int,
    stop: frozenset[int] = frozenset(),
) -> list[int]:
    """The most probable continuation of a prompt, token by token: up to `count` ids or to a stop id."""
    backend = PlainBackend()
    decoder = Decoder(backend, config, weights)
    cache: KVCache[torch.Tensor] = KVCache()
    answer: list[int] = []
    step = list(prompt)
    for _ in range(min(count, config.context - len(prompt))):
        logits = decoder.forward(backend.tokens(step, len(step)), len(step), cache=cache, last_only=True)
        token = int(logits[0, -1].argmax())
        if token in stop:
            break
        answer.append(token)
        step = [token]
    return answer
