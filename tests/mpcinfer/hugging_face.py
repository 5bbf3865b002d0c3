"""Small random models as Hugging Face folders, for tests of what is done with a model of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import tokenizers
import torch
from safetensors.torch import save_file
from tokenizers import decoders, models, pre_tokenizers

ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
END = "<|endoftext|>"
TEMPLATE = "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}{% endfor %}<answer>"


def byte_tokenizer(*special: str) -> tokenizers.Tokenizer:
    """A byte-level BPE without merges: a token a byte, and special ones after them."""
    backend = tokenizers.Tokenizer(models.BPE(vocab={text: i for i, text in enumerate(ALPHABET)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([END, *special])
    return backend


def llama_weights(vocabulary: int, *, seed: int = 0) -> dict[str, torch.Tensor]:
    """Of two blocks of width 16, under Hugging Face's names."""
    width, inner, layers, draws = 16, 24, 2, torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return 0.2 * torch.randn(*shape, generator=draws)

    weights = {"model.embed_tokens.weight": draw(vocabulary, width), "model.norm.weight": torch.ones(width)}
    weights["lm_head.weight"] = draw(vocabulary, width)
    for index in range(layers):
        prefix = f"model.layers.{index}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            weights[f"{prefix}{norm}.weight"] = 1 + 0.1 * draw(width)
        for name, rows in (("q", width), ("k", width // 2), ("v", width // 2), ("o", width)):
            weights[f"{prefix}self_attn.{name}_proj.weight"] = draw(rows, width)
        weights[f"{prefix}mlp.gate_proj.weight"] = draw(inner, width)
        weights[f"{prefix}mlp.up_proj.weight"] = draw(inner, width)
        weights[f"{prefix}mlp.down_proj.weight"] = draw(width, inner)
    return weights


def llama_folder(path: Path, *special: str, vocabulary: int | None = None, context: int = 64) -> Path:
    """A folder as `save_pretrained` writes it, of the weights above.

    Args:
        special: tokens of the tokenizer beside its bytes and the end.
        vocabulary: rows of the token table; as many as the tokenizer has tokens where it is left out.
    """
    backend = byte_tokenizer(*special)
    rows = vocabulary or backend.get_vocab_size()
    path.mkdir(parents=True)
    config = {
        "model_type": "llama",
        "vocab_size": rows,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": context,
        "rms_norm_eps": 1e-6,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "eos_token_id": backend.token_to_id(END),
    }
    (path / "config.json").write_text(json.dumps(config))
    backend.save(str(path / "tokenizer.json"))
    (path / "tokenizer_config.json").write_text(json.dumps({"chat_template": TEMPLATE, "eos_token": END}))
    save_file(llama_weights(rows), path / "model.safetensors", metadata={"format": "pt"})
    return path
