"""One training step, and the state that steps change."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from mpcinfer.entropy.penalty import EntropyPenalty
from mpcinfer.models.config import ModelConfig
from mpcinfer.training.gradients import BatchLoss, GradientWorkers
from mpcinfer.training.losses import FRACTIONS, TOKENS, Objective
from mpcinfer.training.optimizer import optimizer_of
from mpcinfer.training.optimizer_wrapper import OptimizerWrapper
from mpcinfer.training.processes import Processes
from mpcinfer.training.protected_data import ProtectedDataLoss
from mpcinfer.training.range_penalty import RangePenalty
from mpcinfer.training.recipe import Recipe
from mpcinfer.training.schedule import learning_rate
from mpcinfer.training.weights import check_trainable, decays, initial_weights
from parties.errors import ConfigError


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step did.

    Attributes:
        loss: mean cross-entropy (nats a token) before it.
        gradient_norm: before clipping.
        rate: the learning rate of the schedule.
        penalties: what was added to the loss, by name.
        optimizer: what wrappers of the optimizer tell of the step, by name.
        diverged: loss or gradient was not finite; the weights did not change.
    """

    loss: float
    gradient_norm: float
    rate: float
    penalties: Mapping[str, float] = field(default_factory=dict[str, float])
    diverged: bool = False
    optimizer: Mapping[str, float] = field(default_factory=dict[str, float])


class TrainingState:
    """Weights, optimizer and step count of a run.

    Attributes:
        step: steps done.
        weights: float32 parameters under our names.
        thresholds: [L, H], of an entropy penalty; None without one. No part of the model.
    """

    def __init__(
        self,
        config: ModelConfig,
        recipe: Recipe,
        *,
        penalty: EntropyPenalty | None = None,
        ranges: RangePenalty | None = None,
        protection: ProtectedDataLoss | None = None,
        first: Mapping[str, torch.Tensor] | None = None,
        workers: int = 1,
        processes: Processes | None = None,
        device: str = "cpu",
    ) -> None:
        """The first state, no steps done.

        Args:
            penalty, ranges, protection: what to add to the cross-entropy.
            first: weights to begin with; `initial_weights` by default. They are copied.
            workers: see `GradientWorkers`.
            processes: that share every batch; none besides this one by default.
            device: where weights and computation are, in torch's words.

        Raises:
            ConfigError: a shape that cannot be trained.
        """
        check_trainable(config)
        self._workers = GradientWorkers(workers)
        self._processes = Processes() if processes is None else processes
        self.config, self.recipe, self.penalty, self.ranges = config, recipe, penalty, ranges
        self.protection = protection
        self.step = 0
        self._device = torch.device(device)
        begun = initial_weights(config, recipe.seed, recipe) if first is None else first
        self.weights = {name: self._parameter(value) for name, value in begun.items()}
        self.thresholds: torch.nn.Parameter | None = None
        if penalty is not None:
            self.thresholds = self._parameter(penalty.first_thresholds(config.layers, config.heads))
        self._objective = Objective(
            config=config,
            precision=recipe.precision,
            windows=recipe.batch,
            penalty=penalty,
            ranges=ranges,
            protection=protection,
        )
        decaying = [weight for name, weight in self.weights.items() if decays(name, tuple(weight.shape))]
        rest = [weight for name, weight in self.weights.items() if not decays(name, tuple(weight.shape))]
        learned = penalty is not None and penalty.thresholds == "learned"
        if self.thresholds is not None and learned:
            rest.append(self.thresholds)
        self._trained = [
            *self.weights.values(),
            *([self.thresholds] if learned and self.thresholds is not None else []),
        ]
        self.optimizer = optimizer_of(
            recipe,
            [
                {"params": decaying, "weight_decay": recipe.weight_decay},
                {"params": rest, "weight_decay": 0.0},
            ],
        )

    def _parameter(self, value: torch.Tensor) -> torch.nn.Parameter:
        return torch.nn.Parameter(value.detach().to(self._device, torch.float32, copy=True))

    def advance(
        self, inputs: torch.Tensor, targets: torch.Tensor, protected: torch.Tensor | None = None
    ) -> StepResult:
        """One step of AdamW on a batch [B, T], the same in every process.

        Args:
            protected: a mask of targets, where there is a loss on protected data. It is left out before
                that loss begins.

        Raises:
            ConfigError: the loss or its gradient is not finite, and the recipe does not record that; a
                smaller learning rate may help.
        """
        recipe = self.recipe
        rate = learning_rate(
            self.step,
            steps=recipe.steps,
            peak=recipe.learning_rate,
            warmup=recipe.warmup,
            decay=recipe.decay,
            schedule=recipe.schedule,
            floor=recipe.floor,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batch = [inputs, targets]
        if protected is not None and self.protection is not None and self.step >= self.protection.warmup:
            batch.append(protected)
        part = [self._processes.part(tensor).to(self._device) for tensor in batch]
        found = self._workers.gradients(
            self._loss, self._trained, *part, windows=inputs.shape[0], parts=recipe.accumulate
        )
        found = self._processes.summed(found)
        told = {name: value.item() for name, value in found.told.items() if name != FRACTIONS}
        loss = told.pop(TOKENS)
        for weight, gradient in zip(self._trained, found.of, strict=True):
            weight.grad = gradient
        norm = torch.nn.utils.clip_grad_norm_(self._trained, recipe.clip).item()
        if not all(math.isfinite(value) for value in (loss, norm, *told.values())):
            if recipe.on_divergence == "refuse":
                raise ConfigError(
                    f"training diverged at step {self.step}: the loss is {loss}, its gradient's norm {norm}"
                )
            return StepResult(loss, norm, rate, told, diverged=True)
        self.optimizer.step()  # pyright: ignore[reportUnknownMemberType]
        self._follow(found.told)
        self.step += 1
        noted = self.optimizer.told() if isinstance(self.optimizer, OptimizerWrapper) else {}
        return StepResult(loss, norm, rate, told, optimizer=noted)

    def _loss(self, *batch: torch.Tensor) -> BatchLoss:
        return self._objective(self.weights, self.thresholds, *batch)

    def _follow(self, told: Mapping[str, torch.Tensor]) -> None:
        """Moves detached thresholds after their heads."""
        if self.penalty is None or self.penalty.thresholds != "detached" or self.thresholds is None:
            return
        with torch.no_grad():
            self.thresholds.copy_(self.penalty.followed(self.thresholds, told[FRACTIONS]))

    def plain_weights(self) -> dict[str, torch.Tensor]:
        """The weights without their gradients, sharing memory."""
        return {name: weight.detach() for name, weight in self.weights.items()}
