"""LongRoPE against `transformers`, up to the length at which it turns all positions otherwise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.families.registry import FAMILIES
from mpcinfer.models.fields import Fields
from mpcinfer.models.huggingface import load_huggingface, load_huggingface_config
from mpcinfer.suites.fss.program import Program
from mpcinfer.suites.registry import get_plan
from parties.errors import ConfigError
from tests.mpcinfer.models.family_cases import CASES, IDS, largest_error, logits_of

# As in `test_families`.
TOLERANCE = 1e-4
ORIGINAL = len(IDS)
SHORT, LONG = [1.0, 1.5, 3.0, 4.0], [1.0, 6.0, 20.0, 60.0]
LONGROPE = {"rope_type": "longrope", "rope_theta": 500.0, "short_factor": SHORT, "long_factor": LONG}
BLOCKS: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
}


def saved(folder: Path, kind: str = "phi3", **rope: Any) -> torch.nn.Module:
    transformers.utils.logging.set_verbosity_error()
    settings = {**BLOCKS, "rope_parameters": {**LONGROPE, **rope}}
    if kind == "phi3":
        settings["original_max_position_embeddings"] = ORIGINAL
    else:
        settings["rope_parameters"]["original_max_position_embeddings"] = ORIGINAL
    return CASES[kind].save(folder, 3, **settings)


@pytest.mark.parametrize("kind", ["phi3", "llama"])
@pytest.mark.parametrize("rope", [{}, {"factor": 4.0}, {"factor": 0.5}, {"attention_factor": 1.5}], ids=str)
def test_logits_equal_transformers_up_to_the_original_context(
    kind: str, rope: dict[str, Any], tmp_path: Path
) -> None:
    error, spread = largest_error(saved(tmp_path, kind, **rope), tmp_path)
    assert error < TOLERANCE
    assert spread > 0.1


def test_the_factor_of_scores_matters(tmp_path: Path) -> None:
    saved(tmp_path, attention_factor=1.5)
    model = logits_of(load_huggingface(tmp_path), IDS)
    saved(tmp_path, attention_factor=1.0)
    assert float((logits_of(load_huggingface(tmp_path), IDS) - model).abs().max()) > 0.01


def test_one_token_more_turns_all_positions_otherwise_and_is_refused(tmp_path: Path) -> None:
    theirs = saved(tmp_path)
    with torch.no_grad():
        within = theirs(torch.tensor([IDS])).logits[0]
        beyond = theirs(torch.tensor([[*IDS, 5]])).logits[0, :-1]
    assert float((within - beyond).abs().max()) > 0.01  # of the same tokens
    model = load_huggingface(tmp_path)
    assert model.config.context == ORIGINAL
    with pytest.raises(ConfigError, match=f"the context of {ORIGINAL}"):
        logits_of(model, [*IDS, 5])
    with pytest.raises(ConfigError, match=f"the model has a context of {ORIGINAL}"):
        Program.of(get_plan("fss"), model.config, {}, ORIGINAL + 1)


@pytest.mark.parametrize("name", ["su", "yarn"])
def test_older_names_of_phi3(name: str, tmp_path: Path) -> None:
    saved(tmp_path)
    expected = load_huggingface_config(tmp_path)
    path = tmp_path / "config.json"
    fields = json.loads(path.read_text())
    theta = fields["rope_parameters"].pop("rope_theta")
    scaling = {"type": name, "short_factor": SHORT, "long_factor": LONG}
    fields |= {"rope_parameters": None, "rope_scaling": scaling, "rope_theta": theta}
    path.write_text(json.dumps(fields))
    assert load_huggingface_config(tmp_path) == expected


def _phi3_128k() -> ModelConfig:
    """The shape of `microsoft/Phi-3-mini-128k-instruct`, with factors of its number."""
    scaling = {"type": "longrope", "short_factor": [1.05] * 48, "long_factor": [2.0] * 48}
    values = {
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "vocab_size": 32064,
        "max_position_embeddings": 131072,
        "original_max_position_embeddings": 4096,
        "sliding_window": 262144,
        "rope_scaling": scaling,
    }
    family = FAMILIES["phi3"]
    return family.config(family.settled(Fields("config.json", values)))


def test_phi3_of_128k_has_sessions_of_4096_tokens() -> None:
    config = _phi3_128k()
    assert (config.context, config.rope_divisors, config.windows) == (4096, (1.05,) * 48, ())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("short_factor", None),
        ("short_factor", [1.0, 2.0, 3.0]),
        ("short_factor", [1.0, 2.0, 3.0, 0.0]),
        ("short_factor", [1.0, 2.0, 3.0, "4"]),
        ("long_factor", "all"),
        ("attention_factor", "large"),
    ],
)
def test_factors_that_are_none_are_refused_by_name(key: str, value: Any, tmp_path: Path) -> None:
    saved(tmp_path)
    path = tmp_path / "config.json"
    fields = json.loads(path.read_text())
    fields["rope_parameters"][key] = value
    path.write_text(json.dumps(fields))
    with pytest.raises(ConfigError, match=key):
        load_huggingface_config(tmp_path)


def test_an_original_context_without_room_is_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    path = tmp_path / "config.json"
    fields = json.loads(path.read_text())
    path.write_text(json.dumps({**fields, "original_max_position_embeddings": 1}))
    with pytest.raises(ConfigError, match="original_max_position_embeddings is 1"):
        load_huggingface_config(tmp_path)
