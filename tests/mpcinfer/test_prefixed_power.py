"""Power 2 over a prefix adapter's states under fss: its reference bit by bit, the long prompt, its bill."""

from __future__ import annotations

import dataclasses
from functools import cache

import pytest
import torch

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.clear import ClearModel
from mpcinfer.counting import count
from mpcinfer.generation import Session
from mpcinfer.models.bounds import integer_bits
from mpcinfer.models.decoder import Decoder, KVCache
from mpcinfer.models.model import Model
from mpcinfer.models.prefix_formats import LARGEST_SQUARES, LEAST_KEPT
from mpcinfer.models.public import PublicModel
from mpcinfer.models.ranges import calibrate
from mpcinfer.plans import plan_from
from mpcinfer.prefix.adapter import DIVISOR, READ, PrefixAdapter
from mpcinfer.prefix.fit import fit_prefix
from mpcinfer.prefix.measure import measured_over
from mpcinfer.prefix.part import PrefixPart
from mpcinfer.prefix.teacher import prefix_keys, teacher_logits
from mpcinfer.sessions.exchange import StepClient
from mpcinfer.suites.fss.precision import Precision
from mpcinfer.suites.fss.program import Program
from mpcinfer.suites.fss.reference import reference_decoder
from mpcinfer.suites.fss.widths import Widths
from parties.errors import ConfigError, RangeError
from parties.randomness import InsecureTestRandom
from protocols.fss.plans import is_faithful
from protocols.fss.preprocessing.matrix import Matrix
from protocols.plan import Plan
from protocols.share import Share
from tests.mpcinfer.fss_parties import (
    EXACT,
    PROBABILISTIC,
    QUICK,
    PrivateRun,
    Steps,
    Whole,
    run_clear,
    run_counted,
    run_private,
)
from tests.mpcinfer.test_fss_models import costs, equal
from tests.mpcinfer.test_fss_states import FORMS
from tests.mpcinfer.three_parties import random_model, run_model

PREFIX = list(b"class Row(list):")
WINDOWS = [list(b"x = 1 + y"), list(b"def f(a):"), list(b"return x."), list(b"for i in x")]
PROMPT = list(b"f(x, y")
STEPS: Steps = (PROMPT, [41], [58])
MAX_CONTEXT = len(PROMPT) + 2
forms = pytest.mark.parametrize("name", FORMS)
plans = pytest.mark.parametrize("plan", [PROBABILISTIC, EXACT], ids=["fss", "fss-faithful"])


@cache
def calibrated(name: str) -> Model:
    """A random model that has seen what follows."""
    model = random_model(dataclasses.replace(FORMS[name], context=64))
    texts = [PREFIX, [token for step in STEPS for token in step], *WINDOWS]
    return dataclasses.replace(model, ranges=calibrate(model, [model.tokenizer.decode(t) for t in texts]))


@cache
def adapter(name: str, length: int = len(PREFIX)) -> PrefixAdapter:
    """Of the first tokens of the prefix, or of it over and over."""
    ids = (PREFIX * (length // len(PREFIX) + 1))[:length]
    return fit_prefix(calibrated(name), ids, WINDOWS, "pairs").adapter


@cache
def whole(name: str, plan: Plan, precision: Precision = QUICK) -> Whole:
    """Summands of both parties are uniform words."""
    model, stream = calibrated(name), InsecureTestRandom(7)
    owned = PrefixPart.owned(adapter(name), PublicModel.of(model))

    def masked(tensors: list[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        client = [torch.from_numpy(stream.words(tuple(each.shape), 64)) for each in tensors]
        return client, [each - mask for each, mask in zip(tensors, client, strict=True)]

    halves = zip(masked(list(owned.sums)), masked(list(owned.beside)), strict=True)
    client, server = (PrefixPart(features="pairs", sums=sums, beside=beside) for sums, beside in halves)
    program = Program.of(plan, model.config, model.ranges, MAX_CONTEXT, prefix="pairs")
    widths = Widths(
        program.folded,
        program.ranges,
        max_context=MAX_CONTEXT,
        precision=precision,
        exact_truncation=is_faithful(plan),
        state=True,
    )
    return Whole(model, dataclasses.replace(program, widths=widths), (server, client))


@cache
def private(name: str, plan: Plan) -> PrivateRun:
    return run_private(whole(name, plan), STEPS)


@forms
def test_an_exact_run_is_the_reference_bit_by_bit(name: str) -> None:
    reference = run_clear(whole(name, EXACT), STEPS)
    logits = private(name, EXACT).logits
    assert len(logits) == len(STEPS)
    assert equal(logits, reference)


@forms
@plans
def test_both_parties_measure_what_is_counted_and_what_users_are_told(name: str, plan: Plan) -> None:
    counted = run_counted(whole(name, plan), STEPS)
    for bill in private(name, plan).bills:
        assert costs(bill) == costs(counted)
    usual = whole(name, plan, Precision())
    told = count(
        usual.model.config,
        plan,
        tokens=len(PROMPT),
        new_tokens=len(STEPS),
        ranges=usual.model.ranges,
        prefix="pairs",
    )
    assert costs(told) == costs(run_counted(usual, STEPS))


@forms
@plans
def test_it_is_near_the_model_over_the_prefixs_own_keys(name: str, plan: Plan) -> None:
    """With RoPE these are of one text, the long prompt. As of all backends: a tenth of the logits' spread;
    and less than half of what the prefix changes."""
    model, ids = calibrated(name), [token for step in STEPS for token in step]
    right = teacher_logits(model, ids, prefix_keys(model, PREFIX))[0][-1]
    if model.config.positions == "rope":
        plain = Decoder(PlainBackend(), model.config, {key: x.double() for key, x in model.weights.items()})
        text = PREFIX + ids
        long = plain.forward(torch.tensor([text]), len(text), rows=1).reshape(-1)
        assert float((long - right).abs().max()) < 1e-9 * float(right.std())
    effect = float((teacher_logits(model, ids, ())[0][-1] - right).abs().max())
    rounding = None if is_faithful(plan) else InsecureTestRandom(5)
    logits = run_clear(whole(name, plan, Precision()), STEPS, rounding)[-1].reshape(-1)
    off = float((logits - right).abs().max())
    assert off < 0.1 * float(right.std())
    assert off < 0.5 * effect


def test_rounds_are_two_a_layer_more() -> None:
    """Queries that are read in so wide a ring are opened in a narrow one and extended; the opening of states
    shares a round with the set-up."""
    model = calibrated("plain")
    rounds = [
        count(
            model.config, PROBABILISTIC, tokens=6, new_tokens=3, ranges=model.ranges, prefix=prefix
        ).total.rounds
        for prefix in (None, "pairs")
    ]
    assert rounds[1] == rounds[0] + 3 * 2 * model.config.layers


def test_rings_hold_one_key_without_a_prefix_and_the_largest_state() -> None:
    """Whatever an adapter adds, up to the public limit."""
    weights = whole("plain", PROBABILISTIC).program.widths.attention(0).weighting
    usual = Program.of(PROBABILISTIC, calibrated("plain").config, calibrated("plain").ranges, MAX_CONTEXT)
    alone = usual.widths.attention(0).weighting
    assert weights.high * 2.0**weights.row_bits >= LARGEST_SQUARES
    assert weights.low * 2.0**weights.row_bits == alone.low
    assert integer_bits(weights.largest_mix) > integer_bits(alone.largest_mix)


def conversation(steps: StepClient | Session[Share, Matrix]) -> list[torch.Tensor]:
    """With tokens that are taken back, and another conversation from the beginning."""
    found = [steps.step(PROMPT[:4]), steps.step(PROMPT[4:6])]
    steps.rewind(5)
    found.append(steps.step([41]))
    steps.rewind(0)
    return [*found, steps.step(PROMPT[:3]), steps.step([58])]


def test_a_session_is_the_reference_whatever_was_taken_back() -> None:
    model, prefix = calibrated("offset"), whole("offset", EXACT).prefix
    right = conversation(
        Session(reference_decoder(model, EXACT, max_context=MAX_CONTEXT, prefix=adapter("offset")), KVCache())
    )
    found, *bills = run_model(model, EXACT, conversation, max_context=MAX_CONTEXT, prefix=prefix)
    assert equal(found, right)
    opened = [row for row in bills[0].rows if row.label == "state"]
    assert [row.rounds for row in opened] == [2]  # both conversations open it


def test_what_is_measured_is_what_rows_read() -> None:
    """At least the largest sum of squares over the prefix's keys, of rows that see them, and near it."""
    model = calibrated("shift, grouped")
    found = adapter("shift, grouped")
    keys, form = prefix_keys(model, PREFIX), model.config.form_of(0)
    most = 0.0
    for window in WINDOWS:
        for (k, _), seen in zip(keys, teacher_logits(model, window, keys)[1], strict=True):
            scores = seen.q @ k.transpose(-1, -2) + form.shift
            most = max(most, float((scores.square() + form.epsilon).sum(-1).max()))
    assert found.measured[READ] >= most * 0.999
    assert found.measured[READ] < most * 2
    taking = dataclasses.replace(found, sums=tuple(-0.1 * each for each in found.sums))
    assert measured_over(taking, model, WINDOWS).measured[DIVISOR] < 1


@pytest.mark.parametrize("length", [1, len(PREFIX), 8 * len(PREFIX)])
def test_prefixes_of_other_lengths_are_near_theirs_under_the_same_program(length: int) -> None:
    model, ids = calibrated("shift, grouped"), PROMPT
    right = teacher_logits(model, ids, prefix_keys(model, (PREFIX * 8)[:length]))[0][-1]
    found = adapter("shift, grouped", length)
    decoder = reference_decoder(
        model, PROBABILISTIC, max_context=MAX_CONTEXT, rounding=InsecureTestRandom(5), prefix=found
    )
    logits = Session(decoder, KVCache()).step(ids)
    assert float((logits.reshape(-1) - right).abs().max()) < 0.1 * float(right.std())


@pytest.mark.parametrize(("name", "value"), [(READ, LARGEST_SQUARES * 1.01), (DIVISOR, LEAST_KEPT * 0.99)])
def test_an_adapter_beyond_the_limits_is_refused_at_its_owner(name: str, value: float) -> None:
    fitted, public = adapter("plain"), PublicModel.of(calibrated("plain"))
    assert 0 < fitted.measured[READ] < LARGEST_SQUARES
    assert fitted.measured[DIVISOR] == 1
    spoiled = dataclasses.replace(fitted, measured={**fitted.measured, name: value})
    with pytest.raises(RangeError, match=f"{name} is"):
        PrefixPart.owned(spoiled, public)


def test_the_reference_refuses_what_queries_read_beyond_the_ring() -> None:
    usual = whole("plain", EXACT)
    assert usual.prefix is not None
    part = usual.prefix[0]
    large = dataclasses.replace(
        part,
        sums=[torch.full_like(each, 1 << 58) for each in part.sums],
        beside=[each * 0 for each in part.beside],
    )
    none = dataclasses.replace(
        part, sums=[each * 0 for each in part.sums], beside=[each * 0 for each in part.beside]
    )
    with pytest.raises(RangeError, match="does not fit"):
        run_clear(dataclasses.replace(usual, prefix=(large, none)), STEPS[:1])


def test_a_session_over_states_and_other_attention_are_refused_by_name() -> None:
    model = calibrated("plain")
    chunked = plan_from("fss", ["cache=state:4"])
    with pytest.raises(ConfigError, match="--cache state: attention reads one state"):
        Program.of(chunked, model.config, model.ranges, MAX_CONTEXT, prefix="pairs")
    power = dataclasses.replace(model.config, power=4)
    with pytest.raises(ConfigError, match="--cache state: attention reads one state"):
        ClearModel(model, choices=["cache=state:4"], prefix=adapter("plain"))
    with pytest.raises(ConfigError, match="features pairs are for power 2"):
        Program.of(PROBABILISTIC, power, {}, MAX_CONTEXT, prefix="pairs")
