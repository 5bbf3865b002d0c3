"""What each change of architecture takes off a counted bill, and what it leaves alone."""

from __future__ import annotations

import dataclasses

import pytest

from mpcinfer.counting import count
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.folded import attention_only_config
from mpcinfer.models.operations import nonlinear_operations
from mpcinfer.models.variants import variant
from mpcinfer.models.zoo import zoo
from mpcinfer.suites.registry import get_plan
from parties.bill import Bill

LAYERS = 3
GPT2 = dataclasses.replace(zoo()["gpt2"].config, layers=LAYERS)
TOKENS = 16
COSTS = (
    "online_bytes_to_server",
    "online_bytes_to_client",
    "offline_bytes_to_server",
    "offline_bytes_to_client",
)
plans = pytest.mark.parametrize("plan", ["crypten", "crypten-stock", "fss", "fss-faithful"])


def bill(config: ModelConfig, plan: str) -> Bill:
    return count(config, get_plan(plan), tokens=TOKENS)


def costs(config: ModelConfig, plan: str) -> dict[str, tuple[int, ...]]:
    """Bytes by label, without labels that send nothing; set-up apart.

    Rounds are in totals alone: which label waits for a message depends on what was sent before.
    """
    rows = {row.label: tuple(getattr(row, name) for name in COSTS) for row in bill(config, plan).rows}
    return {label: row for label, row in rows.items() if any(row)}


def norms(config: ModelConfig, plan: str) -> set[str]:
    """Labels of norms that cost something."""
    return {
        row.label for row in bill(config, plan).rows if row.kind == "layernorm" and row.online_bytes_to_server
    }


@plans
@pytest.mark.parametrize(("gelu", "relu"), [("SM+LN+G", "SM+LN+R"), ("SM+G", "SM+R")])
def test_relu_for_gelu_takes_the_gelus_costs_away_and_no_others(gelu: str, relu: str, plan: str) -> None:
    before, after = costs(variant(gelu, GPT2), plan), costs(variant(relu, GPT2), plan)
    left = {label: row for label, row in before.items() if label not in after}
    added = {label: row for label, row in after.items() if label not in before}
    assert set(left) == {f"layer{i}.ffn.gelu_tanh" for i in range(LAYERS)}
    assert set(added) == {f"layer{i}.ffn.relu" for i in range(LAYERS)}
    assert all(after[label] == row for label, row in before.items() if label not in left)
    rounds = [bill(variant(name, GPT2), plan).total.rounds for name in (gelu, relu)]
    assert rounds[0] >= rounds[1]
    online = [sum(row[0] + row[1] for row in rows.values()) for rows in (left, added)]
    assert online[0] > online[1] > 0


@plans
@pytest.mark.parametrize(("with_norms", "without"), [("SM+LN+G", "SM+G"), ("SM+LN+R", "SM+R")])
def test_without_block_norms_two_calls_a_layer_are_gone(with_norms: str, without: str, plan: str) -> None:
    in_blocks = {f"layer{i}.norm{j}" for i in range(LAYERS) for j in (1, 2)}
    assert norms(variant(with_norms, GPT2), plan) == in_blocks | {"head.norm"}
    assert norms(variant(without, GPT2), plan) == {"head.norm"}
    open_ended = dataclasses.replace(GPT2, final_norm=False)
    assert norms(variant(without, open_ended), plan) == set()
    for config in (variant(with_norms, GPT2), variant(without, GPT2), variant(without, open_ended)):
        counted = [each for each in nonlinear_operations(config, TOKENS) if each.kind == "layernorm"]
        assert sum(each.calls for each in counted) == len(norms(config, plan))


@pytest.mark.parametrize("plan", ["crypten", "crypten-stock"])
def test_and_nothing_else_changes_where_shares_are_additive(plan: str) -> None:
    before, after = costs(variant("SM+LN+G", GPT2), plan), costs(variant("SM+G", GPT2), plan)
    gone = {f"layer{i}.norm{j}" for i in range(LAYERS) for j in (1, 2)}
    assert {label: row for label, row in before.items() if label not in gone} == {
        label: row for label, row in after.items() if label != "head.input"
    }


@plans
def test_learned_scales_temperatures_and_regularisation_cost_nothing(plan: str) -> None:
    plain = dataclasses.replace(variant("SM+ScFuFFN", GPT2), scaled_ffn=False)
    right = bill(variant("SM+ScFuFFN", GPT2), plan).rows
    for name in ("SM(t)+ScFuFFN", "EReg(SM(t)+ScFuFFN)"):
        assert bill(variant(name, GPT2), plan).rows == right
    scaled, unscaled = (costs(variant(name, GPT2), plan) for name in ("SM+ScFFN", "SM"))
    # Unfolded, the product of the scales is a matrix of its own before the head.
    added = {"head.input"} if plan == "crypten-stock" else set[str]()
    assert {label: row for label, row in scaled.items() if label not in added} == unscaled
    assert set(scaled) - set(unscaled) == added
    fused = costs(variant("SM+ScFuFFN", GPT2), plan)
    assert costs(plain, plan) == {label: row for label, row in fused.items() if label not in added}
    for name in ("SM+WNorm", "SM+SNorm"):
        assert costs(variant(name, GPT2), plan) == costs(variant("SM", GPT2), plan)


@plans
@pytest.mark.parametrize("pruned", [0, 1])
def test_attention_alone_has_no_ffn_on_its_bill(pruned: int, plan: str) -> None:
    config = variant(f"SM+ScFuFFN_i{pruned}", GPT2)
    before, after = costs(config, plan), costs(attention_only_config(config), plan)
    gone = {f"layer{i}.ffn.out" for i in range(LAYERS - pruned)}
    assert {label for label in before if ".ffn." in label} >= gone
    assert not [label for label in after if ".ffn." in label]
    assert set(after) <= set(before)
    assert all(
        sum(column) <= sum(other) for column, other in zip(*map(_columns, (after, before)), strict=True)
    )
    assert sum(row[0] + row[1] for row in after.values()) < sum(row[0] + row[1] for row in before.values())


def _columns(rows: dict[str, tuple[int, ...]]) -> list[tuple[int, ...]]:
    return list(zip(*rows.values(), strict=True))


@plans
def test_setup_is_less_by_the_ffns(plan: str) -> None:
    config = variant("SM+ScFuFFN", GPT2)
    before, after = (bill(shape, plan).total.setup_bytes for shape in (config, attention_only_config(config)))
    if plan == "crypten-stock":
        assert before == after == 0  # its weights are shared as they are used
    else:
        assert 0 < after < before
