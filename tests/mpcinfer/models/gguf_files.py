"""GGUF files written as llama.cpp's converter writes them, from small models of `transformers`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import pre_tokenizers

from tests.mpcinfer.models.family_cases import CASES
from tests.mpcinfer.models.small_tokenizer import VOCABULARY

Tensors = dict[str, NDArray[np.float32]]
MODEL_TYPES = {
    "llama": "llama",
    "qwen2": "qwen2",
    "gemma": "gemma",
    "gemma2": "gemma2",
    "gemma3": "gemma3_text",
    "phi3": "phi3",
    "gptneox": "gpt_neox",
}
"""Architectures of GGUF, and what `transformers` calls them."""
_COMMON = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "model.layers": "blk",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_PRE_NORM = {"post_attention_layernorm": "ffn_norm"}
_SANDWICH = {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
_NAMES = {
    "gemma2": _COMMON | _SANDWICH,
    "gemma3": _COMMON | _SANDWICH,
    "phi3": _COMMON | _PRE_NORM | {"self_attn.qkv_proj": "attn_qkv", "mlp.gate_up_proj": "ffn_up"},
    "gptneox": {
        "gpt_neox.embed_in": "token_embd",
        "gpt_neox.final_layer_norm": "output_norm",
        "embed_out": "output",
        "gpt_neox.layers": "blk",
        "attention.query_key_value": "attn_qkv",
        "attention.dense": "attn_output",
        "mlp.dense_h_to_4h": "ffn_up",
        "mlp.dense_4h_to_h": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    },
}


def permuted(weight: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Rows of each head interleaved, half and half: what GGUF does to query and key of Llama."""
    rows = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return np.ascontiguousarray(rows.swapaxes(1, 2).reshape(weight.shape))


def tensors_of(architecture: str, model: torch.nn.Module, config: Any) -> Tensors:
    """The model's tensors under GGUF's names, changed as the converter changes them."""
    tensors: Tensors = {}
    for name, value in model.state_dict().items():
        if config.tie_word_embeddings and name.startswith(("lm_head", "embed_out")):
            continue
        array = value.numpy()
        if architecture == "llama" and "q_proj" in name:
            array = permuted(array, config.num_attention_heads)
        if architecture == "llama" and "k_proj" in name:
            array = permuted(array, config.num_key_value_heads)
        if architecture.startswith("gemma") and name.endswith("norm.weight"):
            array = array + 1
        if "query_key_value" in name:  # a head's query, key and value after each other
            by_head = array.reshape(config.num_attention_heads, 3, -1, *array.shape[1:])
            array = np.concatenate([by_head[:, i].reshape(-1, *array.shape[1:]) for i in range(3)])
        for theirs, ours in _NAMES.get(architecture, _COMMON | _PRE_NORM).items():
            name = name.replace(f"{theirs}.", f"{ours}.")  # noqa: PLW2901
        tensors[name] = array
    return tensors


def fields_of(architecture: str, config: Any) -> dict[str, Any]:
    """The architecture's fields that the converter writes, RoPE's scaling aside."""
    head_width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    fields: dict[str, Any] = {
        "block_count": config.num_hidden_layers,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
    }
    if architecture == "gptneox":
        turned = int(head_width * config.rope_parameters["partial_rotary_factor"])
        return fields | {
            "attention.layer_norm_epsilon": config.layer_norm_eps,
            "rope.dimension_count": turned,
            "use_parallel_residual": config.use_parallel_residual,
        }
    fields |= {
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "attention.key_length": head_width,
        "attention.value_length": head_width,
    }
    if architecture in ("gemma2", "gemma3"):
        fields["attention.sliding_window"] = config.sliding_window
        if config.final_logit_softcapping is not None:
            fields["final_logit_softcapping"] = config.final_logit_softcapping
    if architecture == "gemma2":
        fields["attn_logit_softcapping"] = config.attn_logit_softcapping
    if architecture == "phi3":
        turned = int(head_width * config.rope_parameters["partial_rotary_factor"])
        fields |= {"attention.sliding_window": config.sliding_window or 0, "rope.dimension_count": turned}
        fields["rope.scaling.original_context_length"] = config.original_max_position_embeddings
    return fields


def with_rope(fields: dict[str, Any], tensors: Tensors, rope: dict[str, Any], context: int) -> None:
    """Adds RoPE's base and scaling, as fields or tensors."""
    fields["rope.freq_base"] = float(rope["rope_theta"])
    kind, original = rope["rope_type"], rope.get("original_max_position_embeddings", context)
    if kind in ("linear", "yarn"):
        fields |= {"rope.scaling.type": kind, "rope.scaling.factor": float(rope["factor"])}
    if kind == "yarn":
        fields["rope.scaling.original_context_length"] = original
        for name in ("beta_fast", "beta_slow"):
            if name in rope:
                fields[f"rope.scaling.yarn_{name}"] = float(rope[name])
    if kind == "longrope":
        scale = context / original
        fields["rope.scaling.attn_factor"] = math.sqrt(1 + math.log(scale) / math.log(original))
        for name in ("short", "long"):
            tensors[f"rope_factors_{name}.weight"] = np.array(rope[f"{name}_factor"], np.float32)


def save_gguf(
    path: Path, architecture: str, fields: dict[str, Any], tensors: Tensors, *, pieces: bool = False
) -> Path:
    """Writes a file, with a tokenizer of as many tokens as the models have: of bytes, or SentencePiece's."""
    writer = gguf.GGUFWriter(path, architecture)
    adders = {
        bool: writer.add_bool,
        int: writer.add_uint32,
        float: writer.add_float32,
        str: writer.add_string,
        list: writer.add_array,
    }
    for key, value in fields.items():
        adders[type(value)](f"{architecture}.{key}", value)
    (_add_pieces if pieces else _add_bytes)(writer)
    for name, array in tensors.items():
        writer.add_tensor(name, np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_bytes(writer: gguf.GGUFWriter) -> None:
    known = [*sorted(pre_tokenizers.ByteLevel.alphabet()), "th"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([*known, *(f"<{i}>" for i in range(VOCABULARY - len(known)))])
    writer.add_token_merges(["t h"])
    writer.add_eos_token_id(VOCABULARY - 1)


def _add_pieces(writer: gguf.GGUFWriter) -> None:
    special, raw = ["<unk>", "<s>", "</s>"], [f"<0x{byte:02X}>" for byte in range(256)]
    words = ["\u2581", "t", "h", "e", "th", "the", "\u2581the", "x", "y"]
    words += [f"w{i}" for i in range(VOCABULARY - len(special) - len(raw) - len(words))]
    writer.add_tokenizer_model("llama")
    writer.add_token_list([*special, *raw, *words])
    writer.add_token_scores([0.0] * 259 + [-float(i) for i in range(len(words))])
    writer.add_token_types([2, 3, 3] + [6] * 256 + [1] * len(words))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def both(folder: Path, architecture: str, *, pieces: bool = False, **settings: Any) -> Path:
    """One random model as a Hugging Face folder, and as the GGUF file whose path is returned."""
    model_type = MODEL_TYPES[architecture]
    model = CASES[model_type].save(folder, 7, **settings)
    config: Any = model.config
    fields, tensors = fields_of(architecture, config), tensors_of(architecture, model, config)
    rope = config.rope_parameters
    if architecture == "gemma3":
        fields["rope.freq_base_swa"] = float(rope["sliding_attention"]["rope_theta"])
        rope = rope["full_attention"]
    with_rope(fields, tensors, rope, config.max_position_embeddings)
    return save_gguf(folder / "m.gguf", architecture, fields, tensors, pieces=pieces)
