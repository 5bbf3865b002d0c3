"""The FSS suite's reference on one machine: the same program in the clear, every range checked."""

from __future__ import annotations

from mpcinfer.models.attention_state import AttentionState
from mpcinfer.models.decoder import Decoder, KVCache
from mpcinfer.models.fold import fold
from mpcinfer.models.model import Model
from mpcinfer.models.prefix_run import PrefixRun
from mpcinfer.models.public import PublicModel
from mpcinfer.prefix.adapter import PrefixAdapter
from mpcinfer.prefix.part import PrefixPart
from mpcinfer.suites.fss.backend import FssBackend
from mpcinfer.suites.fss.prefix_states import opened_states, require_features
from mpcinfer.suites.fss.public_prefix import BRING_IN_CLEAR, encoded_prefix, prefix_cache
from mpcinfer.suites.fss.weights import Sharing, encoded
from mpcinfer.suites.fss.widths import Widths
from parties.errors import ConfigError
from parties.meter import Meter
from parties.randomness import Randomness
from protocols.fss.executors.clear import Clear
from protocols.fss.preprocessing.matrix import Matrix
from protocols.fss.registry import resolve as resolve_fss
from protocols.fss.registry import truncating
from protocols.plan import Plan
from protocols.share import Share


def reference_decoder(
    model: Model,
    plan: Plan,
    *,
    max_context: int | None = None,
    rounding: Randomness | None = None,
    prefix: PrefixAdapter | None = None,
) -> Decoder[Share, Matrix]:
    """A model as a plan of the suite `fss` computes it.

    Args:
        model: calibrated.
        plan: for its protocols; whether it truncates exactly is said by `rounding`.
        max_context: tokens the session has room for, which some rings and scales depend on; None for the
            default.
        rounding: None rounds down, as `fss-faithful` does, bit by bit; otherwise truncation rounds at random,
            as under `fss`, with these draws.
        prefix: what every query sees besides the tokens.

    Raises:
        ConfigError: the model was never calibrated, or the prefix is not for it.
        RangeError: its values need rings of over 64 bits; later, where a value leaves its ring.
    """
    if not model.ranges:
        raise ConfigError(f"{model.name} was never calibrated: run `mpcinfer calibrate`")
    config, weights = fold(model.config, model.weights)
    exact_truncation = rounding is None
    suite = resolve_fss(truncating(plan, exactly=exact_truncation))
    widths = Widths(
        config,
        model.ranges,
        max_context=max_context,
        exact_truncation=exact_truncation,
        state=prefix is not None,
        states=plan.chunk > 0,
    )
    executor = Clear(Meter(), exact_truncation=exact_truncation, randomness=rounding)
    backend = FssBackend(executor, config, widths, suite)
    states: list[AttentionState[Share]] = []
    if prefix is not None:
        require_features(prefix.features, config, padded=False, chunk=plan.chunk)
        part = PrefixPart.owned(prefix, PublicModel.of(model))
        layers = [widths.attention(layer) for layer in range(config.layers)]
        states = opened_states(executor, config, layers, part.features, part)
    return Decoder(backend, config, encoded(config, widths, weights, sharing=Sharing.of(suite)), states)


def reference_cache(decoder: Decoder[Share, Matrix], run: PrefixRun) -> KVCache[Share]:
    """As `Suite.reference_cache`."""
    assert isinstance(decoder.backend, FssBackend)
    weights = encoded_prefix(decoder.config, decoder.backend.widths, run)
    return prefix_cache(weights, decoder.config.layers, 1, BRING_IN_CLEAR)
