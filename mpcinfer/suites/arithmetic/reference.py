"""The reference of suites on additive shares, on one machine: fixed point of 64 bits in the clear."""

from __future__ import annotations

import torch

from mpcinfer.backends.fixed import FixedBackend
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.fold import as_run, fold
from mpcinfer.models.model import Model
from mpcinfer.suites.arithmetic.backend import SecureBackend
from parties.errors import ConfigError
from parties.meter import Meter
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.cleartext import IdealCleartextArithmetic
from protocols.arithmetic.suite import Suite
from protocols.arithmetic.weight import Weight
from protocols.plan import Plan
from protocols.share import Share


def reference_decoder(model: Model, frac_bits: int) -> Decoder[torch.Tensor, torch.Tensor]:
    """A model as this suite's plans compute it, but for the stated errors of their protocols.

    Raises:
        RangeError: a weight is too large; later, where a value is.
    """
    config, weights = fold(model.config, model.weights)
    backend = FixedBackend(frac_bits)
    return Decoder(backend, config, backend.load(weights))


def polynomial_decoder(
    model: Model, plan: Plan, suite: Suite, frac_bits: int, executor: Arithmetic | None = None
) -> Decoder[Share, Weight]:
    """A model under a polynomial plan: its polynomials in fixed point, every product truncated down.

    A private run differs by rounding alone: local truncation is off by a unit of the last place.

    Args:
        suite: the plan's functions.
        executor: another one that stands for both parties; fixed point in the clear by default.

    Raises:
        ConfigError: the model was never calibrated, or is not polynomial.
        RangeError: its ranges are more than a protocol holds; later, where a value is.
    """
    if not model.ranges:
        raise ConfigError(
            f"{model.name} was never calibrated, and polynomials hold on calibrated intervals: `mpcinfer "
            "calibrate MODEL --prompts FILE --out MODEL/ranges.json`"
        )
    config, weights = as_run(model.config, model.weights, folds=plan.fold)
    executor = IdealCleartextArithmetic(Meter(timed=False), frac_bits) if executor is None else executor
    backend = SecureBackend(executor, suite, config.vocabulary, model.ranges, types=config.types)
    return Decoder(backend, config, backend.load(config, weights))
