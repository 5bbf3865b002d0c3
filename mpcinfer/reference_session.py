"""A fixed-point reference that has seen what a private session has seen before its first pass."""

from __future__ import annotations

from typing import Any

from mpcinfer.generation import Session
from mpcinfer.models.batch import SINGLE
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.model import Model
from mpcinfer.models.prefix_run import run_prefix
from mpcinfer.public_prefix import PublicPrefix
from mpcinfer.suites.registry import suite_of
from protocols.plan import Plan


def reference_session(
    model: Model, plan: Plan, decoder: Decoder[Any, Any], public_prefix: PublicPrefix | None
) -> Session[Any, Any]:
    """A session of `Suite.reference`: with an empty cache, or one that holds a public prefix.

    Raises:
        ConfigError: the plan or the model has no public prefixes.
        RangeError: a key or a value of the prefix is out of range.
    """
    if public_prefix is None:
        return Session(decoder)
    suite = suite_of(plan)
    suite.require_public_prefix(plan, model.config, SINGLE)
    run = run_prefix(model.config, model.weights, public_prefix.ids, model.ranges)
    return Session(decoder, suite.reference_cache(decoder, run))
