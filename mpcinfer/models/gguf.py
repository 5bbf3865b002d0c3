"""Models from GGUF files: the Llama architecture, dequantised, with the tokenizer rebuilt from the file."""

# The gguf library is not fully annotated.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import gguf
import numpy as np
import torch

from mpcinfer.models.bpe import byte_level_bpe
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.layout import GGUF, Checkpoint, llama_layout, read_weights
from mpcinfer.models.model import Model
from mpcinfer.tokenizer import Tokenizer
from parties.errors import ConfigError

# Token types, as numbered in `tokenizer.ggml.token_type`.
_NORMAL, _CONTROL, _USER_DEFINED = 1, 3, 4
# What ends an answer in chat models whose file names only one end token.
_END_TEXTS = frozenset({"<|im_end|>", "<|endoftext|>", "<|eot_id|>", "</s>"})


@final
class GgufFile(Checkpoint):
    """An open GGUF file: its fields as Python values and its tensors, dequantised on reading."""

    def __init__(self, path: Path) -> None:
        """Maps the file; tensors are read when asked for.

        Raises:
            ConfigError: the file is absent or is not GGUF.
        """
        if not path.is_file():
            raise ConfigError(f"no such file: {path}")
        try:
            self._reader = gguf.GGUFReader(path)
        except (ValueError, IndexError, KeyError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path.name} is not a readable GGUF file: {error}") from error
        self.path = path
        self._tensors = {tensor.name: tensor for tensor in self._reader.tensors}

    def keys(self) -> frozenset[str]:
        """The names of all fields."""
        return frozenset(self._reader.fields)

    def field(self, key: str, default: Any = None) -> Any:
        """A field as int, float, bool, str or a list of those; `default` where it is absent."""
        field = self._reader.fields.get(key)
        return default if field is None else field.contents()

    def need(self, key: str) -> Any:
        """A field that must be there."""
        value = self.field(key)
        if value is None:
            raise ConfigError(f"{self.path.name} has no field {key}")
        return value

    def names(self) -> frozenset[str]:
        """Every tensor there is."""
        return frozenset(self._tensors)

    def read(self, name: str) -> torch.Tensor:
        """One tensor, dequantised to float32, matrices as [out, in]."""
        tensor = self._tensors[name]
        try:
            values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        except NotImplementedError as error:
            raise ConfigError(
                f"{self.path.name}: {name}: cannot dequantise {tensor.tensor_type.name}"
            ) from error
        return torch.from_numpy(np.array(values, dtype=np.float32))


def load_gguf(path: Path, *, name: str | None = None) -> Model:
    """A model from a GGUF file.

    Args:
        path: a file of the `llama` architecture with a byte-level BPE vocabulary.
        name: what to call the model; the path where it is left out.

    Raises:
        ConfigError: another architecture, a form of RoPE or a tokenizer that we do not have, a broken file.
    """
    file = GgufFile(path)
    config = gguf_config(file)
    weights = read_weights(config, llama_layout(config, GGUF), file)
    return Model(name=name or str(path), config=config, weights=weights, tokenizer=gguf_tokenizer(file))


def gguf_config(file: GgufFile) -> ModelConfig:
    """The shape of the model in a file.

    Raises:
        ConfigError: naming the field that we cannot represent.
    """
    architecture = file.need("general.architecture")
    if architecture != "llama":
        raise ConfigError(f"general.architecture is {architecture!r}; only 'llama' GGUF files can be loaded")
    _refuse_variants(file)
    width, heads = int(file.need("llama.embedding_length")), int(file.need("llama.attention.head_count"))
    head_width = int(file.field("llama.attention.key_length", width // heads))
    for key in ("llama.rope.dimension_count", "llama.attention.value_length"):
        if int(file.field(key, head_width)) != head_width:
            raise ConfigError(f"{key} is {file.field(key)}, expected the head width, {head_width}")
    names = file.names()
    return ModelConfig(
        layers=int(file.need("llama.block_count")),
        width=width,
        heads=heads,
        kv_heads=int(file.field("llama.attention.head_count_kv", heads)),
        head_width=head_width,
        hidden=int(file.need("llama.feed_forward_length")),
        vocabulary=len(file.need("tokenizer.ggml.tokens")),
        context=int(file.need("llama.context_length")),
        norm="rmsnorm",
        norm_eps=_decimal(file.need("llama.attention.layer_norm_rms_epsilon")),
        activation="silu",
        ffn="glu",
        positions="rope",
        rope_base=_decimal(file.field("llama.rope.freq_base", 10000.0)),
        rope_pairs="adjacent",
        qkv_bias="blk.0.attn_q.bias" in names,
        out_bias="blk.0.attn_output.bias" in names,
        ffn_bias="blk.0.ffn_down.bias" in names,
        tied_head="output.weight" not in names,
    )


def _decimal(value: float) -> float:
    """The short decimal that a float32 field was written from: 1e-05, not 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def _refuse_variants(file: GgufFile) -> None:
    """Fields that would change the computation are refused, not skipped."""
    for key in sorted(file.keys()):
        value = file.field(key) if key.startswith("llama.") else None
        scaled = key.startswith("llama.rope.scaling.") and key.endswith(("type", "factor"))
        if scaled and value not in ("none", "", 0, 1):
            raise ConfigError(f"{key} is {value}: scaled RoPE is not supported")
        if key in ("llama.expert_count", "llama.attention.sliding_window") and value:
            raise ConfigError(f"{key} is {value}: not supported")


def gguf_tokenizer(file: GgufFile) -> Tokenizer:
    """The byte-level BPE of a file, from its vocabulary, merges and token types.

    Raises:
        ConfigError: another kind of tokenizer, or a pre-tokeniser that we do not know.
    """
    kind = file.need("tokenizer.ggml.model")
    if kind != "gpt2":
        raise ConfigError(f"tokenizer.ggml.model is {kind!r}; only 'gpt2' (byte-level BPE) is supported")
    if file.field("tokenizer.ggml.add_space_prefix", False):
        raise ConfigError("tokenizer.ggml.add_space_prefix is true; only false is supported")
    texts: list[str] = file.need("tokenizer.ggml.tokens")
    types: list[int] = file.field("tokenizer.ggml.token_type", [_NORMAL] * len(texts))
    control = [text for text, kind in zip(texts, types, strict=True) if kind == _CONTROL]
    backend = byte_level_bpe(
        {text: index for index, text in enumerate(texts)},
        file.need("tokenizer.ggml.merges"),
        pre=file.need("tokenizer.ggml.pre"),
        special=control,
        added=[text for text, kind in zip(texts, types, strict=True) if kind == _USER_DEFINED],
    )
    bos: int | None = file.field("tokenizer.ggml.bos_token_id")
    eos: int | None = file.field("tokenizer.ggml.eos_token_id")
    ends = {file.field(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom")} - {None}
    return Tokenizer(
        backend=backend,
        bos=bos if file.field("tokenizer.ggml.add_bos_token", False) else None,
        stop=frozenset(ends | {texts.index(text) for text in _END_TEXTS.intersection(control)}),
        chat_template=file.field("tokenizer.chat_template"),
        special={
            name: texts[token]
            for name, token in (("bos_token", bos), ("eos_token", eos))
            if token is not None
        },
    )
