"""Sliding windows as a `config.json` states them: how many keys the queries of each layer see."""

from __future__ import annotations

from typing import Any, cast

from mpcinfer.models.fields import Fields

SLIDING, FULL = "sliding_attention", "full_attention"


def everywhere(fields: Fields) -> tuple[int, ...]:
    """A window in every layer where `sliding_window` is not null."""
    return windows_of(fields, [SLIDING if fields.values.get("sliding_window") is not None else FULL])


def switched(fields: Fields, usual: list[str]) -> tuple[int, ...]:
    """Windows where `use_sliding_window` says so, in the layers of `layer_types` or the usual ones.

    Raises:
        ConfigError: layers have windows that are switched off.
    """
    kinds = layer_types(fields) or usual
    on = fields.flag("use_sliding_window", False) and fields.values.get("sliding_window") is not None
    if not on and fields.values.get("layer_types") is not None and SLIDING in kinds:
        raise fields.refuse("layer_types", f"{SLIDING} contradicts use_sliding_window or sliding_window")
    return windows_of(fields, kinds if on else [FULL])


def layer_types(fields: Fields) -> list[str]:
    """The kind of every layer's attention as it is stated; empty where it is not.

    Raises:
        ConfigError: another number of layers, or another kind.
    """
    stated: Any = fields.values.get("layer_types")
    if stated is None:
        return []
    layers = fields.integer("num_hidden_layers")
    if not isinstance(stated, list) or len(cast("list[Any]", stated)) != layers:
        raise fields.refuse("layer_types", f"expected a list of {layers} texts")
    kinds = cast("list[Any]", stated)
    if any(kind not in (SLIDING, FULL) for kind in kinds):
        raise fields.refuse("layer_types", f"expected {SLIDING} or {FULL}")
    return kinds


def windows_of(fields: Fields, kinds: list[str]) -> tuple[int, ...]:
    """Keys that a query of each layer sees, 0 for all: empty where no window is shorter than the context.

    Args:
        kinds: of every layer, or one for all.
    """
    layers, context = fields.integer("num_hidden_layers"), fields.integer("max_position_embeddings")
    kinds = kinds * layers if len(kinds) == 1 else kinds
    if SLIDING not in kinds:
        return ()
    window = fields.integer("sliding_window")
    if window < 1:
        raise fields.refuse("sliding_window", "expected at least 1")
    windows = tuple(window if kind == SLIDING and window < context else 0 for kind in kinds)
    return windows if any(windows) else ()
