"""Where each of our weights lies in a checkpoint, and what of a family's form is folded into it on reading.

A layout says which of a checkpoint's tensors make up each of ours. Names in it leave the last part
(`.weight`, `.bias`) out, since a matrix and its bias are laid out alike.
"""

from __future__ import annotations

import dataclasses
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

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
        change: of the tensors as they are joined, before they are transposed; applied to a matrix and to its
            bias alike, so that it acts on the first axis, or on all entries.
        plus_row: a table whose first row is added to every row: the type that all tokens of one text have.
    """

    names: tuple[str, ...]
    transposed: bool
    change: Callable[[torch.Tensor], torch.Tensor] | None = None
    plus_row: str = ""

    def then(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Source:
        """This one with another change after its own."""
        own = self.change
        if own is None:
            return dataclasses.replace(self, change=change)

        def both(tensor: torch.Tensor) -> torch.Tensor:
            return change(own(tensor))

        return dataclasses.replace(self, change=both)


Layout = dict[str, Source]
"""Sources by the names of our weights, without their last part where it is `weight` or `bias`."""


def changed(layout: Layout, stems: Iterable[str], change: Callable[[torch.Tensor], torch.Tensor]) -> Layout:
    """A layout with a change to some of its weights."""
    return {**layout, **{stem: layout[stem].then(change) for stem in stems}}


def scaled(layout: Layout, stems: Iterable[str], factor: float) -> Layout:
    """A layout with some of its weights, and their biases, times a number."""
    return layout if factor == 1.0 else changed(layout, stems, lambda tensor: tensor * factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockNames:
    """A pre-norm decoder's tensors in one dialect; `layer` takes the layer's number.

    Several names are joined along their output axis.
    """

    tokens: str
    layer: str
    norm1: str
    qkv: tuple[str, ...]
    out: str
    norm2: str
    ffn_in: tuple[str, ...]
    ffn_out: str
    final_norm: str
    head: str
    inner_norms: Mapping[str, str] = field(default_factory=dict[str, str])
    """By our names, of those that `Site` has inside a block."""


HUGGING_FACE = BlockNames(
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

GGUF = BlockNames(
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


def block_layout(config: ModelConfig, names: BlockNames) -> Layout:
    """The layout of a configuration in one dialect's names; matrices are [out, in]."""
    sources = {"embed.tokens": Source((names.tokens,), False)}
    for layer in range(config.layers):
        ours, theirs = f"layer{layer}", names.layer.format(layer)
        sources[f"{ours}.norm1"] = Source((theirs + names.norm1,), False)
        sources[f"{ours}.attn.qkv"] = Source(tuple(theirs + name for name in names.qkv), True)
        sources[f"{ours}.attn.out"] = Source((theirs + names.out,), True)
        sources[f"{ours}.norm2"] = Source((theirs + names.norm2,), False)
        sources[f"{ours}.ffn.in"] = Source(tuple(theirs + name for name in names.ffn_in), True)
        sources[f"{ours}.ffn.out"] = Source((theirs + names.ffn_out,), True)
        for part, name in names.inner_norms.items():
            sources[f"{ours}.{part}"] = Source((theirs + name,), False)
    sources["head.norm"] = Source((names.final_norm,), False)
    sources["head"] = Source((names.head if config.head == "vocabulary" else "score",), True)
    return sources


def gpt2_layout(config: ModelConfig, prefix: str) -> Layout:
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
        added = [f"{source.plus_row}.weight"] if source.plus_row else []
        missing = [each for each in (*theirs, *added) if each not in present]
        if missing:
            raise ConfigError(f"the checkpoint has no tensor {missing[0]}, needed for {name}")
        weights[name] = _joined([checkpoint.read(each) for each in theirs], source, name)
        for row in added:
            weights[name] = weights[name] + checkpoint.read(row)[0]
        used.update(theirs, added)
    unread = sorted(name for name in present - used if not re.fullmatch(ignored, name))
    if unread:
        raise ConfigError(f"the checkpoint has tensors this model form has no place for: {unread[:3]}")
    return weights


def _joined(pieces: list[torch.Tensor], source: Source, name: str) -> torch.Tensor:
    """Pieces [out_i, in] side by side as [in, sum of out_i] (or vectors end to end), in fresh memory."""
    if len({piece.shape[1:] for piece in pieces}) > 1:
        raise ConfigError(f"{name}: tensors of shapes {[tuple(p.shape) for p in pieces]} do not join")
    joined = torch.cat(pieces) if len(pieces) > 1 else pieces[0]
    if source.change is not None:
        joined = source.change(joined)
    return joined.T.contiguous() if source.transposed and joined.dim() == 2 else joined.contiguous()
