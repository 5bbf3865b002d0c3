"""The public form of counting: a bill by model name."""

from __future__ import annotations

from collections.abc import Sequence

from mpcinfer.backends.counting import Part, count
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.load import load_config, load_ranges_of
from mpcinfer.plans import plan_from
from parties.bill import Bill


def cost(
    model: str | ModelConfig,
    *,
    tokens: int = 128,
    new_tokens: int = 1,
    plan: str = "crypten",
    choices: Sequence[str] | None = None,
    part: Part = "all",
) -> Bill:
    """What a private run would cost, exactly, without running it.

    Args:
        model: a name from `zoo()`, a path, or a shape.
        tokens: of the prompt.
        new_tokens: how many are generated.
        plan, choices: name of a preset, and `operation=protocol` replacements.
        part: `all`, `embedding`, `stack` or `head`.

    Raises:
        ConfigError: no such model or plan, or tokens that do not fit the context.
    """
    if isinstance(model, ModelConfig):
        return count(model, plan_from(plan, choices), tokens=tokens, new_tokens=new_tokens, part=part)
    return count(
        load_config(model),
        plan_from(plan, choices),
        tokens=tokens,
        new_tokens=new_tokens,
        part=part,
        ranges=load_ranges_of(model),
    )
