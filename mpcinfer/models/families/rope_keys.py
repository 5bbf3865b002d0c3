"""RoPE as a `config.json` states it: its base, the part of a head that turns, and scaled frequencies."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from mpcinfer.models.fields import Fields
from mpcinfer.models.rope import Rope
from parties.errors import ConfigError

ROPE_DEFAULTS = {
    "rope_theta": None,
    "rope_parameters": None,
    "rope_scaling": None,
    "original_max_position_embeddings": None,
}
"""The keys that every family with RoPE has; `rope_scaling` goes before `rope_parameters`."""


@dataclass(frozen=True, slots=True)
class RopeSettings:
    """What becomes of them.

    Attributes:
        base: of the frequencies.
        width: coordinates of a head that turn.
        divisors: of the frequencies; empty where they are plain.
        factor: queries and keys are multiplied by it where they turn, and scores by its square (YaRN,
            LongRoPE).
        longest: tokens of a text up to which all this holds; 0 for the model's own context (LongRoPE).
    """

    base: float
    width: int
    divisors: tuple[float, ...] = ()
    factor: float = 1.0
    longest: int = 0


def read_rope(
    fields: Fields,
    head_width: int,
    *,
    base: float = 10000.0,
    partial: float = 1.0,
    partial_key: str = "partial_rotary_factor",
    base_key: str = "rope_theta",
    turns_in_part: bool = False,
    kinds: tuple[str, ...] = ("default", "linear", "dynamic", "llama3", "yarn", "longrope"),
    older: Mapping[str, str] | None = None,
) -> RopeSettings:
    """RoPE of all layers.

    Args:
        base, partial: where nothing is stated.
        turns_in_part: the family can turn part of a head.
        kinds: of scaling that the family has. Up to the model's own context `dynamic` scales nothing.
        older: names that the family has for some of them.

    Raises:
        ConfigError: another scaling, or one that lacks a number.
    """
    key = "rope_scaling" if fields.values.get("rope_scaling") else "rope_parameters"
    nested = Fields(f"{fields.source}: {key}", fields.table(key))
    return _settings(
        fields,
        nested,
        nested.number("rope_theta", fields.number(base_key, base)),
        nested.number("partial_rotary_factor", fields.number(partial_key, partial)),
        head_width,
        key,
        turns_in_part,
        kinds,
        older or {},
    )


def _settings(
    fields: Fields,
    nested: Fields,
    base: float,
    partial: float,
    head_width: int,
    key: str,
    turns_in_part: bool,
    kinds: tuple[str, ...],
    older: Mapping[str, str],
) -> RopeSettings:
    width = int(head_width * partial)
    if not turns_in_part and width != head_width:
        holder = nested if "partial_rotary_factor" in nested.values else fields
        raise holder.refuse("partial_rotary_factor", "this family turns whole heads")
    kind = nested.text("rope_type", nested.text("type", "default"))
    kind = older.get(kind, kind)
    if kind not in kinds:
        raise fields.refuse(key, f"RoPE of type {kind!r} is not supported, expected {' or '.join(kinds)}")
    scaling = _SCALINGS.get(kind)
    if scaling is None:
        return RopeSettings(base, width)
    context = fields.integer("max_position_embeddings")
    original = nested.integer("original_max_position_embeddings", context)
    original = fields.integer("original_max_position_embeddings", original)
    divisors, factor = scaling(nested, Rope(base, width).rates(), base, original, context)
    longest = min(original, context) if kind == "longrope" else 0
    return RopeSettings(base, width, tuple(divisors), factor, longest)


Scaling = Callable[[Fields, list[float], float, int, int], tuple[list[float], float]]
"""From the settings, plain frequencies, their base, and the contexts before and after scaling."""


def _linear(
    nested: Fields, rates: list[float], base: float, original: int, context: int
) -> tuple[list[float], float]:
    return [nested.number("factor")] * len(rates), 1.0


def _llama3(
    nested: Fields, rates: list[float], base: float, original: int, context: int
) -> tuple[list[float], float]:
    """Slow frequencies are divided, fast ones stay, between them it goes smoothly (Llama 3.1)."""
    factor = nested.number("factor")
    low, high = nested.number("low_freq_factor"), nested.number("high_freq_factor")

    def divisor(rate: float) -> float:
        turns = original * rate / (2 * math.pi)
        if turns < low:
            return factor
        if turns > high:
            return 1.0
        smooth = (turns - low) / (high - low)
        return 1.0 / ((1 - smooth) / factor + smooth)

    return [divisor(rate) for rate in rates], 1.0


def _yarn(
    nested: Fields, rates: list[float], base: float, original: int, context: int
) -> tuple[list[float], float]:
    """YaRN (Peng et al., arXiv 2309.00071): a ramp over the pairs, and a factor on queries and keys."""
    if base <= 1 or original < 1:
        raise ConfigError(f"{nested.source}: YaRN over {original} tokens with a base of {base:g}")
    width, factor = 2 * len(rates), nested.number("factor", context / original)
    fast, slow = (
        nested.number(key, 0.0) or usual for key, usual in (("beta_fast", 32.0), ("beta_slow", 1.0))
    )

    def pair(turns: float) -> float:
        return width * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(base))

    first, last = pair(fast), pair(slow)
    if nested.flag("truncate", True):
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, width - 1)
    span = last - first or 0.001
    ramp = [min(max((i - first) / span, 0.0), 1.0) for i in range(len(rates))]
    divisors = [1.0 / (share / factor + (1 - share)) for share in ramp]
    return divisors, nested.number("attention_factor", _yarn_factor(nested, factor))


def _yarn_factor(nested: Fields, factor: float) -> float:
    def scale(weight: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * weight * math.log(factor) + 1.0

    numerator, denominator = nested.number("mscale", 0.0), nested.number("mscale_all_dim", 0.0)
    return scale(numerator) / scale(denominator) if numerator and denominator else scale(1.0)


def _longrope(
    nested: Fields, rates: list[float], base: float, original: int, context: int
) -> tuple[list[float], float]:
    """LongRoPE (Ding et al., arXiv 2402.13753): a divisor a pair, of texts up to the original context.

    Of a longer text `transformers` turns every position by `long_factor`, those of its cache again, which it
    throws away: no session here is that long (`RopeSettings.longest`).
    """
    if original < 2:
        key = "original_max_position_embeddings"
        raise ConfigError(f"{nested.source}: {key} is {original}, expected at least 2")
    short, _ = (_factors(nested, key, len(rates)) for key in ("short_factor", "long_factor"))
    factor = nested.number("factor", context / original)
    usual = 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))
    return short, nested.number("attention_factor", usual)


def _factors(nested: Fields, key: str, count: int) -> list[float]:
    """As many positive numbers as there are pairs."""
    values: Any = nested.values.get(key)
    listed = cast("list[Any]", values) if isinstance(values, list) else []
    numbers = [float(each) for each in listed if isinstance(each, int | float) and 0 < each < math.inf]
    if len(numbers) != len(listed) or len(numbers) != count:
        raise nested.refuse(key, f"expected a list of {count} positive numbers")
    return numbers


_SCALINGS: dict[str, Scaling] = {
    "linear": _linear,
    "llama3": _llama3,
    "yarn": _yarn,
    "longrope": _longrope,
}
