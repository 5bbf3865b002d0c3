"""The public form of counting: a bill by model name."""

from __future__ import annotations

from collections.abc import Sequence

from mpcinfer.counting import Part, count
from mpcinfer.models.batch import Batch
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.load import load_config, load_ranges_of
from mpcinfer.models.prefix_formats import features_named
from mpcinfer.plans import plan_from
from parties.bill import Bill
from protocols.plan import DEFAULT_PLAN


def cost(
    model: str | ModelConfig,
    *,
    tokens: int = 128,
    new_tokens: int = 1,
    speculate: int = 0,
    accepted: int | None = None,
    plan: str = DEFAULT_PLAN,
    choices: Sequence[str] | None = None,
    part: Part = "all",
    max_context: int | None = None,
    check_ranges: bool = False,
    batch: int = 1,
    equal_lengths: bool = False,
    pad: bool = False,
    public_prefix_tokens: int = 0,
    prefix: str | None = None,
) -> Bill:
    """What a private run would cost, exactly, without running it.

    Args:
        model: a name from `zoo()`, a path, or a shape.
        tokens: of the prompt.
        new_tokens: how many are generated.
        speculate: drafts that every pass checks.
        accepted: how many of them are right in each; None for all.
        plan, choices: name of a preset, and `operation=protocol` replacements.
        part: `all`, `embedding`, `stack` or `head`.
        max_context: (suite `fss`) the most tokens of the session, which some rings are as wide as; None for
            no more than these tokens. A session where nobody says otherwise has room for 1024, or for its
            model's context where that is less.
        check_ranges: (suite `fss`, calibrated models) every pass runs twice, so that the client is told of
            values that left their ranges.
        batch: prompts of every pass, 1 to 64; `tokens` are those of the longest.
        equal_lengths: all prompts of a batch are as long; otherwise nobody but the client learns how long the
            others are, and they may have any length.
        pad: a single prompt is padded to `tokens`, so that its own length stays the client's.
        public_prefix_tokens: of a text that both parties know and that comes before the prompt.
        prefix: features of a prefix adapter, such as `square`; None for none.

    Raises:
        ConfigError: no such model or plan, tokens that do not fit the context, impossible numbers of
            drafts, or a batch or a public prefix that the plan or the model cannot run.
    """
    shape = isinstance(model, ModelConfig)
    return count(
        model if shape else load_config(model),
        plan_from(plan, choices),
        tokens=tokens,
        new_tokens=new_tokens,
        speculate=speculate,
        accepted=accepted,
        part=part,
        ranges=None if shape else load_ranges_of(model),
        max_context=max_context,
        check_ranges=check_ranges,
        batch=Batch.of(batch, equal_lengths=equal_lengths, pad=pad),
        public_prefix_tokens=public_prefix_tokens,
        prefix=features_named(prefix),
    )
