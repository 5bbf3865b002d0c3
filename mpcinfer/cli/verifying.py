"""What `--verify` does once an answer is there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported while the other parties start
    from mpcinfer.answer import Answer
    from mpcinfer.prompt_weights.weights import PromptWeights
    from mpcinfer.public_prefix import PublicPrefix
    from mpcinfer.verification import Verdict, Witness


def verdict_of(
    model: str,
    plan: str,
    choices: Sequence[str] | None,
    prompt: str,
    answer: Answer,
    witness: Witness,
    max_context: int,
    public_prefix: PublicPrefix | None = None,
    prefix: str | None = None,
    weights: PromptWeights | None = None,
) -> Verdict:
    """Loads the model and compares; arguments as the command has them.

    Raises:
        ConfigError: the model's weights are not here, or not all of the prefix is.
    """
    from mpcinfer.models.load import load_model
    from mpcinfer.plans import plan_from
    from mpcinfer.verification import verify

    chosen, adapter = plan_from(plan, choices or []), None
    if prefix is not None:
        from mpcinfer.prefix.file import load_adapter

        adapter = load_adapter(Path(prefix))
    return verify(
        load_model(model),
        chosen,
        prompt,
        answer,
        witness.logits,
        max_context=max_context,
        public_prefix=public_prefix,
        prefix=adapter,
        weights=weights,
    )
