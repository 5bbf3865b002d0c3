"""Polynomial models: additions and products alone, the reference's numbers, the counted bill, and a depth."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.counting import count
from mpcinfer.depths import depth
from mpcinfer.generation import Session
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.fold import as_run
from mpcinfer.models.model import Model
from mpcinfer.models.ranges import calibrate
from mpcinfer.models.static import static
from mpcinfer.models.variants import variant
from mpcinfer.sessions.exchange import StepClient
from mpcinfer.suites.arithmetic.backend import SecureBackend
from mpcinfer.suites.arithmetic.reference import polynomial_decoder
from mpcinfer.suites.registry import PLANS, get_plan, suite_of
from parties.bill import Bill
from parties.errors import ConfigError, RangeError
from parties.link import Link
from parties.meter import CLIENT, Meter
from parties.threads import run_two_threads
from protocols.additive.primitives import FRAC_BITS
from protocols.additive.registry import resolve
from protocols.arithmetic.cleartext import IdealCleartextArithmetic
from protocols.arithmetic.depth_arithmetic import DepthArithmetic
from protocols.arithmetic.floating import IdealFloatArithmetic
from protocols.arithmetic.polynomial_activations import PolynomialGelu8, PolynomialGelu16
from protocols.arithmetic.polynomial_inverse_sqrt import GoldschmidtInverseSqrt
from protocols.share import Share
from tests.mpcinfer.models.paper import random_weights
from tests.mpcinfer.three_parties import byte_tokenizer, run_model
from tests.mpcinfer.variant_models import BASE, PROMPTS, variant_model
from tests.roundings import clear_executor, share
from tests.suites.additions_and_products import AdditionsAndProducts, NoSuchFunctionality

PROMPT = byte_tokenizer().encode("f(x, y")
STEPS = 3
POLY = get_plan("poly")
GATED = dataclasses.replace(
    BASE, norm="rmsnorm", activation="silu", ffn="glu", positions="rope", kv_heads=1, qkv_bias=False
)
COSTS = (
    "rounds",
    "online_bytes_to_server",
    "online_bytes_to_client",
    "offline_bytes_to_server",
    "setup_bytes",
)


def gpt2() -> Model:
    """Queries divided by three, as range training keeps scores small."""
    model, weights = variant_model("poly"), {}
    for name, value in model.weights.items():
        queries = model.config.heads * model.config.head_width
        small = torch.cat([value[..., :queries] / 3, value[..., queries:]], -1)
        weights[name] = small if ".attn.qkv." in name else value
    return calibrated(dataclasses.replace(model, weights=weights))


def gated() -> Model:
    """The Llama family's parts, with power attention."""
    config = dataclasses.replace(variant("poly", GATED), activation="silu", ffn="glu")
    weights = random_weights(config, seed=5)
    single = {name: value.float() for name, value in weights.items()}
    return calibrated(Model(name="gated", config=config, weights=single, tokenizer=byte_tokenizer()))


def calibrated(model: Model) -> Model:
    """On prompts of which the tests' is one: beyond its intervals a polynomial model computes nothing."""
    return dataclasses.replace(model, ranges=calibrate(model, [*PROMPTS, "f(x, y", "f(x, y, z)"]))


def decode(steps: StepClient | Session[Share, object]) -> tuple[torch.Tensor, list[int]]:
    """Logits after the prompt, and greedy tokens."""
    logits = first = steps.step(PROMPT)
    tokens = [int(logits.argmax())]
    while len(tokens) < STEPS:
        logits = steps.step([tokens[-1]])
        tokens.append(int(logits.argmax()))
    return first, tokens


def on_additions_and_products(model: Model, plan_name: str) -> torch.Tensor:
    """Logits of the prompt's tokens from two parties on the engine that has nothing else."""
    plan = get_plan(plan_name)

    def party(link: Link) -> torch.Tensor | None:
        executor = AdditionsAndProducts(link)
        weights = None if link.rank == CLIENT else model.weights
        config, weights = as_run(model.config, weights, folds=plan.fold)
        backend = SecureBackend(executor, resolve(plan), config.vocabulary, model.ranges)
        decoder = Decoder(backend, config, backend.load(config, weights))
        ids = PROMPT if link.rank == CLIENT else None
        return backend.open_logits(decoder.forward(backend.tokens(ids, len(PROMPT)), len(PROMPT)))

    logits = run_two_threads(party, party)[CLIENT]
    assert logits is not None
    return logits


@pytest.mark.parametrize("make", [gpt2, gated])
def test_nothing_but_additions_and_products_is_used(make: object) -> None:
    model = make()  # type: ignore[operator]
    decoder = polynomial_decoder(model, POLY, resolve(POLY), FRAC_BITS)
    tokens = decoder.backend.tokens(PROMPT, len(PROMPT))
    expected = decoder.backend.open_logits(decoder.forward(tokens, len(PROMPT)))
    assert torch.equal(on_additions_and_products(model, "poly"), expected)


def test_the_engine_rejects_a_plan_that_compares() -> None:
    with pytest.raises(NoSuchFunctionality, match=r"layer0\.norm1: a comparison"):
        on_additions_and_products(gpt2(), "crypten")


def test_a_private_run_is_the_reference_up_to_rounding_and_costs_what_is_counted() -> None:
    model = gpt2()
    right, right_tokens = decode(Session(suite_of(POLY).reference(model, POLY)))
    (logits, tokens), bill, server_bill = run_model(model, POLY, decode)
    # Local truncation is off by a unit where the reference rounds down; two layers pass some on.
    assert 0 < float((logits - right).abs().max()) < 200 * 2.0**-16
    assert tokens == right_tokens
    counted = count(model.config, POLY, tokens=len(PROMPT), new_tokens=STEPS, ranges=model.ranges)
    assert costs(bill) == costs(server_bill) == costs(counted)


def costs(bill: Bill) -> dict[str, tuple[int, ...]]:
    rows = {row.label: tuple(getattr(row, name) for name in COSTS) for row in bill.rows}
    return {label: row for label, row in rows.items() if any(row)}


def test_polynomials_are_near_the_model_and_rounding_is_less() -> None:
    """Polynomials without rounding differ from the exact function by the error of GELU and of norms."""
    model = gpt2()
    exact_decoder = Decoder(PlainBackend(), *static(model.config, model.weights))
    exact = exact_decoder.forward(torch.tensor([PROMPT]), len(PROMPT)).double()
    in_float = logits_of(
        polynomial_decoder(model, POLY, resolve(POLY), FRAC_BITS, IdealFloatArithmetic(Meter(timed=False)))
    )
    in_fixed = logits_of(polynomial_decoder(model, POLY, resolve(POLY), FRAC_BITS))
    spread = float(exact.std())
    assert 0 < float((in_float - exact).abs().max()) < 0.05 * spread
    assert 0 < float((in_fixed - in_float).abs().max()) < 0.01 * spread


def logits_of(decoder: Decoder[Share, object]) -> torch.Tensor:
    tokens = decoder.backend.tokens(PROMPT, len(PROMPT))
    logits = decoder.backend.open_logits(decoder.forward(tokens, len(PROMPT)))
    assert logits is not None
    return logits


def test_softmax_is_refused_by_name_and_the_conversion_is_said() -> None:
    model = variant_model("SM+LN+G")
    with pytest.raises(ConfigError, match=r"softmax attention is not: convert it.*--variant poly"):
        count(model.config, POLY, tokens=4, ranges=model.ranges)
    with pytest.raises(ConfigError, match="softmax attention is not"):
        suite_of(POLY).reference(model, POLY)


def test_a_model_without_ranges_has_no_reference() -> None:
    model = dataclasses.replace(gpt2(), ranges={})
    with pytest.raises(ConfigError, match=r"never calibrated.*mpcinfer calibrate"):
        suite_of(POLY).reference(model, POLY)


def test_plans_say_whether_they_are_polynomial() -> None:
    polynomial = {name for name, plan in PLANS.items() if suite_of(plan).is_polynomial(plan)}
    assert polynomial == {"poly", "fss-poly"}
    for choice in ({"gelu": "fine"}, {"inverse_sqrt": "octaves"}, {"power": "squares"}):
        plan = POLY.replace(**choice)
        assert not suite_of(plan).is_polynomial(plan)
    assert suite_of(POLY).is_polynomial(POLY.replace(gelu="polynomial32"))


class UncheckedArithmetic(IdealCleartextArithmetic):
    """Does not look whether promises about products were kept, as shares cannot."""

    def _checked(self, product: Share) -> Share:
        return product


def test_beyond_its_interval_a_polynomial_is_no_activation() -> None:
    """What docs/polynomial.md says: within the error inside; far off at twice the interval."""
    gelu, executor = PolynomialGelu16().within(6.0), UncheckedArithmetic(Meter(timed=False))
    x = torch.tensor([-6.0, 6.0, 6.6, 9.0, 12.0], dtype=torch.float64)
    off = (executor.open_to(CLIENT, gelu(executor, share(executor, x))) - torch.nn.functional.gelu(x)).abs()
    assert float(off[:2].max()) <= gelu.max_abs_error
    assert off[2] > 0.05
    assert off[3] > 10
    assert off[4] > 1e4


def test_beyond_its_range_an_inverse_root_is_anything() -> None:
    root, executor = GoldschmidtInverseSqrt(1.0, 100.0), clear_executor()
    x = torch.tensor([1.0, 100.0, 0.01], dtype=torch.float64)
    got = executor.open_to(CLIENT, root(executor, share(executor, x)))
    off = (got * x.sqrt() - 1).abs()
    assert float(off[:2].max()) <= root.max_rel_error + 20 * 2.0**-16
    assert off[2] > 0.1
    with pytest.raises(RangeError, match="largest magnitude"):  # in the clear; shares wrap in silence
        root(executor, share(executor, torch.tensor([1000.0], dtype=torch.float64)))


def test_ranges_too_wide_are_refused_with_what_to_do() -> None:
    with pytest.raises(RangeError, match="penalty on variances"):
        GoldschmidtInverseSqrt(0.01, 1000.0)
    with pytest.raises(RangeError, match=r"gelu8? on \[-70, 70\].*penalty on activations"):
        PolynomialGelu8(70.0)


def test_depth_of_small_steps() -> None:
    """By hand: products in a row, and those by plaintexts where they are counted."""
    for plain, gelu8 in ((0, 3), (1, 5)):
        executor = DepthArithmetic(Meter(timed=False), plain_level=plain)
        x = executor.share_from(CLIENT, None, (2, 3))
        w = executor.share_from(0, None, (3,))
        assert int(executor.square(x).value.max()) == 1
        assert int(executor.mul(x, w).value.max()) == plain
        assert int(executor.mul_public(x, 0.25).value.max()) == 0
        assert int(executor.mul_public(x, 0.3).value.max()) == plain
        # square, times 2 / R^2, T_2, (T_2 + a v)^2 after a v, times 2 c_4
        assert int(PolynomialGelu8(6.0)(executor, x).value.max()) == gelu8
    with pytest.raises(ConfigError, match="no depth"):
        executor.less_than_zero(x)


def test_depth_adds_up_over_layers_and_kinds() -> None:
    config: ModelConfig = variant("poly", BASE)
    report = depth(config, tokens=6)
    layers = [row for row in report.parts if row.name.startswith("layer")]
    assert len(layers) == 2
    assert (layers[0].depth, layers[0].levels) == (layers[1].depth, layers[1].levels)
    deeper = depth(dataclasses.replace(config, layers=3), tokens=6)
    assert deeper.total.depth - report.total.depth == layers[0].depth > 0
    assert deeper.total.levels - report.total.levels == layers[0].levels > layers[0].depth
    for name in ("products", "plain_products", "rotations"):
        assert sum(getattr(row, name) for row in report.kinds) == getattr(report.total, name) > 0
    # Rows of 6 tokens fit one ciphertext: scores and mix of both heads are 8 x 8 matrices, in one group each.
    matmul = next(row for row in report.kinds if row.name == "matmul")
    assert matmul.products == 2 * 2 * 8
    assert matmul.rotations == 2 * 2 * (3 * 8 + 5 * 3)


def test_depth_is_refused_where_something_compares() -> None:
    config = variant("poly", BASE)
    with pytest.raises(ConfigError, match="plan crypten is not polynomial"):
        depth(config, tokens=4, plan="crypten")
    with pytest.raises(ConfigError, match="plan fss is not polynomial"):
        depth(config, tokens=4, plan="fss")
    with pytest.raises(ConfigError, match="softmax attention is not"):
        depth(BASE, tokens=4)
