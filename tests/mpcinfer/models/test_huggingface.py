"""Hugging Face folders, against `transformers` as an independent implementation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import transformers

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder, KVCache
from mpcinfer.models.find import is_huggingface_folder
from mpcinfer.models.huggingface import load_huggingface, load_huggingface_config
from mpcinfer.models.stored_ranges import save_ranges
from parties.errors import ConfigError
from tests.mpcinfer.models.family_cases import CASES as FAMILIES
from tests.mpcinfer.models.family_cases import logits_of, randomised
from tests.mpcinfer.models.small_tokenizer import VOCABULARY, small_tokenizer

# Both sides compute in float32. A dot product of n terms is off by at most n * 2^-24 of the sum of its
# terms' magnitudes; n is at most 64 here and logits stay below 100 (asserted), so that 1e-4 leaves a few
# such errors of 1e-6 * 100 and a wrong formula, which moves logits by more than 1e-2, is still seen.
TOLERANCE = 1e-4

LLAMA: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
}
GPT2: dict[str, Any] = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}


@pytest.fixture(autouse=True)
def _quiet_transformers() -> None:
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


CASES: dict[str, tuple[type, type, dict[str, Any]]] = {
    "gpt2": (transformers.GPT2Config, transformers.GPT2LMHeadModel, GPT2),
    "gpt2 untied, wide ffn, relu": (
        transformers.GPT2Config,
        transformers.GPT2LMHeadModel,
        {**GPT2, "tie_word_embeddings": False, "n_inner": 40, "activation_function": "relu"},
    ),
    "gpt2 exact gelu": (
        transformers.GPT2Config,
        transformers.GPT2LMHeadModel,
        {**GPT2, "activation_function": "gelu", "layer_norm_epsilon": 1e-3},
    ),
    "llama, grouped heads": (transformers.LlamaConfig, transformers.LlamaForCausalLM, LLAMA),
    "llama tied, rope base, head width": (
        transformers.LlamaConfig,
        transformers.LlamaForCausalLM,
        {
            **LLAMA,
            "tie_word_embeddings": True,
            "head_dim": 16,
            "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
        },
    ),
    "llama with biases": (
        transformers.LlamaConfig,
        transformers.LlamaForCausalLM,
        {**LLAMA, "attention_bias": True, "mlp_bias": True, "num_key_value_heads": 4},
    ),
    "mistral": (
        transformers.MistralConfig,
        transformers.MistralForCausalLM,
        {**LLAMA, "sliding_window": None},
    ),
    "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM, LLAMA),
}


def reference(case: str, folder: Path, **save: Any) -> torch.nn.Module:
    """A random model of transformers', saved with its tokenizer."""
    config_class, model_class, settings = CASES[case]
    config = config_class(**settings, bos_token_id=0, eos_token_id=0, pad_token_id=None)
    model = randomised(model_class(config), len(case), 0.6)
    model.save_pretrained(folder, **save)
    small_tokenizer().save(str(folder / "tokenizer.json"))
    return model


IDS = torch.randint(0, VOCABULARY, (23,), generator=torch.Generator().manual_seed(5)).tolist()


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_transformers(case: str, tmp_path: Path) -> None:
    theirs_model = reference(case, tmp_path)
    assert is_huggingface_folder(tmp_path)
    with torch.no_grad():
        theirs = theirs_model(torch.tensor([IDS])).logits[0]
    ours = logits_of(load_huggingface(tmp_path), IDS)
    assert theirs.std() > 1
    assert theirs.abs().max() < 100
    assert (ours - theirs).abs().max() < TOLERANCE


@pytest.mark.parametrize("case", ["gpt2", "llama, grouped heads"])
def test_cached_steps_equal_the_full_pass(case: str, tmp_path: Path) -> None:
    reference(case, tmp_path)
    model = load_huggingface(tmp_path)
    backend, cache = PlainBackend(), KVCache[torch.Tensor]()
    decoder = Decoder(backend, model.config, model.weights)
    pieces = [IDS[:9], IDS[9:10], IDS[10:13], *([i] for i in IDS[13:])]
    steps = [decoder.forward(backend.tokens(ids, len(ids)), len(ids), cache=cache) for ids in pieces]
    assert (torch.cat(steps, dim=1)[0] - logits_of(model, IDS)).abs().max() < TOLERANCE


def test_sharded_and_half_precision_folders(tmp_path: Path) -> None:
    theirs = reference("llama, grouped heads", tmp_path / "one")
    theirs.to(torch.bfloat16).save_pretrained(tmp_path / "many", max_shard_size="10KB")
    small_tokenizer().save(str(tmp_path / "many" / "tokenizer.json"))
    assert len(list((tmp_path / "many").glob("*.safetensors"))) > 1
    one, many = load_huggingface(tmp_path / "one"), load_huggingface(tmp_path / "many")
    assert many.config == one.config
    for name, weight in one.weights.items():
        assert torch.equal(many.weights[name], weight.to(torch.bfloat16).to(torch.float32)), name


def test_a_headless_gpt2_checkpoint_loads(tmp_path: Path) -> None:
    """As the original `gpt2` files are: no `transformer.` prefix, the causal mask stored beside weights."""
    reference("gpt2", tmp_path)
    full = load_huggingface(tmp_path)
    tensors = safetensors.torch.load_file(tmp_path / "model.safetensors")
    bare = {name.removeprefix("transformer."): tensor for name, tensor in tensors.items()}
    bare["h.0.attn.bias"] = torch.ones(1, 1, 64, 64).tril()
    safetensors.torch.save_file(bare, tmp_path / "model.safetensors")
    headless = load_huggingface(tmp_path)
    assert all(torch.equal(headless.weights[name], weight) for name, weight in full.weights.items())


def test_ranges_in_the_folder_come_with_the_model(tmp_path: Path) -> None:
    reference("gpt2", tmp_path)
    assert load_huggingface(tmp_path).ranges == {}
    save_ranges(tmp_path / "ranges.json", {"embedding/embed": 1.5})
    assert load_huggingface(tmp_path).ranges == {"embedding/embed": 1.5}


def change_config(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.mark.parametrize(
    ("case", "field", "value"),
    [
        ("gpt2", "model_type", "t5"),
        ("gpt2", "scale_attn_by_inverse_layer_idx", True),
        ("gpt2", "scale_attn_weights", False),
        ("gpt2", "activation_function", "mish"),
        ("gpt2", "n_layer", "two"),
        ("gpt2", "n_embd", None),
        ("gpt2", "n_head", 5),
        ("gpt2", "quantization_config", {"bits": 4}),
        (
            "llama, grouped heads",
            "rope_parameters",
            {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0},
        ),
        ("llama, grouped heads", "partial_rotary_factor", 0.5),
        ("llama, grouped heads", "hidden_act", "mish"),
        ("llama, grouped heads", "layer_types", ["full_attention", "sliding_attention"]),
        ("mistral", "sliding_window", 0),
        ("qwen2", "layer_types", ["sliding_attention", "full_attention"]),
        ("llama, grouped heads", "attn_logit_softcapping", 30.0),
        ("llama, grouped heads", "logits_scaling", 2.0),
    ],
)
def test_what_cannot_be_represented_is_refused_by_name(
    case: str, field: str, value: Any, tmp_path: Path
) -> None:
    reference(case, tmp_path)
    change_config(tmp_path, **{field: value})
    with pytest.raises(ConfigError, match=field):
        load_huggingface_config(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [("attn_logit_softcapping", 0.0), ("final_logit_softcapping", -3.0), ("attn_logit_softcapping", "50")],
)
def test_a_softcap_that_is_no_number_above_zero_is_refused(key: str, value: Any, tmp_path: Path) -> None:
    FAMILIES["gemma2"].save(tmp_path, 0)
    change_config(tmp_path, **{key: value})
    with pytest.raises(ConfigError, match=key):
        load_huggingface_config(tmp_path)


def test_a_softcap_is_one_where_it_is_absent_and_none_where_it_is_null(tmp_path: Path) -> None:
    FAMILIES["gemma2"].save(tmp_path, 0)
    path = tmp_path / "config.json"
    fields = json.loads(path.read_text())
    caps = ("attn_logit_softcapping", "final_logit_softcapping")
    for values, expected in (({}, (50.0, 30.0)), (dict.fromkeys(caps), (0.0, 0.0))):
        kept = {key: value for key, value in fields.items() if key not in caps}
        path.write_text(json.dumps({**kept, **values}))
        config = load_huggingface_config(tmp_path)
        assert (config.score_cap, config.logit_cap) == expected


def test_older_rope_fields(tmp_path: Path) -> None:
    reference("llama, grouped heads", tmp_path)
    change_config(tmp_path, rope_parameters=None, rope_theta=123.0, rope_scaling=None)
    assert load_huggingface_config(tmp_path).rope_base == 123.0
    change_config(tmp_path, rope_scaling={"type": "linear", "factor": 2.0})
    assert load_huggingface_config(tmp_path).rope_divisors == (2.0,) * 4
    change_config(tmp_path, rope_scaling={"type": "su", "factor": 2.0})
    with pytest.raises(ConfigError, match="rope_scaling"):
        load_huggingface_config(tmp_path)


def test_an_absent_key_is_what_transformers_takes_for_it(tmp_path: Path) -> None:
    """Absent is not null: Mistral has a window unless it says null."""
    reference("mistral", tmp_path)
    path = tmp_path / "config.json"
    fields = json.loads(path.read_text())
    assert load_huggingface_config(tmp_path).windows == ()
    del fields["sliding_window"]
    path.write_text(json.dumps({**fields, "max_position_embeddings": 5000}))
    assert load_huggingface_config(tmp_path).windows == (4096, 4096)


def test_keys_that_say_nothing_are_read_over(tmp_path: Path) -> None:
    reference("llama, grouped heads", tmp_path)
    before = load_huggingface_config(tmp_path)
    change_config(tmp_path, some_new_switch=False, another=None, layer_types=["full_attention"] * 2)
    assert load_huggingface_config(tmp_path) == before
    change_config(tmp_path, some_new_switch=True)
    with pytest.raises(ConfigError, match="some_new_switch"):
        load_huggingface_config(tmp_path)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_adapters_beside_the_weights_are_refused(name: str, tmp_path: Path) -> None:
    reference("llama, grouped heads", tmp_path)
    (tmp_path / name).write_text("{}")
    with pytest.raises(ConfigError, match=name):
        load_huggingface(tmp_path)


def test_a_tied_table_may_go_by_the_name_of_the_head(tmp_path: Path) -> None:
    reference("llama tied, rope base, head width", tmp_path)
    before = load_huggingface(tmp_path)
    tensors = safetensors.torch.load_file(tmp_path / "model.safetensors")
    tensors["lm_head.weight"] = tensors.pop("model.embed_tokens.weight")
    safetensors.torch.save_file(tensors, tmp_path / "model.safetensors")
    after = load_huggingface(tmp_path)
    assert all(torch.equal(after.weights[name], weight) for name, weight in before.weights.items())


def test_tensors_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    reference("llama, grouped heads", tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = safetensors.torch.load_file(path)
    key = "model.layers.1.self_attn.k_proj.weight"

    def refused(changed: dict[str, torch.Tensor], match: str) -> None:
        safetensors.torch.save_file(changed, path)
        with pytest.raises(ConfigError, match=match):
            load_huggingface(tmp_path)

    refused({name: tensor for name, tensor in tensors.items() if name != key}, key)
    refused({**tensors, "model.layers.0.self_attn.q_norm.weight": torch.ones(8)}, "q_norm")
    refused({**tensors, key: tensors[key].to(torch.int8)}, "int8")
    refused({**tensors, key: tensors[key][:, :-1].contiguous()}, "do not join")
    refused({**tensors, key: tensors[key][:-1].contiguous()}, "shape")


def test_pickles_and_damaged_files_are_refused(tmp_path: Path) -> None:
    reference("gpt2", tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}{}{}{}")
    with pytest.raises(ConfigError, match="safetensors"):
        load_huggingface(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="pickle files are never read"):
        load_huggingface(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"wte.weight": "../other"}}')
    with pytest.raises(ConfigError, match="a file of this folder"):
        load_huggingface(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ConfigError, match="JSON object"):
        load_huggingface(tmp_path)


def test_the_shape_alone_needs_no_weights(tmp_path: Path) -> None:
    reference("gpt2", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    expected = ModelConfig(
        layers=2, width=32, heads=4, kv_heads=4, head_width=8, hidden=128, vocabulary=VOCABULARY, context=64
    )
    assert load_huggingface_config(tmp_path) == expected
