"""What `--verify` does once an answer is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported while the other parties start
    from mpcinfer.answer import Answer
    from mpcinfer.prompt_weights.weights import PromptWeights
    from mpcinfer.verification import Verdict, Witness


def verdict_of(
    model: str,
    plan: str,
    choices: Sequence[str] | None,
    prompt: str,
    answer: Answer,
    witness: Witness,
    max_context: int,
    weights: PromptWeights | None = None,
) -> Verdict:
    """Loads the model and compares; arguments as the command has them.

    Raises:
        ConfigError: the model's weights are not here.
    """
    from mpcinfer.models.load import load_model
    from mpcinfer.plans import plan_from
    from mpcinfer.verification import verify

    chosen = plan_from(plan, choices or [])
    return verify(
        load_model(model), chosen, prompt, answer, witness.logits, max_context=max_context, weights=weights
    )
