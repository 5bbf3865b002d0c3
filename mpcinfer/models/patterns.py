"""Which keys the heads of a model see: a pattern a head, layer by layer, as part of its public shape."""

from __future__ import annotations

from parties.errors import ConfigError
from protocols.key_pattern import KeyPattern

Patterns = tuple[tuple[KeyPattern, ...], ...]
"""Of every layer, a pattern a head, or none where all heads of it see all keys; empty where all layers do."""


def check_patterns(patterns: Patterns, layers: int, heads: int, *, drops: bool) -> None:
    """Whether patterns are for a model of so many layers and heads.

    Args:
        drops: the model's attention can leave heads out.

    Raises:
        ConfigError: they are not, they drop every head of a layer, or any where that cannot be.
    """
    if not patterns:
        return
    if len(patterns) != layers:
        raise ConfigError(f"patterns are of {len(patterns)} layers, the model has {layers}")
    for layer, of_layer in enumerate(patterns):
        if of_layer and len(of_layer) != heads:
            raise ConfigError(
                f"patterns of layer {layer} are of {len(of_layer)} heads, the model has {heads}"
            )
        if of_layer and not seeing(patterns, layer):
            raise ConfigError(f"patterns drop every head of layer {layer}: one at least must see keys")
        if not drops and any(each.dropped for each in of_layer):
            raise ConfigError("patterns cannot drop heads whose temperature is by position")


def kept_heads(patterns: Patterns, layer: int, heads: int) -> tuple[int, ...]:
    """The heads of a layer that see keys."""
    of_layer = patterns[layer] if patterns else ()
    if not of_layer:
        return tuple(range(heads))
    return tuple(number for number, each in enumerate(of_layer) if not each.dropped)


def seeing(patterns: Patterns, layer: int) -> tuple[KeyPattern, ...]:
    """The patterns of those heads."""
    return tuple(each for each in patterns[layer] if not each.dropped) if patterns else ()
