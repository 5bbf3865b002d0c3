"""Small random models of every family, made by `transformers` from settings drawn among the family's keys."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.huggingface import load_huggingface
from mpcinfer.models.model import Model
from tests.mpcinfer.models.small_tokenizer import VOCABULARY, small_tokenizer

CONTEXT = 64
IDS = torch.randint(0, VOCABULARY, (40,), generator=torch.Generator().manual_seed(5)).tolist()
Settings = dict[str, Any]
_DEFAULT: Settings = {"rope_type": "default", "rope_theta": 500.0}


@dataclass(frozen=True)
class FamilyCase:
    """A family as `transformers` has it, and its settings for a seed."""

    config: type
    model: type
    settings: Callable[[random.Random], Settings]

    def save(self, folder: Path, seed: int, **others: Any) -> torch.nn.Module:
        """A random model, saved with a tokenizer."""
        settings = self.settings(random.Random(seed)) | {"vocab_size": VOCABULARY} | others
        ends = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": None}
        model = randomised(self.model(self.config(**{**ends, **settings})), seed)
        model.save_pretrained(folder)
        small_tokenizer().save(str(folder / "tokenizer.json"))
        return model


def randomised(model: torch.nn.Module, seed: int, size: float = 0.4) -> torch.nn.Module:
    """Every parameter at random, biases and norms too: nothing may be right by being zero or one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * size)
    return model.eval()


def logits_of(model: Model, ids: list[int]) -> torch.Tensor:
    """Ours."""
    backend = PlainBackend()
    decoder = Decoder(backend, model.config, model.weights)
    return decoder.answered(decoder.forward(backend.tokens(ids, len(ids)), len(ids))[0])


def largest_error(theirs: torch.nn.Module, folder: Path) -> tuple[float, float]:
    """The largest difference of any logit, and the spread of logits."""
    with torch.no_grad():
        right = theirs(torch.tensor([IDS])).logits[0]
    ours = logits_of(load_huggingface(folder), IDS)
    return float((ours - right).abs().max()), float(right.std())


def _blocks(draw: random.Random, *, head_dim: bool = True) -> Settings:
    """What most families call the same."""
    kv_heads = draw.choice([1, 2, 4])
    settings: Settings = {
        "hidden_size": 32,
        "num_hidden_layers": draw.choice([2, 3]),
        "num_attention_heads": 4,
        "num_key_value_heads": kv_heads,
        "intermediate_size": draw.choice([24, 48]),
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": draw.choice([True, False]),
    }
    return settings | ({"head_dim": draw.choice([8, 16])} if head_dim else {})


def _rope(draw: random.Random) -> Settings:
    """Any scaling."""
    theta = draw.choice([100.0, 10000.0])
    scalings: list[Settings] = [
        {"rope_type": "default"},
        {"rope_type": "linear", "factor": 3.0},
        {"rope_type": "dynamic", "factor": 2.0},
        {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        },
        {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16},
        {
            "rope_type": "yarn",
            "factor": 2.0,
            "original_max_position_embeddings": 32,
            "beta_fast": 8.0,
            "beta_slow": 0.5,
            "truncate": False,
            "mscale": 0.7,
            "mscale_all_dim": 1.3,
        },
        {
            "rope_type": "yarn",
            "factor": 2.0,
            "attention_factor": 0.8,
            "original_max_position_embeddings": 32,
        },
    ]
    return {"rope_parameters": {**draw.choice(scalings), "rope_theta": theta}}


def _llama(draw: random.Random) -> Settings:
    return {
        **_blocks(draw),
        **_rope(draw),
        "attention_bias": draw.choice([True, False]),
        "mlp_bias": draw.choice([True, False]),
        "rms_norm_eps": draw.choice([1e-6, 1e-3]),
        "hidden_act": draw.choice(["silu", "gelu_pytorch_tanh", "relu"]),
    }


def _gpt2(draw: random.Random) -> Settings:
    return {
        "n_embd": 32,
        "n_layer": 2,
        "n_head": draw.choice([2, 4]),
        "n_positions": CONTEXT,
        "n_inner": draw.choice([None, 40]),
        "activation_function": draw.choice(["gelu_new", "gelu", "relu"]),
        "layer_norm_epsilon": draw.choice([1e-5, 1e-3]),
        "tie_word_embeddings": draw.choice([True, False]),
    }


def _opt(draw: random.Random) -> Settings:
    return {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "ffn_dim": draw.choice([24, 48]),
        "max_position_embeddings": CONTEXT,
        "activation_function": draw.choice(["relu", "gelu"]),
        "enable_bias": draw.choice([True, False]),
        "tie_word_embeddings": draw.choice([True, False]),
    }


def _mistral(draw: random.Random) -> Settings:
    return {**_blocks(draw), **_rope(draw), "sliding_window": draw.choice([None, 1, 7, 100])}


def _layer_types(draw: random.Random, layers: int) -> list[str]:
    return [draw.choice(["full_attention", "sliding_attention"]) for _ in range(layers)]


def _qwen2(draw: random.Random) -> Settings:
    blocks = _blocks(draw)
    windows: list[Settings] = [
        {},
        {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1},
        {
            "use_sliding_window": True,
            "sliding_window": 5,
            "layer_types": _layer_types(draw, blocks["num_hidden_layers"]),
        },
    ]
    return {**blocks, **_rope(draw), **draw.choice(windows)}


def _smollm3(draw: random.Random) -> Settings:
    blocks = _blocks(draw)
    layers = blocks["num_hidden_layers"]
    kinds: list[Settings] = [
        {"no_rope_layer_interval": 2},
        {"no_rope_layers": [draw.choice([0, 1]) for _ in range(layers)]},
        {"no_rope_layer_interval": 2, "use_sliding_window": True, "sliding_window": 6},
        {"use_sliding_window": True, "sliding_window": 6, "layer_types": _layer_types(draw, layers)},
    ]
    return {**blocks, **_rope(draw), **draw.choice(kinds)}


def _granite(draw: random.Random) -> Settings:
    return {
        **_blocks(draw, head_dim=False),
        **_rope(draw),
        "embedding_multiplier": draw.choice([12.0, 0.5]),
        "logits_scaling": draw.choice([8.0, 0.25]),
        "residual_multiplier": draw.choice([0.22, 1.5]),
        "attention_multiplier": draw.choice([0.0625, 0.7]),
    }


def _longrope(draw: random.Random, pairs: int) -> Settings:
    """Of a context of 40 tokens, as many as `IDS` has, stretched."""
    lists = {name: [draw.uniform(1.0, 9.0) for _ in range(pairs)] for name in ("short_factor", "long_factor")}
    others = draw.choice([{}, {"factor": 4.0}, {"attention_factor": 1.4}])
    return {"rope_type": "longrope", "rope_theta": 500.0, **lists, **others}


def _phi3(draw: random.Random) -> Settings:
    turned = draw.choice([1.0, 0.5])
    rope = draw.choice([_DEFAULT, _longrope(draw, int(4 * turned))])
    return {
        **_blocks(draw, head_dim=False),
        "original_max_position_embeddings": len(IDS),
        "rope_parameters": {**rope, "partial_rotary_factor": turned},
        "sliding_window": draw.choice([None, 11]),
    }


def _gemma(draw: random.Random) -> Settings:
    return {**_blocks(draw), **_rope(draw), "attention_bias": draw.choice([True, False])}


def _turned_in_part(draw: random.Random, *, plain: bool = False) -> Settings:
    rope: Settings = {"rope_parameters": dict(_DEFAULT)} if plain else _rope(draw)
    rope["rope_parameters"]["partial_rotary_factor"] = draw.choice([0.25, 0.5, 1.0])
    return rope


def _neox(draw: random.Random) -> Settings:
    settings = _blocks(draw, head_dim=False)
    del settings["num_key_value_heads"]
    return {
        **settings,
        **_turned_in_part(draw),
        "hidden_size": 64,
        "use_parallel_residual": draw.choice([True, True, False]),
        "attention_bias": draw.choice([True, False]),
        "hidden_act": draw.choice(["gelu", "gelu_new"]),
    }


def _phi(draw: random.Random) -> Settings:
    return {
        **_blocks(draw, head_dim=False),
        **_turned_in_part(draw),
        "hidden_size": 64,
        "tie_word_embeddings": False,
    }


def _starcoder2(draw: random.Random) -> Settings:
    return {
        **_blocks(draw, head_dim=False),
        **_rope(draw),
        "use_bias": draw.choice([True, False]),
        "sliding_window": draw.choice([None, 8]),
    }


def _qwen3(draw: random.Random) -> Settings:
    return {**_qwen2(draw), "attention_bias": draw.choice([True, False])}


def _gemma2(draw: random.Random) -> Settings:
    blocks = _blocks(draw)
    return {
        **blocks,
        **_rope(draw),
        **draw.choice([{}, {"layer_types": _layer_types(draw, blocks["num_hidden_layers"])}]),
        "sliding_window": draw.choice([4, 9, 100]),
        "query_pre_attn_scalar": draw.choice([8, 30]),
        "attention_bias": draw.choice([True, False]),
        "attn_logit_softcapping": draw.choice([50.0, 3.0, None]),
        "final_logit_softcapping": draw.choice([30.0, 2.0, None]),
    }


def _gemma3(draw: random.Random) -> Settings:
    blocks = _blocks(draw)
    kinds: Settings = draw.choice(
        [
            {"layer_types": _layer_types(draw, blocks["num_hidden_layers"])},
            {"sliding_window_pattern": 2},
        ]
    )
    full = {**_rope(draw)["rope_parameters"]}
    ropes: list[Settings] = [
        {
            "rope_parameters": {
                "full_attention": full,
                "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
            }
        },
        {
            "rope_theta": 300.0,
            "rope_local_base_freq": 60.0,
            "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        },
    ]
    return {
        **blocks,
        **kinds,
        **draw.choice(ropes),
        "sliding_window": draw.choice([4, 9]),
        "query_pre_attn_scalar": draw.choice([8, 30]),
        "attention_bias": draw.choice([True, False]),
        "final_logit_softcapping": draw.choice([None, 3.0]),
    }


def _bert(draw: random.Random) -> Settings:
    return {
        "hidden_size": 32,
        "num_hidden_layers": draw.choice([1, 2]),
        "num_attention_heads": draw.choice([2, 4]),
        "intermediate_size": draw.choice([24, 48]),
        "max_position_embeddings": CONTEXT,
        "hidden_act": draw.choice(["gelu", "gelu_new", "relu"]),
        "layer_norm_eps": draw.choice([1e-12, 1e-3]),
        "id2label": _labels(draw),
    }


def _roberta(draw: random.Random) -> Settings:
    padding = draw.choice([token for token in range(VOCABULARY) if token not in IDS][:3])
    return {
        **_bert(draw),
        "pad_token_id": padding,
        "max_position_embeddings": CONTEXT + padding + 1,
        "type_vocab_size": draw.choice([1, 2]),
    }


def _distilbert(draw: random.Random) -> Settings:
    return {
        "dim": 32,
        "n_layers": draw.choice([1, 2]),
        "n_heads": draw.choice([2, 4]),
        "hidden_dim": draw.choice([24, 48]),
        "max_position_embeddings": CONTEXT,
        "activation": draw.choice(["gelu", "relu"]),
        "sinusoidal_pos_embds": draw.choice([True, False]),
        "id2label": _labels(draw),
    }


def _labels(draw: random.Random) -> dict[int, str]:
    return {number: f"label {number}" for number in range(draw.choice([2, 3, 5]))}


CASES: dict[str, FamilyCase] = {
    "gpt2": FamilyCase(transformers.GPT2Config, transformers.GPT2LMHeadModel, _gpt2),
    "opt": FamilyCase(transformers.OPTConfig, transformers.OPTForCausalLM, _opt),
    "llama": FamilyCase(transformers.LlamaConfig, transformers.LlamaForCausalLM, _llama),
    "mistral": FamilyCase(transformers.MistralConfig, transformers.MistralForCausalLM, _mistral),
    "qwen2": FamilyCase(transformers.Qwen2Config, transformers.Qwen2ForCausalLM, _qwen2),
    "smollm3": FamilyCase(transformers.SmolLM3Config, transformers.SmolLM3ForCausalLM, _smollm3),
    "granite": FamilyCase(transformers.GraniteConfig, transformers.GraniteForCausalLM, _granite),
    "phi3": FamilyCase(transformers.Phi3Config, transformers.Phi3ForCausalLM, _phi3),
    "gemma": FamilyCase(transformers.GemmaConfig, transformers.GemmaForCausalLM, _gemma),
    "gemma2": FamilyCase(transformers.Gemma2Config, transformers.Gemma2ForCausalLM, _gemma2),
    "qwen3": FamilyCase(transformers.Qwen3Config, transformers.Qwen3ForCausalLM, _qwen3),
    "gemma3_text": FamilyCase(transformers.Gemma3TextConfig, transformers.Gemma3ForCausalLM, _gemma3),
    "gpt_neox": FamilyCase(transformers.GPTNeoXConfig, transformers.GPTNeoXForCausalLM, _neox),
    "phi": FamilyCase(transformers.PhiConfig, transformers.PhiForCausalLM, _phi),
    "starcoder2": FamilyCase(transformers.Starcoder2Config, transformers.Starcoder2ForCausalLM, _starcoder2),
    "bert": FamilyCase(transformers.BertConfig, transformers.BertForSequenceClassification, _bert),
    "roberta": FamilyCase(
        transformers.RobertaConfig, transformers.RobertaForSequenceClassification, _roberta
    ),
    "xlm-roberta": FamilyCase(
        transformers.XLMRobertaConfig, transformers.XLMRobertaForSequenceClassification, _roberta
    ),
    "distilbert": FamilyCase(
        transformers.DistilBertConfig, transformers.DistilBertForSequenceClassification, _distilbert
    ),
}
"""By `model_type`."""
