"""A private run's bill without the run: the decoder on shapes alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mpcinfer.backends.parts import Part, Pass, answer_passes
from mpcinfer.models.attention_state import FeatureMap
from mpcinfer.models.batch import SINGLE, Batch
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.fold import as_run
from mpcinfer.public_prefix import require_one_prefix
from mpcinfer.speculation import MOST_DRAFTS
from mpcinfer.suites.registry import suite_of
from mpcinfer.suites.requests import Run
from parties.bill import Bill
from parties.errors import ConfigError
from protocols.plan import Plan


def count(
    config: ModelConfig,
    plan: Plan,
    *,
    tokens: int,
    new_tokens: int = 1,
    speculate: int = 0,
    accepted: int | None = None,
    part: Part = "all",
    ranges: Mapping[str, float] | None = None,
    max_context: int | None = None,
    check_ranges: bool = False,
    batch: Batch = SINGLE,
    public_prefix_tokens: int = 0,
    prefix: FeatureMap | None = None,
) -> Bill:
    """Rounds and bytes that a session would measure; they depend on shapes alone.

    Args:
        tokens: of the prompt, which takes one forward pass and gives the first new token.
        new_tokens: how many tokens are generated; each after the first is a pass of one token over the
            cache, unless
        speculate: drafts are checked, so many in every pass, of which
        accepted: so many are right; None for all.
        part: `all` with the opening of the logits at the client; `embedding`; `stack`, the blocks between
            embedding and head; `head`, the final norm and the logits of one token a pass and of each draft.
        ranges: calibrated ranges; they decide how wide rings are, and what an inverse square root takes.
        max_context: the most tokens of the session, which rings of some suites are as wide as; None for no
            more than these tokens. A session where nobody says otherwise has more room.
        check_ranges: (calibrated models, suites that can) every pass runs twice, then under labels of
            `check.`.
        batch: prompts of every pass; `tokens` and `new_tokens` are of each, those of the longest where they
            are padded.
        public_prefix_tokens: tokens before all of these that both parties know and the server ran in the
            clear; 0 for none. They count in context and maximum context.
        prefix: features of an adapter that every query sees besides; the bill is the same for any.

    Returns:
        A bill with `seconds` None and no wire bytes. Setup holds the weights that the part needs.

    Raises:
        ConfigError: fewer than one token, or more than the context or the maximum context holds; ranges
            cannot be checked; drafts of several prompts; several where the suite or the model cannot; a
            prefix that they have no protocol for.
    """
    if tokens < 1 or new_tokens < 1:
        raise ConfigError(f"a run has at least one token and one new token, not {tokens} and {new_tokens}")
    if config.head != "vocabulary" and new_tokens > 1:
        raise ConfigError(f"new_tokens: a model with head={config.head} reads a text and generates none")
    if public_prefix_tokens < 0:
        raise ConfigError(f"a public prefix has 0 or more tokens, not {public_prefix_tokens}")
    least = public_prefix_tokens + tokens + new_tokens - 1
    if least > config.context:
        run = f"{tokens} tokens of a text"
        if config.head == "vocabulary":
            run = f"{tokens} tokens of a prompt and {new_tokens} of its answer"
        if public_prefix_tokens:
            run = f"a public prefix of {public_prefix_tokens} tokens, {run}"
        raise ConfigError(f"{run} do not fit the context of {config.context}")
    if max_context is not None and not least <= max_context <= config.context:
        raise ConfigError(
            f"a maximum context of {max_context} tokens; the run has {least}, the context {config.context}"
        )
    right = speculate if accepted is None else accepted
    if not 0 <= right <= speculate <= MOST_DRAFTS:
        raise ConfigError(
            f"a pass has 0 to {MOST_DRAFTS} drafts, all or fewer of them right, not {speculate} and {right}"
        )
    suite = suite_of(plan)
    if check_ranges:
        suite.require_checkable(plan)
    if batch.several and speculate:
        raise ConfigError("speculate: drafts are checked of one prompt, not of a batch")
    suite.require_batch(plan, config, batch)
    if prefix is not None:
        require_one_prefix(public_prefix_tokens or None)
    if public_prefix_tokens:
        suite.require_public_prefix(plan, config, batch)
    suite.require_prefix(plan, config, prefix, batch)
    run = Run(
        config=as_run(config, None, folds=plan.fold)[0],
        passes=answer_passes(tokens, new_tokens, speculate, right, public_prefix_tokens),
        max_context=max_context or least,
        part=part,
        ranges=ranges or None,
        check_ranges=check_ranges,
        batch=batch,
        public_prefix=public_prefix_tokens,
        prefix=prefix,
    )
    return suite.count(plan, run)


def count_passes(
    config: ModelConfig,
    plan: Plan,
    passes: Sequence[Pass],
    batch: Batch = SINGLE,
    *,
    ranges: Mapping[str, float],
    max_context: int,
    check_ranges: bool = False,
) -> Bill:
    """The bill of passes that a session took, over one cache; a pass that begins earlier than the last one
    ended has it cut there.

    Args:
        config: of the model, not folded.
        others: as for `count`.

    Raises:
        ConfigError, RangeError: the plan cannot run the model.
    """
    run = Run(
        config=as_run(config, None, folds=plan.fold)[0],
        passes=passes,
        max_context=max_context,
        part="all",
        ranges=ranges or None,
        check_ranges=check_ranges,
        batch=batch,
    )
    return suite_of(plan).count(plan, run)
