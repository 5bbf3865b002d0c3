"""DyT, Derf, linear norms and Gaussian kernels: what they cost beside a layer norm and softmax, in every
suite, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from mpcinfer.backends.fixed import FixedBackend
from mpcinfer.backends.plain import PlainBackend
from mpcinfer.counting import count
from mpcinfer.generation import Session
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.fold import fold
from mpcinfer.models.folder import load_model_folder, save_model
from mpcinfer.models.ranges import calibrate
from mpcinfer.models.static import static
from mpcinfer.models.variants import variant
from mpcinfer.models.zoo import zoo
from mpcinfer.sessions.exchange import StepClient
from mpcinfer.suites.registry import get_plan
from parties.bill import Bill
from parties.errors import ConfigError, RangeError
from tests.mpcinfer.models import paper
from tests.mpcinfer.three_parties import run_model
from tests.mpcinfer.variant_models import BASE, variant_model

PROMPT = list(b"f(x, y")
RELATIVES = ["SM+DyT+G", "SM+Derf+G", "SM+LinLN+G", "gaussian"]
GPT2 = dataclasses.replace(zoo()["gpt2"].config, layers=2)
relatives = pytest.mark.parametrize("name", RELATIVES)


def costs(bill: Bill) -> dict[str, tuple[int, ...]]:
    rows = {
        row.label: (row.rounds, row.online_bytes_to_server, row.online_bytes_to_client)
        for row in bill.rows
        if row.rounds or row.online_bytes_to_server or row.online_bytes_to_client
    }
    return {**rows, "offline": (bill.total.offline_bytes_to_server, bill.total.offline_bytes_to_client)}


@relatives
def test_without_a_dealer_a_run_is_near_fixed_point_and_costs_what_is_counted(name: str) -> None:
    model = variant_model(name, sizes=dataclasses.replace(BASE, layers=1))
    plan = get_plan("two-party")

    def use(steps: StepClient) -> list[torch.Tensor]:
        return [steps.step(PROMPT), steps.step([41])]

    logits, bill, server = run_model(model, plan, use)
    config, weights = fold(model.config, model.weights)
    backend = FixedBackend()
    session = Session(Decoder(backend, config, backend.load(weights)))
    for mine, right in zip(logits, (session.step(PROMPT), session.step([41])), strict=True):
        # As in test_private_models: stated errors of single protocols pass through a layer.
        assert float((mine - right).abs().max()) < 0.1 * float(right.std())
    counted = count(model.config, plan, tokens=len(PROMPT), new_tokens=2, ranges=model.ranges)
    assert costs(bill) == costs(server) == costs(counted)


@pytest.mark.parametrize("plan", ["fss", "fss-faithful", "crypten", "two-party"])
def test_linear_norms_cost_nothing(plan: str) -> None:
    """The bill is that of no norms at all but for the matrix that the last one leaves before the head."""
    linear = count(variant("SM+LinLN+G", GPT2), get_plan(plan), tokens=8)
    without = dataclasses.replace(variant("SM+G", GPT2), final_norm=False, out_bias=True, ffn_bias=True)
    none = count(without, get_plan(plan), tokens=8)
    bytes_of = {row.label: row.online_bytes_to_server + row.online_bytes_to_client for row in linear.rows}
    right = {row.label: row.online_bytes_to_server + row.online_bytes_to_client for row in none.rows}
    differ = {label for label in {*bytes_of, *right} if bytes_of.get(label, 0) != right.get(label, 0)}
    assert not [label for label in bytes_of if "norm" in label]
    assert differ <= {"head.input", "head.logits", "output"}


@pytest.mark.parametrize("plan", ["fss", "fss-faithful", "crypten"])
@pytest.mark.parametrize(("name", "kind"), [("SM+DyT+G", "dyt"), ("SM+Derf+G", "derf")])
def test_a_pointwise_norm_is_billed_where_a_layer_norm_was(name: str, kind: str, plan: str) -> None:
    bill = count(variant(name, GPT2), get_plan(plan), tokens=8)
    usual = count(GPT2, get_plan(plan), tokens=8)
    here = {row.label for row in bill.rows if row.kind == kind and row.online_bytes_to_client}
    assert here == {row.label for row in usual.rows if row.kind == "layernorm" and row.online_bytes_to_client}


@pytest.mark.parametrize(("plan", "fewer"), [("fss", 0), ("crypten", 1), ("two-party", 1)])
def test_a_gaussian_kernel_takes_no_more_rounds_than_softmax(plan: str, fewer: int) -> None:
    """Under fss half squares take the round that a maximum took, and a sum's reciprocal took none."""
    kernel, softmax = (
        count(variant(name, GPT2), get_plan(plan), tokens=16) for name in ("gaussian", "SM+LN+G")
    )
    assert kernel.total.rounds <= softmax.total.rounds - fewer
    assert not [row.label for row in kernel.rows if "softmax" in row.label]


@pytest.mark.parametrize("name", ["SM+DyT+G", "SM+Derf+G", "gaussian"])
@pytest.mark.parametrize("plan", ["poly", "fss-poly"])
def test_polynomial_plans_refuse_what_is_no_polynomial(name: str, plan: str) -> None:
    config = variant(name, GPT2)
    if name != "gaussian":
        config = variant(f"power4+{name}", GPT2)
    with pytest.raises(ConfigError, match="additions and products alone"):
        count(config, get_plan(plan), tokens=4)


@relatives
def test_a_saved_model_is_the_same(name: str, tmp_path: Path) -> None:
    model = variant_model(name)
    save_model(tmp_path / "model", model, torch.float32)
    loaded = load_model_folder(tmp_path / "model")
    assert loaded.config == model.config
    assert loaded.ranges == pytest.approx(model.ranges, rel=1e-3)
    assert all(torch.equal(value, loaded.weights[key]) for key, value in model.weights.items())


@relatives
def test_folding_changes_nothing(name: str) -> None:
    model = variant_model(name)
    weights = {key: value.double() for key, value in model.weights.items()}
    config, folded = fold(model.config, weights)
    assert not [key for key in folded if key.endswith(("norm1.weight", "norm2.weight", "norm1.bias"))]
    backend = PlainBackend()
    logits = Decoder(backend, config, folded).forward(backend.tokens(PROMPT, len(PROMPT)), len(PROMPT))
    right = paper.logits(model.config, weights, PROMPT)
    assert float((logits[0] - right).abs().max()) < 1e-9


@relatives
def test_gradients_reach_every_weight(name: str) -> None:
    model = variant_model(name)
    weights = {key: value.double().requires_grad_() for key, value in model.weights.items()}
    backend = PlainBackend()
    decoder = Decoder(backend, *static(model.config, weights))
    decoder.forward(backend.tokens(PROMPT, len(PROMPT)), len(PROMPT)).square().sum().backward()
    for key, value in weights.items():
        assert value.grad is not None, key
        assert float(value.grad.abs().sum()) > 0, key


def test_half_squares_and_arguments_of_norms_are_calibrated() -> None:
    ranges = variant_model("gaussian").ranges
    weights = variant_model("gaussian").weights
    assert all(ranges[f"layer{i}.attn/half_squares"] > 0 for i in range(BASE.layers))
    assert weights
    seen = variant_model("SM+DyT+G").ranges
    factor = float(variant_model("SM+DyT+G").weights["layer0.norm1.input.weight"])
    assert seen["layer0.norm1/in"] <= abs(factor) * seen["embedding/add_positions"] * (1 + 1e-6)
    assert {"layer1.norm2/in", "head.norm/in", "head.norm/diagonal"} <= set(seen)


def test_scores_below_what_the_plans_exponential_holds_are_refused() -> None:
    model = variant_model("gaussian")
    wide = {**model.ranges, "layer1.attn.scores/matmul": 300.0}
    with pytest.raises(RangeError, match=r"layer1\.attn\.gaussian: scores down to -450"):
        count(model.config, get_plan("crypten"), tokens=4, ranges=wide)


@pytest.mark.parametrize("norm", ["dyt", "derf", "linear"])
def test_norms_that_do_not_go_together_are_refused(norm: str) -> None:
    for change in ({"parallel": True}, {"qk_norm": True}, {"post_norms": True}):
        with pytest.raises(ConfigError):
            dataclasses.replace(BASE, norm=norm, **change)
    with pytest.raises(ConfigError, match="norm_order pre, a head over the vocabulary"):
        dataclasses.replace(BASE, norm=norm, head="classes", classes=2, tied_head=False)


@pytest.mark.parametrize(
    "change", [{"attention_offset": True}, {"attention_shift": 1.0}, {"temperature": "head"}]
)
def test_kernels_that_do_not_go_together_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="attention gaussian has no"):
        dataclasses.replace(BASE, attention="gaussian", **change)


def test_calibration_needs_no_folding_of_linear_norms() -> None:
    model = variant_model("SM+LinLN+G")
    assert calibrate(model, ["return x"])
