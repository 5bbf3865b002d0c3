"""The depth of a model by name: what a homomorphic evaluation of a polynomial plan would take."""

from __future__ import annotations

from collections.abc import Sequence

from mpcinfer.backends.parts import Part, Pass
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.depth import DepthReport
from mpcinfer.models.fold import as_run
from mpcinfer.models.load import load_config, load_ranges_of
from mpcinfer.plans import plan_from
from mpcinfer.suites.registry import suite_of
from mpcinfer.suites.requests import Run
from parties.errors import ConfigError


def depth(
    model: str | ModelConfig,
    *,
    tokens: int = 128,
    plan: str = "poly",
    choices: Sequence[str] | None = None,
    part: Part = "all",
) -> DepthReport:
    """Depth, levels, products and rotations of one pass over a prompt, from the program that a session runs.

    Args:
        model: a name from `zoo()`, a path, or a shape.
        tokens: of the prompt.
        plan, choices: name of a preset, and `operation=protocol` replacements; polynomial.
        part: `all`, `embedding`, `stack` or `head`.

    Raises:
        ConfigError: no such model or plan, tokens that do not fit, or something that is not polynomial.
        RangeError: the model's ranges are more than a protocol holds.
    """
    shape = isinstance(model, ModelConfig)
    config, chosen = model if shape else load_config(model), plan_from(plan, choices)
    if not 1 <= tokens <= config.context:
        raise ConfigError(f"{tokens} tokens do not fit the context of {config.context}")
    run = Run(
        config=as_run(config, None, folds=chosen.fold)[0],
        passes=[Pass(0, tokens, 1)],
        max_context=tokens,
        part=part,
        ranges=None if shape else (load_ranges_of(model) or None),
    )
    return suite_of(chosen).depth(chosen, run)
