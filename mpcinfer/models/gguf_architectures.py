"""The architectures of GGUF files: the shape that their fields state, and where their weights lie.

Source: llama.cpp, whose format it is, and its converters. Gemma's gains have their 1 in the file already; the
scale of Gemma's token rows is in neither, and that of scores follows from the number of layers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.families.folding import scale_embedding, scale_queries
from mpcinfer.models.gguf_file import GgufFile
from mpcinfer.models.gguf_rope import ROPE_FIELDS, gguf_rope
from mpcinfer.models.layout import GGUF, BlockNames, Layout, block_layout
from mpcinfer.models.rope import RopePairs
from parties.errors import ConfigError

_KNOWN_FIELDS = ROPE_FIELDS | {
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_epsilon",
    "attention.layer_norm_rms_epsilon",
    "attention.value_length",
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "vocab_size",
}
"""Fields of every architecture that are read, or that follow from others."""
_QK_NORMS = {"attn.q_norm": "attn_q_norm", "attn.k_norm": "attn_k_norm"}
_POST_NORMS = {"attn.post": "post_attention_norm", "ffn.post": "post_ffw_norm"}


def _nothing(file: GgufFile, context: int) -> dict[str, Any]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One architecture.

    Attributes:
        form: fields of its shape beyond those of the Llama family.
        fields: that it has beside `_KNOWN_FIELDS`.
        names: of its tensors.
        pairs: which coordinates RoPE turns together.
        turns_in_part: it can turn a part of a head.
        scaled_embedding: token rows are multiplied by the root of the width.
        largest: layers of the model whose scores are over the root of width / heads, not of a head's width.
    """

    form: Callable[[GgufFile, int], dict[str, Any]] = _nothing
    fields: frozenset[str] = frozenset()
    names: BlockNames = GGUF
    pairs: RopePairs = "halves"
    turns_in_part: bool = False
    scaled_embedding: bool = False
    largest: int = 0


def _gemma2(file: GgufFile, context: int) -> dict[str, Any]:
    layers = range(file.integer("gemma2.block_count"))
    window = file.integer("gemma2.attention.sliding_window", 4096)
    return {
        "activation": "gelu_tanh",
        "post_norms": True,
        "windows": _windows(window, [layer % 2 == 0 for layer in layers], context),
        "score_cap": file.number("gemma2.attn_logit_softcapping", 50.0),
        "logit_cap": file.number("gemma2.final_logit_softcapping", 30.0),
    }


def _gemma3(file: GgufFile, context: int) -> dict[str, Any]:
    window = file.integer("gemma3.attention.sliding_window", 0)
    sliding = _gemma3_sliding(file) if window else []
    return {
        "activation": "gelu_tanh",
        "qk_norm": True,
        "post_norms": True,
        "windows": _windows(window, sliding, context),
        "local_rope_base": file.number("gemma3.rope.freq_base_swa", 10000.0),
        "local_rope_layers": tuple(layer for layer, local in enumerate(sliding) if local),
        "logit_cap": file.number("gemma3.final_logit_softcapping", 0.0),
    }


def _gemma3_sliding(file: GgufFile) -> list[bool]:
    """Whether each layer has a window: all but every so-manieth, or as it is listed."""
    key, layers = "gemma3.attention.sliding_window_pattern", file.integer("gemma3.block_count")
    stated = file.field(key, 6)
    if isinstance(stated, int) and not isinstance(stated, bool) and stated > 0:
        return [(layer + 1) % stated != 0 for layer in range(layers)]
    listed = cast("list[Any]", stated) if isinstance(stated, list) else []
    if len(listed) != layers or any(each not in (0, 1) for each in listed):
        raise ConfigError(f"{file.path.name}: {key} is no number, and no list of {layers} flags")
    return [bool(each) for each in listed]


def _phi3(file: GgufFile, context: int) -> dict[str, Any]:
    window = file.integer("phi3.attention.sliding_window", 0)
    layers = file.integer("phi3.block_count")
    return {"windows": _windows(window, [window > 0] * layers, context)}


def _gptneox(file: GgufFile, context: int) -> dict[str, Any]:
    """Its files do not say which GELU: checkpoints have the exact one."""
    return {
        "norm": "layernorm",
        "norm_eps": file.number("gptneox.attention.layer_norm_epsilon"),
        "activation": "gelu",
        "ffn": "mlp",
        "parallel": file.flag("gptneox.use_parallel_residual", True),
    }


def _windows(window: int, sliding: list[bool], context: int) -> tuple[int, ...]:
    """Keys that a query of each layer sees; empty where no window is shorter than the context."""
    if window >= context or not any(sliding):
        return ()
    return tuple(window if local else 0 for local in sliding)


_GEMMA2_NAMES = dataclasses.replace(GGUF, inner_norms=_POST_NORMS)
ARCHITECTURES = {
    "llama": Architecture(pairs="adjacent"),
    "qwen2": Architecture(),
    "qwen3": Architecture(
        form=lambda file, context: {"qk_norm": True},
        names=dataclasses.replace(GGUF, inner_norms=_QK_NORMS),
    ),
    "gemma": Architecture(form=lambda file, context: {"activation": "gelu_tanh"}, scaled_embedding=True),
    "gemma2": Architecture(
        form=_gemma2,
        fields=frozenset({"attention.sliding_window", "attn_logit_softcapping", "final_logit_softcapping"}),
        names=_GEMMA2_NAMES,
        scaled_embedding=True,
        largest=46,
    ),
    "gemma3": Architecture(
        form=_gemma3,
        fields=frozenset(
            {
                "attention.sliding_window",
                "attention.sliding_window_pattern",
                "final_logit_softcapping",
                "rope.freq_base_swa",
            }
        ),
        names=dataclasses.replace(GGUF, inner_norms={**_QK_NORMS, **_POST_NORMS}),
        scaled_embedding=True,
        largest=62,
    ),
    "phi3": Architecture(
        form=_phi3,
        fields=frozenset({"attention.sliding_window"}),
        names=dataclasses.replace(GGUF, qkv=("attn_qkv",), ffn_in=("ffn_up",)),
        turns_in_part=True,
    ),
    "gptneox": Architecture(
        form=_gptneox,
        fields=frozenset({"use_parallel_residual"}),
        names=dataclasses.replace(GGUF, qkv=("attn_qkv",), ffn_in=("ffn_up",)),
        turns_in_part=True,
    ),
}


def gguf_config(file: GgufFile) -> ModelConfig:
    """The shape of the model in a file.

    Raises:
        ConfigError: naming the field that we cannot represent.
    """
    kind, architecture = _architecture(file)
    _refuse_variants(file, kind, architecture)
    heads, head_width = _heads(file, kind, architecture)
    rope, names, tensors = gguf_rope(file, kind, head_width), architecture.names, file.names()
    context = rope.longest or file.integer(f"{kind}.context_length")
    own = architecture.form(file, context)
    shape: dict[str, Any] = {
        "layers": file.integer(f"{kind}.block_count"),
        "width": file.integer(f"{kind}.embedding_length"),
        "heads": heads,
        "kv_heads": file.integer(f"{kind}.attention.head_count_kv", heads),
        "head_width": head_width,
        "hidden": file.integer(f"{kind}.feed_forward_length"),
        "vocabulary": len(file.need("tokenizer.ggml.tokens")),
        "context": context,
        "norm": "rmsnorm",
        "activation": "silu",
        "ffn": "glu",
        "positions": "rope",
        "rope_base": rope.base,
        "rope_width": 0 if rope.width == head_width else rope.width,
        "rope_pairs": architecture.pairs,
        "rope_divisors": rope.divisors,
        "qkv_bias": f"blk.0.{names.qkv[0]}.bias" in tensors,
        "out_bias": f"blk.0.{names.out}.bias" in tensors,
        "ffn_bias": f"blk.0.{names.ffn_out}.bias" in tensors,
        "tied_head": "output.weight" not in tensors,
    }
    if "norm_eps" not in own:
        own["norm_eps"] = file.number(f"{kind}.attention.layer_norm_rms_epsilon")
    return ModelConfig(**{**shape, **own})


def gguf_layout(file: GgufFile, config: ModelConfig) -> Layout:
    """Where a file's weights lie, and what is folded into them on reading."""
    kind, architecture = _architecture(file)
    layout, rope = block_layout(config, architecture.names), gguf_rope(file, kind, config.head_width)
    if architecture.scaled_embedding:
        layout = scale_embedding(layout, config, config.width**0.5)
    if config.layers == architecture.largest:
        scores = (config.head_width / (config.width // config.heads)) ** 0.5
        layout = scale_queries(layout, config, lambda layer: scores)
    local = config.local_rope_layers
    return scale_queries(layout, config, lambda layer: 1.0 if layer in local else rope.factor**2, rope.width)


def _architecture(file: GgufFile) -> tuple[str, Architecture]:
    kind = file.need("general.architecture")
    architecture = ARCHITECTURES.get(kind) if isinstance(kind, str) else None
    if architecture is None:
        known = ", ".join(ARCHITECTURES)
        raise ConfigError(f"general.architecture is {kind!r}; GGUF files of {known} can be loaded")
    return kind, architecture


def _heads(file: GgufFile, kind: str, architecture: Architecture) -> tuple[int, int]:
    """Their number and width."""
    width, heads = file.integer(f"{kind}.embedding_length"), file.integer(f"{kind}.attention.head_count")
    if heads < 1:
        raise ConfigError(f"{file.path.name}: {kind}.attention.head_count is {heads}, expected at least 1")
    head_width = file.integer(f"{kind}.attention.key_length", width // heads)
    whole = [f"{kind}.attention.value_length"]
    whole += [] if architecture.turns_in_part else [f"{kind}.rope.dimension_count"]
    for key in whole:
        if file.integer(key, head_width) != head_width:
            raise ConfigError(f"{key} is {file.field(key)}, expected the head width, {head_width}")
    return heads, head_width


def _refuse_variants(file: GgufFile, kind: str, architecture: Architecture) -> None:
    """Fields that may change the computation are refused, not skipped, unless they say no."""
    known = _KNOWN_FIELDS | architecture.fields
    for key in sorted(file.keys()):
        if not key.startswith(f"{kind}.") or key.removeprefix(f"{kind}.") in known:
            continue
        value = file.field(key)
        if value not in (0, "", "none"):
            raise ConfigError(f"{file.path.name}: {key} is {value}, which this decoder has no place for")
