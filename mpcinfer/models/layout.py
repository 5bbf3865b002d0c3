"""Where each of our weights lies in a checkpoint: GPT-2, the Llama family under two sets of names, and BERT.

A layout says which of a checkpoint's tensors make up each of ours. Names in it leave the last part
(`.weight`, `.bias`) out, since a matrix and its bias are laid out alike.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from mpcinfer.models.config import ModelConfig, weight_shapes
from parties.errors import ConfigError


class Checkpoint(ABC):
    """Named tensors in a file or folder."""

    @abstractmethod
    def names(self) -> frozenset[str]:
        """Every tensor there is."""

    @abstractmethod
    def read(self, name: str) -> torch.Tensor:
        """One tensor, as float32. `name` is one of `names()`."""


@dataclass(frozen=True, slots=True)
class Source:
    """One of our weights in a checkpoint.

    Attributes:
        names: the checkpoint's tensors, joined along their output axis.
        transposed: the checkpoint keeps matrices [out, in]; ours are [in, out].
        plus_row: a table whose first row is added to every row: the type that all tokens of one text have.
    """

    names: tuple[str, ...]
    transposed: bool
    plus_row: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaNames:
    """The Llama family's tensors in one dialect; `layer` takes the layer's number."""

    tokens: str
    layer: str
    norm1: str
    qkv: tuple[str, str, str]
    out: str
    norm2: str
    ffn_in: tuple[str, str]
    ffn_out: str
    final_norm: str
    head: str


HUGGING_FACE = LlamaNames(
    tokens="model.embed_tokens",
    layer="model.layers.{}.",
    norm1="input_layernorm",
    qkv=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    out="self_attn.o_proj",
    norm2="post_attention_layernorm",
    ffn_in=("mlp.gate_proj", "mlp.up_proj"),
    ffn_out="mlp.down_proj",
    final_norm="model.norm",
    head="lm_head",
)

GGUF = LlamaNames(
    tokens="token_embd",
    layer="blk.{}.",
    norm1="attn_norm",
    qkv=("attn_q", "attn_k", "attn_v"),
    out="attn_output",
    norm2="ffn_norm",
    ffn_in=("ffn_gate", "ffn_up"),
    ffn_out="ffn_down",
    final_norm="output_norm",
    head="output",
)


def llama_layout(config: ModelConfig, names: LlamaNames) -> dict[str, Source]:
    """The layout of a Llama-family configuration, in one dialect's names."""
    sources = {"embed.tokens": Source((names.tokens,), False)}
    for layer in range(config.layers):
        ours, theirs = f"layer{layer}", names.layer.format(layer)
        sources[f"{ours}.norm1"] = Source((theirs + names.norm1,), False)
        sources[f"{ours}.attn.qkv"] = Source(tuple(theirs + name for name in names.qkv), True)
        sources[f"{ours}.attn.out"] = Source((theirs + names.out,), True)
        sources[f"{ours}.norm2"] = Source((theirs + names.norm2,), False)
        sources[f"{ours}.ffn.in"] = Source(tuple(theirs + name for name in names.ffn_in), True)
        sources[f"{ours}.ffn.out"] = Source((theirs + names.ffn_out,), True)
    sources["head.norm"] = Source((names.final_norm,), False)
    sources["head"] = Source((names.head if config.head == "vocabulary" else "score",), True)
    return sources


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderNames:
    """An encoder's tensors; `layer` takes the layer's number, and `types` is empty where there are none."""

    types: str
    layer: str
    qkv: tuple[str, str, str]
    out: str
    norm1: str
    ffn_in: str
    ffn_out: str
    norm2: str
    pooler: str


BERT = EncoderNames(
    types="embeddings.token_type_embeddings",
    layer="encoder.layer.{}.",
    qkv=("attention.self.query", "attention.self.key", "attention.self.value"),
    out="attention.output.dense",
    norm1="attention.output.LayerNorm",
    ffn_in="intermediate.dense",
    ffn_out="output.dense",
    norm2="output.LayerNorm",
    pooler="pooler.dense",
)

DISTILBERT = EncoderNames(
    types="",
    layer="transformer.layer.{}.",
    qkv=("attention.q_lin", "attention.k_lin", "attention.v_lin"),
    out="attention.out_lin",
    norm1="sa_layer_norm",
    ffn_in="ffn.lin1",
    ffn_out="ffn.lin2",
    norm2="output_layer_norm",
    pooler="",
)


def encoder_layout(config: ModelConfig, names: EncoderNames, prefix: str) -> dict[str, Source]:
    """The layout of an encoder's configuration.

    Args:
        prefix: `bert.` or `distilbert.` where the checkpoint was saved with a head, else empty. The
            classifier, and what DistilBERT has for a pooler, never have it.
    """
    sources = {
        "embed.tokens": Source((f"{prefix}embeddings.word_embeddings",), False),
        "embed.positions": Source(
            (f"{prefix}embeddings.position_embeddings",),
            False,
            f"{prefix}{names.types}.weight" if names.types else "",
        ),
        "embed.norm": Source((f"{prefix}embeddings.LayerNorm",), False),
        "head.pooler": Source((f"{prefix}{names.pooler}" if names.pooler else "pre_classifier",), True),
        "head": Source(("classifier",), True),
    }
    for layer in range(config.layers):
        ours, theirs = f"layer{layer}", prefix + names.layer.format(layer)
        sources[f"{ours}.attn.qkv"] = Source(tuple(theirs + name for name in names.qkv), True)
        sources[f"{ours}.attn.out"] = Source((theirs + names.out,), True)
        sources[f"{ours}.norm1"] = Source((theirs + names.norm1,), False)
        sources[f"{ours}.ffn.in"] = Source((theirs + names.ffn_in,), True)
        sources[f"{ours}.ffn.out"] = Source((theirs + names.ffn_out,), True)
        sources[f"{ours}.norm2"] = Source((theirs + names.norm2,), False)
    return sources


def gpt2_layout(config: ModelConfig, prefix: str) -> dict[str, Source]:
    """The layout of a GPT-2 configuration; its Conv1D matrices are [in, out] already.

    Args:
        prefix: `transformer.` where the checkpoint was saved with its head, else empty.
    """
    sources = {
        "embed.tokens": Source((f"{prefix}wte",), False),
        "embed.positions": Source((f"{prefix}wpe",), False),
    }
    theirs_by_ours = {
        "norm1": "ln_1",
        "attn.qkv": "attn.c_attn",
        "attn.out": "attn.c_proj",
        "norm2": "ln_2",
        "ffn.in": "mlp.c_fc",
        "ffn.out": "mlp.c_proj",
    }
    for layer in range(config.layers):
        for ours, theirs in theirs_by_ours.items():
            sources[f"layer{layer}.{ours}"] = Source((f"{prefix}h.{layer}.{theirs}",), False)
    sources["head.norm"] = Source((f"{prefix}ln_f",), False)
    sources["head"] = Source(("lm_head" if config.head == "vocabulary" else "score",), True)
    return sources


def read_weights(
    config: ModelConfig, layout: Mapping[str, Source], checkpoint: Checkpoint, *, ignored: str = r"(?!)"
) -> dict[str, torch.Tensor]:
    """All of our weights, named and shaped as `weight_shapes` says, read from a checkpoint.

    Args:
        ignored: pattern of tensors that carry no weights (stored masks, tables).

    Raises:
        ConfigError: a tensor is missing, joins badly, or belongs to nothing in this configuration; an
            unread tensor would mean a model other than the one we run.
    """
    present, used = checkpoint.names(), set[str]()
    weights: dict[str, torch.Tensor] = {}
    for name in weight_shapes(config):
        table = name in ("embed.tokens", "embed.positions")
        stem, part = (name, "weight") if table else name.rsplit(".", 1)
        source = layout[stem]
        theirs = [f"{each}.{part}" for each in source.names]
        added = [source.plus_row] if source.plus_row else []
        missing = [each for each in (*theirs, *added) if each not in present]
        if missing:
            raise ConfigError(f"the checkpoint has no tensor {missing[0]}, needed for {name}")
        weights[name] = _joined([checkpoint.read(each) for each in theirs], source.transposed, name)
        for row in added:
            weights[name] = weights[name] + checkpoint.read(row)[0]
        used.update(theirs, added)
    unread = sorted(name for name in present - used if not re.fullmatch(ignored, name))
    if unread:
        raise ConfigError(f"the checkpoint has tensors this model form has no place for: {unread[:3]}")
    return weights


def _joined(pieces: list[torch.Tensor], transposed: bool, name: str) -> torch.Tensor:
    """Pieces [out_i, in] side by side as [in, sum of out_i] (or vectors end to end), in fresh memory."""
    if len({piece.shape[1:] for piece in pieces}) > 1:
        raise ConfigError(f"{name}: tensors of shapes {[tuple(p.shape) for p in pieces]} do not join")
    joined = torch.cat(pieces) if len(pieces) > 1 else pieces[0]
    return joined.T.contiguous() if transposed and joined.dim() == 2 else joined.contiguous()
