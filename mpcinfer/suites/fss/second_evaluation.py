"""The second evaluation of a pass, in rings as much wider as they can be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder
from mpcinfer.suites.fss.backend import FssBackend
from mpcinfer.suites.fss.formats import score_index_bits
from mpcinfer.suites.fss.weights import Sharing, matrices
from mpcinfer.suites.fss.wider_ranges import wider_ranges
from mpcinfer.suites.fss.widths import Widths
from parties.errors import ConfigError, RangeError
from parties.meter import Meter
from protocols.fss.executors.counting_executor import Counting
from protocols.fss.plans import is_faithful
from protocols.fss.registry import has_polynomials
from protocols.fss.registry import resolve as resolve_fss
from protocols.plan import Plan

MOST_BITS = 4
"""A value up to 2^4 times beyond its usual ring is still right in the wider one."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How a pass is evaluated: by a plan's protocols, in rings."""

    plan: Plan
    widths: Widths


def second_evaluation(
    plan: Plan,
    config: ModelConfig,
    ranges: Mapping[str, float] | None,
    *,
    max_context: int,
    padded: bool = False,
    state: bool = False,
) -> Evaluation:
    """An evaluation with another ring for every value: a value beyond its range is another wrong value there.

    Rings are `MOST_BITS` bits wider, or fewer where not so many fit or where every layer then finds maxima as
    in the first evaluation. Where one bit more is too much for that, some take the tree.

    Args:
        config: folded as the plan wants it.
        ranges: calibrated.
        padded, state: as for `Widths`.

    Raises:
        ConfigError: there are no calibrated ranges, or the plan has polynomials.
        RangeError: not even one bit fits.
    """
    require_no_polynomials(plan)
    if not ranges:
        raise ConfigError("ranges are checked of calibrated models: run `mpcinfer calibrate`")
    of = partial(
        Widths,
        config,
        max_context=max_context,
        exact_truncation=is_faithful(plan),
        padded=padded,
        state=state,
        states=plan.chunk > 0,
    )
    usual, widest, reason = _maxima(plan, of(ranges)), None, ""
    for bits in range(MOST_BITS, 0, -1):
        try:
            widths = of(wider_ranges(ranges, bits))
            _require_all(plan, config, widths)
        except (ConfigError, RangeError) as error:
            reason = str(error)
            continue
        if _maxima(plan, widths) == usual:
            return Evaluation(plan, widths)
        widest = widest or Evaluation(plan, widths)
    if widest is None:
        raise RangeError(f"ranges cannot be checked, wider rings do not fit: {reason}")
    return widest


def require_no_polynomials(plan: Plan) -> None:
    """Polynomials are fitted to ranges: for wider ones they are others, and so are their logits.

    Raises:
        ConfigError: the plan has some.
    """
    if has_polynomials(plan):
        raise ConfigError(
            f"--check-ranges: plan {plan.name} is of polynomials, which are others for wider ranges: take "
            "--verify where the weights are, or --plan fss"
        )


def _maxima(plan: Plan, widths: Widths) -> list[type]:
    """What finds the maxima of each layer's scores."""
    if widths.config.attention != "softmax":
        return []
    maximum, step = resolve_fss(plan).maximum, widths.precision.step
    layers = range(widths.config.layers)
    return [type(maximum.for_bits(score_index_bits(widths.attention(each), -step))) for each in layers]


def _require_all(plan: Plan, config: ModelConfig, widths: Widths) -> None:
    """Meets all limits now."""
    suite, counting = resolve_fss(plan), Counting(Meter(timed=False), exact_truncation=is_faithful(plan))
    backend = FssBackend(counting, config, widths, suite)
    weights = matrices(config, widths, sharing=Sharing.of(suite))
    backend.open_logits(Decoder(backend, config, weights).forward(backend.tokens(None, 1), 1, rows=1))
