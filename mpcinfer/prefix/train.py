"""Training an adapter: gradients of its sums alone, the model stays as it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.attention_state import AttentionState, FeatureMap
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.model import Model
from mpcinfer.models.public import PublicModel
from mpcinfer.models.static import static
from mpcinfer.prefix.adapter import PrefixAdapter, model_digest, state_shape
from mpcinfer.prefix.measure import measured_over
from mpcinfer.prefix.teacher import require_prefixable
from parties.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How an adapter is trained.

    Attributes:
        steps: of Adam, each over `batch` windows.
        rate: of learning, falling to 0 along half a cosine.
        seed: of which windows come when.
    """

    steps: int = 200
    batch: int = 8
    rate: float = 1e-2
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """An adapter, and nats a token of every step."""

    adapter: PrefixAdapter
    losses: tuple[float, ...]


def train_prefix(
    model: Model,
    windows: Sequence[Sequence[int]],
    features: FeatureMap,
    recipe: Recipe,
    *,
    start: PrefixAdapter | None = None,
    counted: Sequence[int] | None = None,
    on_progress: Callable[[int, int, float], None] | None = None,
) -> Trained:
    """An adapter that lowers the cross-entropy of texts; z is kept from being negative.

    From nothing, Z = z = 0, the first step sees the model as it is.

    Args:
        windows: texts' tokens, all of one length, two at least.
        start: an adapter of the same features to go on from, such as a fitted one.
        counted: which of a window's predictions count, from 0; None for all.
        on_progress: is told steps, of how many, and nats a token.

    Raises:
        ConfigError: a model without prefixes, features for another attention, no windows or unequal ones, or
            a start that is not for the model.

    Source: NTK-Attention trains Z and k by Adam at 1e-3, |k| in place of k; the rate, and what keeps z from
        being negative, are this project's.
    """
    require_prefixable(model)
    shape, public = state_shape(model.config, features), PublicModel.of(model)
    if not windows or len({len(each) for each in windows}) > 1 or len(windows[0]) < 2:
        raise ConfigError("training wants windows of one length, of two tokens at least")
    sums, beside = _start(model, features, shape, start)
    adam = torch.optim.Adam([*sums, *beside], lr=recipe.rate)
    fading = torch.optim.lr_scheduler.CosineAnnealingLR(adam, recipe.steps)
    config, weights = static(model.config, model.weights)
    generator, losses = torch.Generator().manual_seed(recipe.seed), list[float]()
    data = torch.tensor([list(each) for each in windows])
    more = beside or [None] * len(sums)
    states = [AttentionState(features, each, added) for each, added in zip(sums, more, strict=True)]
    decoder = Decoder(PlainBackend(), config, weights, states)
    for step in range(recipe.steps):
        batch = data[torch.randint(len(data), (recipe.batch,), generator=generator)]
        loss = window_loss(decoder, batch, counted)
        adam.zero_grad()
        loss.backward()  # pyright: ignore[reportUnknownMemberType]
        adam.step()  # pyright: ignore[reportUnknownMemberType]
        fading.step()
        with torch.no_grad():
            for each in (*(state[..., -1:] for state in sums), *beside):
                each.clamp_min_(0.0)
        losses.append(float(loss.detach()))
        if on_progress is not None:
            on_progress(step + 1, recipe.steps, losses[-1])
    adapter = PrefixAdapter(
        features=features,
        sums=tuple(each.detach().double() for each in sums),
        beside=tuple(each.detach().double() for each in beside),
        model=model_digest(public),
        made_by="train",
    )
    return Trained(adapter=measured_over(adapter, model, windows), losses=tuple(losses))


def window_loss(
    decoder: Decoder[torch.Tensor, torch.Tensor], batch: torch.Tensor, counted: Sequence[int] | None = None
) -> torch.Tensor:
    """Nats a token of windows [B, T], over all predictions or some of a window's."""
    logits = decoder.forward(batch[:, :-1], batch.shape[1] - 1)
    targets = batch[:, 1:]
    if counted is not None:
        logits, targets = logits[:, list(counted)], targets[:, list(counted)]
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def _start(
    model: Model, features: FeatureMap, shape: tuple[int, ...], start: PrefixAdapter | None
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """What is trained, in float32."""
    layers = model.config.layers
    if start is not None:
        start.require_for(PublicModel.of(model))
        if start.features != features:
            raise ConfigError(f"the prefix to go on from has features {start.features}, not {features}")
        sums, beside = list(start.sums), list(start.beside)
    else:
        sums = [torch.zeros(shape)] * layers
        beside = [torch.zeros((*shape[:2], 1, 1))] * (layers if features == "pairs" else 0)
    return _trainable(sums), _trainable(beside)


def _trainable(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    return [each.float().clone().requires_grad_() for each in tensors]
