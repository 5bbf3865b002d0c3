"""What a party of the FSS suite does before it meets the others, so that nobody waits for it later.

Kernels are loaded when they are first used, and compiled where they are in no cache yet. A warm-up runs a
tiny model of the same form within this process; `mpcinfer.suites.fss.warm` runs all of them.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing

import numpy as np
import torch
from numpy.typing import NDArray

from mpcinfer.models.config import ModelConfig, weight_shapes
from mpcinfer.sessions.loading import Loading
from mpcinfer.sessions.session_config import SessionConfig, require_ranges
from mpcinfer.suites.fss.connect import checked_weights, encoded_weights, fss_over
from mpcinfer.suites.fss.dealing import ModelDealer, Writers, serve_fss
from mpcinfer.suites.fss.encoded_ahead import usual_program
from mpcinfer.suites.fss.program import Program
from mpcinfer.suites.kernel_mark import is_warm
from parties.link import Link
from parties.local import local_pair
from parties.meter import CLIENT, SERVER, Meter
from parties.randomness import SystemRandom
from parties.threads import run_two_threads
from protocols.fss.plans import PLANS
from protocols.fss.preprocessing.seeds import DealerSeeds
from protocols.fss.preprocessing.source import DealerSource, RunShape
from protocols.plan import Plan

_TOKENS = (3, 1)
"""A prompt, and a step of one token."""
_SMALL_WEIGHT = 2.0**-6
_TIMEOUT_S = 600.0
GPT2 = ModelConfig(
    layers=1, width=16, heads=2, kv_heads=1, head_width=16, hidden=16, vocabulary=16, context=288
)
LLAMA = dataclasses.replace(GPT2, norm="rmsnorm", activation="silu", ffn="glu", positions="rope")


def ready(session_config: SessionConfig) -> SessionConfig:
    """A party's configuration, after a warm-up where kernels may have to be compiled.

    A server's have its weights in fixed point, for the usual maximum context, or on their way there: whoever
    looks at those waits, and gets RangeError where one, or a token's row, is too large. Those that are there
    already, shared by the sessions of a server, stay.

    Raises:
        ConfigError: the model was never calibrated, or the plan cannot be run.
        RangeError: the model's values need more than 64 bits.
    """
    plan, public = session_config.plan, session_config.public
    require_ranges(public)
    weights, prefix_run = session_config.weights, session_config.prefix_run
    program = usual_program(session_config)  # its tables are kept for the session's
    if weights is not None and session_config.encoded is None:
        ahead = Loading(lambda: checked_weights(program, public.name, weights, prefix_run))
        session_config = dataclasses.replace(session_config, encoded=ahead)
    if not is_warm():
        warm_up(plan, public.config, public.ranges)
    return session_config


def warm_up(
    plan: Plan,
    config: ModelConfig,
    ranges: Mapping[str, float],
    *,
    tokens: Sequence[int] = _TOKENS,
    weight: float = _SMALL_WEIGHT,
) -> None:
    """All three parties' parts, for a plan and a model of this form.

    Args:
        tokens: of its passes, 288 together at most; of a model that reads whole texts, the first.
        weight: what its matrices are filled with; from about 2 on it takes more than 16 bits.
    """
    tiny = dataclasses.replace(
        config,
        layers=GPT2.layers,
        width=GPT2.width,
        heads=GPT2.heads,
        kv_heads=GPT2.kv_heads,
        head_width=GPT2.head_width,
        hidden=GPT2.hidden,
        vocabulary=GPT2.vocabulary,
        context=GPT2.context,
    )
    tokens = tokens if config.causal else tokens[:1]
    program = Program.of(plan, tiny, ranges)
    shapes = weight_shapes(program.config).items()
    weights = {
        name: torch.ones(shape) if len(shape) == 1 else torch.full(shape, weight) for name, shape in shapes
    }
    own = encoded_weights(program, weights)
    to_dealer = [local_pair(_TIMEOUT_S) for _ in (SERVER, CLIENT)]

    def deal() -> None:
        server, client = (Link(dealer, Meter(), None) for _, dealer in to_dealer)
        serve_fss(server, client, program)

    def party(link: Link) -> None:
        assert link.rank is not None
        source = DealerSource(link.rank, Link(to_dealer[link.rank][0], Meter(), None))
        with (
            closing(source),
            closing(fss_over(link, program, own if link.rank == SERVER else None, source)) as session,
        ):
            session.prepare(tokens)
            for count in tokens:
                session.advance([0] * count if link.rank == CLIENT else None, count)

    dealer = threading.Thread(target=deal, daemon=True)
    dealer.start()
    run_two_threads(party, party, timeout_s=_TIMEOUT_S)
    dealer.join()


def warm_up_dealing() -> None:
    """The dealer's part, for models of the GPT-2 and of the Llama form under the plan `fss`."""
    for config in (GPT2, LLAMA):
        program = Program.of(PLANS["fss"], config, {})
        dealer, start = ModelDealer(program, DealerSeeds.fresh(SystemRandom())), 0
        nowhere = Writers(_ignore, _ignore, _ignore)
        for number, tokens in enumerate(_TOKENS):
            dealer.deal(number, RunShape(start, tokens), nowhere)
            start += tokens


def _ignore(data: NDArray[np.uint8]) -> None:
    """Where a warm-up's correlations go."""
