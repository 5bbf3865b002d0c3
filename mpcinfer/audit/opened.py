"""What the sessions of a plan show each party of the other's secret, measured by enumeration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from mpcinfer.audit.algebra import random_ids
from mpcinfer.audit.chance import Recovered, differing, recovered
from mpcinfer.audit.sessions import tapped_session
from mpcinfer.audit.victims import VICTIM, victims
from mpcinfer.audit.views import RESULT, View, view
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.model import Model
from parties.errors import ConfigError
from parties.meter import CLIENT, SERVER
from protocols.plan import Plan

PROMPT, WEIGHTS = "prompt", "weights"
ATTACKER = {PROMPT: SERVER, WEIGHTS: CLIENT}
TOLD = {WEIGHTS: {RESULT: "the logits are what the client asks for, and a function of the weights"}}
"""By secret and reason: what its attacker is meant to get."""
_TOKENS = 4
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedAudit:
    """One direction of one plan.

    Attributes:
        plan: its name.
        secret: `prompt`, which the server is after, or `weights`, which the client is after.
        candidates: K; a guess is right with probability 1/K.
        trials: sessions with a secret that was drawn at random.
        rows: by reason.
        sizes: labels of which some sessions showed more words than others.
    """

    plan: str
    secret: str
    candidates: int
    trials: int
    rows: list[Recovered]
    sizes: list[str]

    @property
    def leaks(self) -> list[Recovered]:
        """What is above chance level and not meant to be seen."""
        told = TOLD.get(self.secret, {})
        return [row for row in self.rows if not row.at_chance and row.reason not in told]

    @property
    def clean(self) -> bool:
        """Whether everything that is opened is at chance level, and no size depends on anything."""
        return not self.leaks and not self.sizes


def audit_opened(
    plan: Plan,
    secret: str,
    *,
    candidates: int = 8,
    trials: int = 24,
    seed: int = 0,
    config: ModelConfig = VICTIM,
    say: Say | None = None,
) -> OpenedAudit:
    """Runs a session a candidate, then sessions of secrets drawn at random, and tries to name these.

    A candidate for a prompt is a row of 4 random tokens; one for weights, a model of the same shape and
    ranges with other matrices.

    Args:
        candidates: at least 2.
        trials: at least 1; of 24, and 8 candidates, about half must be right at one label for a leak.
        config: of the victim.
        say: is told how many sessions there were.

    Raises:
        ConfigError: too few candidates or trials, or the plan cannot run the model.
    """
    if candidates < 2 or trials < 1:
        raise ConfigError(f"candidates, trials: at least 2 and 1, got {candidates} and {trials}")
    run = (
        _prompts(plan, candidates, seed, config)
        if secret == PROMPT
        else _models(plan, candidates, seed, config)
    )
    generator = torch.Generator().manual_seed(seed + 2)
    secrets = random_ids(candidates, trials, generator)
    views: list[View] = []
    for number, which in enumerate([*range(candidates), *secrets]):
        views.append(run(which))
        if say is not None:
            say(f"{plan.name}: {secret}, session {number + 1} of {candidates + trials}")
    templates, seen = views[:candidates], views[candidates:]
    return OpenedAudit(
        plan=plan.name,
        secret=secret,
        candidates=candidates,
        trials=trials,
        rows=recovered(templates, list(zip(secrets, seen, strict=True))),
        sizes=[f"{key.label} ({key.form})" for key in differing(views)],
    )


Run = Callable[[int], View]
"""A session of the candidate with this number, as its attacker sees it."""


def _prompts(plan: Plan, count: int, seed: int, config: ModelConfig) -> Run:
    [model] = victims(1, config, seed)
    prompts = _rows(count, seed, config)
    return lambda which: view(tapped_session(model, plan, prompts[which]), ATTACKER[PROMPT])


def _models(plan: Plan, count: int, seed: int, config: ModelConfig) -> Run:
    models: Sequence[Model] = victims(count, config, seed)
    [prompt] = _rows(1, seed, config)
    return lambda which: view(tapped_session(models[which], plan, prompt), ATTACKER[WEIGHTS])


def _rows(count: int, seed: int, config: ModelConfig) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed + 3)
    return [random_ids(config.vocabulary, _TOKENS, generator) for _ in range(count)]
