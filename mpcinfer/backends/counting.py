"""A private run's bill without the run: the decoder on shapes alone."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from mpcinfer.backends.fss_counting import count_fss
from mpcinfer.backends.fss_range_check import require_checkable
from mpcinfer.backends.parts import Part, Pass, answer_passes, needed
from mpcinfer.backends.secure import SecureBackend
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder, KVCache
from mpcinfer.models.fold import as_run
from mpcinfer.speculation import MOST_DRAFTS
from parties.bill import Bill
from parties.errors import ConfigError
from parties.meter import Meter
from protocols.additive.counting_arithmetic import CountingArithmetic
from protocols.additive.registry import resolve
from protocols.additive.weight import Weight
from protocols.plan import Plan
from protocols.share import Share


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
    room: int | None = None,
    check_ranges: bool = False,
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
        room: (engine `fss`) the most tokens of the session, which some rings are as wide as; None for no more
            than these tokens. A session where nobody says otherwise has room for `DEFAULT_ROOM`, at most its
            model's context.
        check_ranges: (engine `fss`, calibrated models) every pass runs twice, then under labels of `check.`.

    Returns:
        A bill with `seconds` None and no wire bytes. Setup holds the weights that the part needs.

    Raises:
        ConfigError: fewer than one token, or more than the context or the room holds; ranges cannot be
            checked.
    """
    if tokens < 1 or new_tokens < 1:
        raise ConfigError(f"a run has at least one token and one new token, not {tokens} and {new_tokens}")
    if tokens + new_tokens - 1 > config.context:
        raise ConfigError(f"{tokens} + {new_tokens} tokens do not fit the context of {config.context}")
    right = speculate if accepted is None else accepted
    if not 0 <= right <= speculate <= MOST_DRAFTS:
        raise ConfigError(
            f"a pass has 0 to {MOST_DRAFTS} drafts, all or fewer of them right, not {speculate} and {right}"
        )
    passes = answer_passes(tokens, new_tokens, speculate, right)
    if check_ranges:
        require_checkable(plan)
    config, _ = as_run(config, None, folds=plan.fold)
    if plan.suite == "fss":
        least = tokens + new_tokens - 1
        if room is not None and not least <= room <= config.context:
            raise ConfigError(f"room for {room} tokens; the run has {least}, the context {config.context}")
        return count_fss(
            config,
            plan,
            passes,
            room=room or least,
            part=part,
            ranges=ranges or None,
            check_ranges=check_ranges,
        )
    meter = Meter(timed=False)
    backend = SecureBackend(
        CountingArithmetic.of_plan(plan, meter), resolve(plan), config.vocabulary, ranges or None
    )
    decoder = Decoder(backend, config, backend.load(config, None, needed(config, part)))
    cache: KVCache[Share] = KVCache()
    for each in passes:
        cache.rewind(each.start, backend.first_tokens)
        _pass(decoder, backend, cache, each, part)
    return meter.bill()


def _pass(
    decoder: Decoder[Share, Weight], backend: SecureBackend, cache: KVCache[Share], run: Pass, part: Part
) -> None:
    """One forward pass, or the part of it."""
    width = decoder.config.width
    if part == "all":
        tokens = backend.tokens(None, run.tokens)
        backend.open_logits(decoder.forward(tokens, run.tokens, cache=cache, rows=run.rows))
        return
    if part == "embedding":
        decoder.embedding(backend.tokens(None, run.tokens), run.start)
    elif part == "stack":
        decoder.stack(_activation(backend, run.tokens, width), start=run.start, cache=cache)
    else:
        decoder.head(_activation(backend, run.rows, width))
    cache.length += run.tokens


def _activation(backend: SecureBackend, tokens: int, width: int) -> Share:
    return Share(torch.empty(1, tokens, width, dtype=torch.int64, device="meta"), backend.engine.frac_bits)
