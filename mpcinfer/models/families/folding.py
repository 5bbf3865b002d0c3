"""What a family multiplies or adds in its own places, as changes of the weights that are read: all free."""

from __future__ import annotations

from collections.abc import Callable

import torch

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.layout import Layout, changed, scaled


def scale_queries(
    layout: Layout, config: ModelConfig, factor: Callable[[int], float], width: int | None = None
) -> Layout:
    """Scores of a layer times a number: its queries are, or the gain of their norm, before they turn.

    Args:
        factor: of every layer.
        width: multiply the first coordinates of a head alone, those that turn.
    """
    heads, size = config.heads, config.head_width

    def change(number: float) -> Callable[[torch.Tensor], torch.Tensor]:
        def of(tensor: torch.Tensor) -> torch.Tensor:
            queries = tensor[: heads * size].reshape(heads, size, *tensor.shape[1:]).clone()
            queries[:, :width] *= number
            return torch.cat([queries.flatten(0, 1), tensor[heads * size :]])

        return of

    def change_gain(number: float) -> Callable[[torch.Tensor], torch.Tensor]:
        def of(gain: torch.Tensor) -> torch.Tensor:
            return torch.cat([gain[:width] * number, gain[width:] if width else gain[:0]])

        return of

    for layer in range(config.layers):
        number, stem = factor(layer), f"layer{layer}.attn"
        if number == 1.0:
            continue
        if config.qk_norm:
            layout = changed(layout, [f"{stem}.q_norm"], change_gain(number))
        else:
            layout = changed(layout, [f"{stem}.qkv"], change(number))
    return layout


def scale_residual_writers(layout: Layout, config: ModelConfig, factor: float) -> Layout:
    """What attention and FFNs add, times a number."""
    writers = [f"layer{layer}.{part}" for layer in range(config.layers) for part in ("attn.out", "ffn.out")]
    return scaled(layout, writers, factor)


def scale_embedding(layout: Layout, config: ModelConfig, factor: float, logits: float = 1.0) -> Layout:
    """Token rows times a number, and logits times another.

    A tied head reads the rows as they are stored: the final norm, before it, takes the first number back.
    """
    layout = scaled(layout, ["embed.tokens"], factor)
    return scaled(layout, ["head.norm"], logits / factor if config.tied_head else logits)


def add_one_to_norms(layout: Layout) -> Layout:
    """Gains are stored less one."""
    norms = [stem for stem in layout if stem.endswith(("norm", "norm1", "norm2", ".post"))]
    return changed(layout, norms, lambda gain: gain + 1.0)
