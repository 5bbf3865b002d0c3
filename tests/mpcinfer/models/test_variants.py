"""Names of variants, and what a forward pass of each computes."""

from __future__ import annotations

import pytest

from mpcinfer.models.config import ModelConfig, weight_shapes
from mpcinfer.models.folded import attention_only_config
from mpcinfer.models.operations import attention_flops, ffn_flops, nonlinear_operations
from mpcinfer.models.variants import variant, variants
from mpcinfer.models.zoo import zoo
from parties.errors import ConfigError

GPT2 = zoo()["gpt2"].config


def elements(
    config: ModelConfig, tokens: int, *, final_norm: bool = False
) -> dict[str, tuple[int, int, int]]:
    found = nonlinear_operations(config, tokens, final_norm=final_norm)
    return {each.kind: (each.calls, each.rows, each.columns) for each in found}


@pytest.mark.parametrize("name", [each.name for each in variants()])
def test_every_variant_has_weights_and_spellings(name: str) -> None:
    config = variant(name, GPT2)
    assert config == variant(name.upper(), GPT2) == variant(f" {name.lower().replace('+', '-')} ", GPT2)
    assert weight_shapes(config)
    again = variant(name, config)
    assert again == config


def test_other_spellings() -> None:
    assert variant("sm-ln-gelu", GPT2) == variant("SM+LN+G", GPT2) == GPT2
    assert variant("sm-ln-relu", GPT2) == variant("SM+LN+R", GPT2)
    assert variant("relu", GPT2).attention == "relu"
    assert variant("relu", GPT2).activation == "gelu_tanh"
    both = variant("relu+SM+R", GPT2)
    assert (both.attention, both.activation, both.block_norms) == ("relu", "relu", False)
    assert variant("ereg(sm(t)+scfuffn_i6)", GPT2) == variant("SM(t)+ScFuFFN_i6", GPT2)
    assert variant("power4", GPT2) == variant("power4+SM+LN+G", GPT2)


def test_pruned_ffns_have_no_weights() -> None:
    config = variant("SM+ScFuFFN_i6", GPT2)
    layers = {int(name.split(".")[0][5:]) for name in weight_shapes(config) if ".ffn." in name}
    assert layers == set(range(6))


@pytest.mark.parametrize("name", ["", "SM+XX", "SM+ScFuFFN_i", "LN", "power3", "power4+XX", "i6"])
def test_unknown_names_are_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(ConfigError, match=r"SM\+ScFuFFN.*power4"):
        variant(name, GPT2)


def test_more_ffns_than_there_are_cannot_be_pruned() -> None:
    with pytest.raises(ConfigError, match="13 of 12"):
        variant("SM+ScFuFFN_i13", GPT2)


# -- the papers' tables: arXiv 2501.03489, tables 3, 4, 7, and AERO's rows ---------------------------------


@pytest.mark.parametrize("tokens", [128, 256, 512])
def test_nonlinear_operations_are_those_of_the_tables(tokens: int) -> None:
    maps = {"softmax": (144, tokens, tokens)}
    norms = {"layernorm": (24, tokens, 768)}
    assert elements(variant("SM+LN+G", GPT2), tokens) == maps | norms | {"gelu_tanh": (12, tokens, 3072)}
    assert elements(variant("SM+LN+R", GPT2), tokens) == maps | norms | {"relu": (12, tokens, 3072)}
    assert elements(variant("SM+LN", GPT2), tokens) == maps | norms
    assert elements(variant("SM+G", GPT2), tokens) == maps | {"gelu_tanh": (12, tokens, 3072)}
    for name in ("SM", "SM+ScFFN", "SM+ScFuFFN", "SM(t)+ScFuFFN", "SM+ScFuFFN_i6", "SM+WNorm"):
        assert elements(variant(name, GPT2), tokens) == maps
    eighteen = zoo()["gpt2-18l"].config
    assert elements(variant("EReg(SM(t)+ScFuFFN)", eighteen), tokens) == {"softmax": (216, tokens, tokens)}


def test_the_final_norm_is_counted_where_asked_for() -> None:
    assert elements(variant("SM+ScFuFFN", GPT2), 128, final_norm=True)["layernorm"] == (1, 128, 768)
    assert elements(variant("SM+LN+G", GPT2), 128, final_norm=True)["layernorm"] == (25, 128, 768)
    (softmax,) = nonlinear_operations(variant("SM", GPT2), 128, final_norm=False)
    assert softmax.elements == 144 * 128 * 128


@pytest.mark.parametrize(
    ("name", "model", "tokens", "ffn", "attention"),
    [
        ("SM+LN+G", "gpt2", 128, 14.5, 7.7),
        ("SM+LN+G", "gpt2", 256, 29.0, 16.3),
        ("SM+LN+R", "gpt2", 512, 58.0, 36.2),
        ("SM+LN+R", "gpt2-18l", 128, 21.7, 11.6),
        ("SM+ScFFN", "gpt2", 128, 14.5, 7.7),
        ("SM+ScFuFFN", "gpt2", 128, 1.8, 7.7),
        ("SM+ScFuFFN", "gpt2", 256, 3.6, 16.3),
        ("EReg(SM(t)+ScFuFFN)", "gpt2", 512, 7.3, 36.2),
        ("SM+ScFuFFN_i6", "gpt2", 128, 0.9, 7.7),
        ("SM+ScFuFFN_i1", "gpt2", 512, 6.6, 36.2),
        ("SM+ScFuFFN_i4", "gpt2-18l", 128, 2.1, 11.6),
    ],
)
def test_flops_are_those_of_the_tables(
    name: str, model: str, tokens: int, ffn: float, attention: float
) -> None:
    """Billions with one digit after the point, as printed; fused rows may be an eighth of a rounded one."""
    config = variant(name, zoo()[model].config)
    assert abs(ffn_flops(config, tokens) / 1e9 - ffn) <= 0.05 + 0.05 / 8
    assert abs(attention_flops(config, tokens) / 1e9 - attention) <= 0.05


def test_folded_models_have_no_ffn() -> None:
    folded = attention_only_config(variant("EReg(SM(t)+ScFuFFN)", GPT2))
    assert ffn_flops(folded, 128) == 0
    assert not [name for name in weight_shapes(folded) if ".ffn." in name]
    assert elements(folded, 128) == {"softmax": (144, 128, 128)}
