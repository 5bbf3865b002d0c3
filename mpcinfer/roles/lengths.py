"""Which lengths the server of a session sees: those of prompts, or public ones that they are padded to."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from mpcinfer.counting import count
from mpcinfer.models.attention_state import FeatureMap
from mpcinfer.models.batch import Batch
from mpcinfer.models.buckets import Buckets
from mpcinfer.models.public import PublicModel
from mpcinfer.roles.bill_notes import exact_says
from mpcinfer.suites.registry import suite_of
from mpcinfer.suites.suite import DEALER
from parties.errors import ConfigError, RangeError
from protocols.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A session that a client would have, as far as padding depends on it.

    Attributes:
        batch: its passes without buckets.
        max_context: the most tokens of it; None for a default.
        public_prefix: tokens of a public prefix.
        prefix: features of an adapter.
        folder: correlations come from one.
    """

    plan: Plan
    public: PublicModel
    batch: Batch
    max_context: int | None = None
    check_ranges: bool = False
    public_prefix: int = 0
    prefix: FeatureMap | None = None
    folder: bool = False


@dataclass(frozen=True, slots=True)
class Lengths:
    """What a session does about lengths.

    Attributes:
        batch: its passes.
        buckets: what prompts are padded to; None for exact lengths.
        exact: why lengths are exact, where padding was asked for or declined; None otherwise.
    """

    batch: Batch
    buckets: Buckets | None = None
    exact: str | None = None

    def first(self, public: PublicModel, tokens: int, room: int, answer: int | None) -> int:
        """How many tokens the client's first pass will have; 0 where it cannot know yet.

        Args:
            tokens: of its first prompt; 0 where it does not know.
            room: tokens of the session.
            answer: the most new tokens; None where it does not know.
        """
        answer = answer if public.config.head == "vocabulary" else 0
        if self.buckets is None or not tokens:
            return tokens
        if answer is None or tokens > room - min(answer, 1):
            return 0
        return self.buckets.of(tokens, room, answer)

    def notes(self, batch: Batch) -> list[str]:
        """For the bill.

        Args:
            batch: of the session that came of it, over a folder that of the folder.
        """
        if self.exact is not None and (batch.several or not batch.padded):
            return [exact_says(self.exact, batch)]
        if self.buckets is not None and not batch.padded:
            return [exact_says("the folder of correlations was dealt for exact lengths", batch)]
        return []


def lengths_of(asked: Asked, buckets: Buckets | None) -> Lengths:
    """What a session does about lengths. Counts a pass of a token, in a second or less.

    Args:
        buckets: what the client pads to; None where nobody asked.

    Raises:
        ConfigError, RangeError: the session has no padding, and that was asked for without
            `where_possible`.
    """
    if buckets is None:
        return Lengths(asked.batch)
    if not buckets.sizes:
        return Lengths(asked.batch, exact=buckets.why)
    padded = dataclasses.replace(asked.batch, padded=True)
    try:
        _require_padding(asked, padded)
    except (ConfigError, RangeError) as error:
        if not buckets.where_possible:
            raise
        return Lengths(asked.batch, exact=str(error).removesuffix(f"; {padded.advice}"))
    return Lengths(padded, buckets)


def _require_padding(asked: Asked, padded: Batch) -> None:
    """Raises ConfigError or RangeError where the session's passes cannot be padded."""
    plan, config, suite = asked.plan, asked.public.config, suite_of(asked.plan)
    if asked.batch.several and not asked.batch.padded:
        raise ConfigError("equal_lengths: prompts of one length are not padded; leave --equal-lengths out")
    suite.require_batch(plan, config, padded)
    if asked.public_prefix:
        suite.require_public_prefix(plan, config, padded)
    suite.require_prefix(plan, config, asked.prefix, padded)
    if asked.folder and DEALER not in suite.helpers:
        raise ConfigError(f"correlations of `mpcinfer prepare` are for exact lengths; {padded.advice}")
    count(
        config,
        plan,
        tokens=1,
        ranges=asked.public.ranges,
        max_context=suite.session_context(config, asked.max_context),
        check_ranges=asked.check_ranges,
        batch=padded,
    )
