"""Makes the options of a run from the arguments of `mpcinfer train`."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from mpcinfer.entropy.penalty import EntropyPenalty
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.variants import variant
from mpcinfer.training.options import RunOptions
from mpcinfer.training.protected_data import ProtectedDataLoss
from mpcinfer.training.range_penalty import RangePenalty
from mpcinfer.training.recipe import DEFAULT_STEPS, Recipe
from mpcinfer.training.start import load_start
from parties.errors import ConfigError

_SHAPE = ("layers", "width", "heads", "hidden", "vocabulary", "context")
_RECIPE_NAMES = {"lr": "learning_rate"}
_RECIPE = {field.name for field in dataclasses.fields(Recipe)}

Given = Mapping[str, Any]


def run_options(given: Given, stored: RunOptions | None) -> RunOptions:
    """Options of a run: the stored ones or the defaults, changed by what was given.

    Args:
        given: option names to values, without those that were not given.
        stored: of the run to go on with; None for a new one.

    Raises:
        ConfigError: what was given does not fit together.
    """
    recipe = {_RECIPE_NAMES.get(name, name): value for name, value in given.items()}
    recipe = {name: value for name, value in recipe.items() if name in _RECIPE}
    rest = _rest(given)
    defaults: dict[str, Any] = {"source": "python"}
    if stored is not None:
        if "start_from" in given:
            raise ConfigError("--from is for a new run; one that is resumed has weights of its own")
        if "protect" in given:
            raise ConfigError("--protect is for a new run; one that is resumed knows what is protected")
        return dataclasses.replace(
            stored,
            config=_shape(given, stored.config),
            recipe=dataclasses.replace(stored.recipe, **recipe),
            penalty=_penalty(given, stored.penalty),
            ranges=_ranges(given, stored.ranges),
            protection=_protection(given, stored.protection),
            **rest,
        )
    steps = recipe.get("steps", DEFAULT_STEPS)
    first: dict[str, Any] = {"steps": steps, "warmup": min(200, steps // 10)}
    return RunOptions(
        config=_shape(given, _base(given)),
        recipe=Recipe(**{**first, **recipe}),
        penalty=_penalty(given, EntropyPenalty() if _regularised(given) else None),
        ranges=_ranges(given, None),
        protect=given.get("protect"),
        protection=_protection(given, ProtectedDataLoss() if "protect" in given else None),
        start_from=given.get("start_from"),
        **{**defaults, **rest},
    )


def _rest(given: Given) -> dict[str, Any]:
    names = {"source": "data", "evaluate_every": "every", "checkpoint_every": "every"}
    names |= {
        "entropy_every": "entropy_every",
        "held_out_windows": "held_out_windows",
        "sample_prompt": "sample",
    }
    return {name: given[option] for name, option in names.items() if option in given}


def _base(given: Given) -> ModelConfig:
    """The shape to change: that of the model to begin from, or a small GPT-2."""
    if "start_from" in given:
        if "vocabulary" in given:
            raise ConfigError("--vocabulary is that of the tokenizer, which comes with the model of --from")
        return load_start(given["start_from"]).config
    width, heads = given.get("width", 256), given.get("heads", 4)
    return ModelConfig(layers=3, hidden=4 * width, vocabulary=2048, context=256, **_head_fields(width, heads))


def _shape(given: Given, base: ModelConfig) -> ModelConfig:
    """Sizes first, then the variant, then single fields."""
    sizes = {name: given[name] for name in _SHAPE if name in given}
    if "width" in sizes or "heads" in sizes:
        sizes |= _head_fields(sizes.get("width", base.width), sizes.get("heads", base.heads))
    config = dataclasses.replace(base, **sizes)
    if "variant" in given:
        config = variant(given["variant"], config)
    return dataclasses.replace(config, **shape_fields(given.get("shape", ())))


def _head_fields(width: int, heads: int) -> dict[str, Any]:
    if width % heads:
        raise ConfigError(f"--width ({width}) must be a multiple of --heads ({heads})")
    return {"width": width, "heads": heads, "kv_heads": heads, "head_width": width // heads}


def shape_fields(settings: Iterable[str]) -> dict[str, Any]:
    """Fields of `ModelConfig` from texts `name=value`.

    Raises:
        ConfigError: no such field, or a value that it cannot have.
    """
    kinds = typing.get_type_hints(ModelConfig)
    fields: dict[str, Any] = {}
    for setting in settings:
        name, found, text = setting.partition("=")
        if not found or name not in kinds:
            raise ConfigError(f"--shape {setting}: expected FIELD=VALUE, a field of {', '.join(kinds)}")
        fields[name] = _field_value(name, text, kinds[name])
    return fields


def _field_value(name: str, text: str, kind: Any) -> Any:
    choices: tuple[object, ...] = typing.get_args(kind)
    words: dict[str, object] = {"true": True, "false": False}
    try:
        if choices or kind is bool:
            return (words if kind is bool else {str(choice): choice for choice in choices})[text]
        return kind(text)
    except (KeyError, ValueError):
        expected = " or ".join(map(str, choices or words)) if choices or kind is bool else kind.__name__
        raise ConfigError(f"--shape {name}: expected {expected}, got {text!r}") from None


def _regularised(given: Given) -> bool:
    """A variant's name asks for entropy regularisation: EReg(...)."""
    return str(given.get("variant", "")).lower().startswith("ereg")


def _penalty(given: Given, base: EntropyPenalty | None) -> EntropyPenalty | None:
    fields = {field.name for field in dataclasses.fields(EntropyPenalty)}
    changes = {name: given[f"entropy_{name}"] for name in fields if f"entropy_{name}" in given}
    return dataclasses.replace(base or EntropyPenalty(), **changes) if changes else base


def _ranges(given: Given, base: RangePenalty | None) -> RangePenalty | None:
    fields = {field.name for field in dataclasses.fields(RangePenalty)}
    changes = {name: given[f"range_{name}"] for name in fields if f"range_{name}" in given}
    if not changes:
        return base
    return dataclasses.replace(base, **changes) if base is not None else RangePenalty(**changes)


def _protection(given: Given, base: ProtectedDataLoss | None) -> ProtectedDataLoss | None:
    fields = {field.name for field in dataclasses.fields(ProtectedDataLoss)}
    changes = {name: given[f"protect_{name}"] for name in fields if f"protect_{name}" in given}
    if changes and base is None:
        named = ", ".join(f"--protect-{name}" for name in changes)
        raise ConfigError(f"{named}: give --protect FILE, the text to protect")
    return base if base is None else dataclasses.replace(base, **changes)
