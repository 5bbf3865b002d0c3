"""Which batches plans of this suite can run."""

from __future__ import annotations

from mpcinfer.models.batch import Batch
from mpcinfer.models.config import ModelConfig
from parties.errors import ConfigError
from protocols.plan import Plan


def require_maskable(plan: Plan, config: ModelConfig, batch: Batch) -> None:
    """Raises ConfigError where the model's attention, or the plan's, cannot leave out padding."""
    batch.require_maskable(config)
    if batch.padded and plan.choices["softmax"] == "stock":
        raise ConfigError(f"softmax=stock: padded prompts need softmax=tree; {batch.advice}")
