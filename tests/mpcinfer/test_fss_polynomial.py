"""The plan `fss-poly`: no function key, its reference bit by bit, near the float model, billed exactly."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mpcinfer.counting import count
from mpcinfer.depths import depth
from mpcinfer.models.decoder import KVCache
from mpcinfer.models.model import Model
from mpcinfer.models.variants import variant
from mpcinfer.suites.fss.program import Program
from mpcinfer.suites.registry import get_plan, suite_of
from parties.errors import ConfigError, RangeError
from parties.meter import Meter
from parties.randomness import InsecureTestRandom
from protocols.fss.executors.clear import Clear
from protocols.fss.executors.counting_executor import Counting
from protocols.fss.executors.gate import Gate, Shares
from protocols.fss.operations.activation_protocols import ActivationFormats
from protocols.fss.operations.polynomial_inverses import (
    PolynomialInverse,
    PolynomialInverseSqrt,
    PolynomialReciprocal,
)
from protocols.fss.operations.suite import RangeReductionFormats
from protocols.fss.preprocessing.correlations import Mask, Shared
from protocols.fss.registry import GELU, truncating
from protocols.share import Held, Share
from tests.mpcinfer.fss_parties import (
    PrivateRun,
    Steps,
    Whole,
    run_clear,
    run_counted,
    run_private,
    run_replayed,
)
from tests.mpcinfer.models.family_cases import logits_of
from tests.mpcinfer.test_encoders import MODELS as ENCODERS
from tests.mpcinfer.test_fss_models import costs, equal
from tests.mpcinfer.test_polynomial import gated, gpt2
from tests.mpcinfer.variant_models import BASE, variant_model

POLY = get_plan("fss-poly")
DEGREES = (8, 16, 32)
PROMPT = list(b"f(x, y")
STEPS: Steps = (PROMPT, [41], [58])
MAX_CONTEXT = len(PROMPT) + 2
IDS = [token for step in STEPS for token in step]
MODELS: dict[str, Callable[[], Model]] = {"gpt2": gpt2, "gated": gated}
models = pytest.mark.parametrize("name", MODELS)
APART = 0.03
"""Of the spread of logits. Two blocks, each of two norms with a relative error of 1e-3 and 8 significant
bits, a division like them, and an activation off by 2e-3 of what goes into it: ten errors of up to 1/256 of a
value, whose signs differ."""


@cache
def whole(name: str) -> Whole:
    model = MODELS[name]()
    return Whole(model, Program.of(POLY, model.config, model.ranges, MAX_CONTEXT))


@cache
def private(name: str) -> PrivateRun:
    return run_private(whole(name), STEPS)


class Watched(Counting):
    """Counts, and notes every gate with what it takes."""

    def __init__(self) -> None:
        super().__init__(Meter(timed=False))
        self.taken = dict[str, set[type]]()

    def apply(self, gate: Gate, *inputs: Share) -> Shares:
        kinds = {type(each) for each in gate.correlations(*inputs).values()}
        self.taken.setdefault(type(gate).__name__, set()).update(kinds)
        return super().apply(gate, *inputs)


def taken_by(program: Program) -> dict[str, set[type]]:
    watched, cache = Watched(), KVCache[Share]()
    for ids in STEPS:
        program.walk(watched, program.matrices(), cache, len(ids))
    return watched.taken


@models
def test_no_gate_takes_a_function_key(name: str) -> None:
    """Masks, and shares of products of them, are all that the dealer hands out for a pass."""
    model = whole(name).model
    taken = taken_by(whole(name).program)
    assert set[type]().union(*taken.values()) == {Mask, Shared}
    usual = taken_by(Program.of(get_plan("fss"), model.config, model.ranges, MAX_CONTEXT))
    assert not set[type]().union(*usual.values()) <= {Mask, Shared}, "the control: other plans do"


@models
def test_the_dealer_sends_the_client_seeds_alone(name: str) -> None:
    for bill in private(name).bills:
        sent = {row.label: row.offline_bytes_to_client for row in bill.rows if row.offline_bytes_to_client}
        assert set(sent) == {"dealer"}


@models
def test_a_run_is_the_reference_under_the_dealers_masks_bit_by_bit(name: str) -> None:
    done = private(name)
    assert len(done.logits) == len(STEPS)
    assert equal(done.logits, run_replayed(whole(name), STEPS, done))


@models
def test_parties_measure_what_is_counted(name: str) -> None:
    model = whole(name).model
    counted = run_counted(whole(name), STEPS)
    for bill in private(name).bills:
        assert costs(bill) == costs(counted)
    told = count(model.config, POLY, tokens=len(PROMPT), new_tokens=len(STEPS), ranges=model.ranges)
    assert costs(told) == costs(counted)


@models
def test_with_exact_truncation_it_is_the_reference_bit_by_bit(name: str) -> None:
    """The plan that `--local fixed` runs; it takes keys for truncation alone."""
    model, plan = MODELS[name](), truncating(POLY, exactly=True)
    exact = Whole(model, Program.of(plan, model.config, model.ranges, MAX_CONTEXT))
    steps: Steps = (PROMPT,)
    assert equal(run_private(exact, steps).logits, run_clear(exact, steps))


@models
@pytest.mark.parametrize("degree", [16, 32])
def test_near_the_float_model(name: str, degree: int) -> None:
    model = MODELS[name]()
    plan = POLY.replace(gelu=f"polynomial{degree}", silu=f"polynomial{degree}")
    run = Whole(model, Program.of(plan, model.config, model.ranges, MAX_CONTEXT))
    logits = run_clear(run, [IDS], InsecureTestRandom(3))
    right = logits_of(model, IDS)[-1]
    assert 0 < float((logits[0] - right).abs().max()) < APART * float(right.std())


# -- what is refused -----------------------------------------------------------------------------------------


def test_a_check_of_ranges_is_refused() -> None:
    model = gpt2()
    with pytest.raises(ConfigError, match=r"fss-poly is of polynomials.*take --verify"):
        Program.of(POLY, model.config, model.ranges, MAX_CONTEXT, check_ranges=True)
    with pytest.raises(ConfigError, match=r"fss-poly is of polynomials.*take --verify"):
        suite_of(POLY).require_checkable(POLY)
    suite_of(POLY).require_checkable(get_plan("fss"))


def test_softmax_is_refused_by_name_and_the_conversion_is_said() -> None:
    model = variant_model("SM+LN+G")
    for make in (
        lambda: count(model.config, POLY, tokens=4, ranges=model.ranges),
        lambda: suite_of(POLY).reference(model, POLY),
        lambda: Program.of(POLY, model.config, model.ranges),
    ):
        with pytest.raises(ConfigError, match=r"softmax attention is not.*--variant poly.*--plan fss$"):
            make()


def test_a_pooler_is_refused_by_name() -> None:
    config = dataclasses.replace(ENCODERS["tanh"], attention="power", causal=True, pooling="last")
    with pytest.raises(ConfigError, match=r"tanh of the model's pooler is not: take --plan fss$"):
        count(config, POLY, tokens=4)


def test_a_depth_is_of_the_other_suite() -> None:
    with pytest.raises(ConfigError, match=r"plan fss-poly .* no levels to count: take --plan poly"):
        depth(variant("poly", BASE), tokens=4, plan="fss-poly")


def test_plans_of_the_suite_say_whether_they_are_polynomial() -> None:
    suite = suite_of(POLY)
    assert suite.is_polynomial(POLY.replace(gelu="polynomial32"))
    others: Sequence[dict[str, str]] = (
        {"gelu": "lines"},
        {"inverse_sqrt": "octaves"},
        {"reciprocal": "octaves"},
        {"truncation": "faithful"},
    )
    assert not any(suite.is_polynomial(POLY.replace(**choice)) for choice in others)


def test_intervals_too_wide_are_refused_with_what_to_do() -> None:
    model = gpt2()
    wide = {**model.ranges, "layer0.ffn.in/linear": 70.0}
    del wide["layer0.ffn.in/bound"]
    with pytest.raises(RangeError, match=r"gelu.* on \[-105, 105\].*penalty on activations"):
        Program.of(POLY, model.config, wide, MAX_CONTEXT)
    far = {**model.ranges, "layer0.norm1/variance_min": 1e-3, "layer0.norm1/variance_max": 100.0}
    with pytest.raises(RangeError, match=r"1 / sqrt\(x\) by products.*16384 times apart.*variances"):
        Program.of(POLY, model.config, far, MAX_CONTEXT)


def test_beyond_its_interval_the_reference_says_so() -> None:
    model = gpt2()
    narrow = {
        key: value / 8 if key.endswith("ffn.in/linear") else value for key, value in model.ranges.items()
    }
    run = Whole(model, Program.of(POLY, model.config, narrow, MAX_CONTEXT))
    with pytest.raises(RangeError, match=r"layer0\.ffn"):
        run_clear(run, [PROMPT])


# -- errors that are stated ----------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [PolynomialReciprocal(), PolynomialInverseSqrt()], ids=["1/x", "root"])
@pytest.mark.parametrize("ratio", [1.0, 60.0, 2.0**10, 2.0**14])
def test_inverses_keep_what_they_state_over_ever_wider_ranges(
    protocol: PolynomialInverse, ratio: float
) -> None:
    formats = RangeReductionFormats(
        low=2.0**17,
        high=2.0**17 * ratio,
        cells_bits=6,
        ring_bits=24,
        frac_bits=20,
        exact_truncation=False,
        unit=2.0**17,
    )
    stated = protocol.max_rel_error(1.0 / protocol.order, formats)
    assert stated < 2.0**-8
    s = torch.linspace(0.0, 1.0, 4001, dtype=torch.float64).mul(math.log(ratio)).exp().mul(2.0**17).long()
    right = (s.double() * 2.0**-17) ** (-1.0 / protocol.order)
    for seed in (1, 2):
        executor = Clear(Meter(timed=False), exact_truncation=False, randomness=InsecureTestRandom(seed))
        y = protocol(executor, _unused, formats, Share(s, 0, 36, Held.MASKED))
        off = (y.value.double() * 2.0**-y.frac_bits / right - 1.0).abs()
        assert float(off.max()) <= stated + 2.0**-20 / float(right.min())


def _unused(s: NDArray[np.float64]) -> NDArray[np.float64]:
    """What other protocols look up."""
    raise AssertionError


def test_a_higher_degree_states_a_smaller_error() -> None:
    formats = ActivationFormats(
        largest=6.0, ring_bits=24, frac_bits=10, index_bits=14, index_frac=6, table_frac=9, centred=False
    )
    stated = [GELU[f"polynomial{degree}"]().max_abs_error("gelu", formats) for degree in DEGREES]
    assert stated[0] > 10 * stated[1] > 10 * stated[2]
    assert stated[2] < 2.0**-9
