"""Models from GGUF files: Llama, Qwen2 and Qwen3, dequantised, with the tokenizer rebuilt from the file."""

# The gguf library is not fully annotated.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.gguf_header import Header
from mpcinfer.models.gguf_tokenizer import gguf_tokenizer
from mpcinfer.models.layout import GGUF, Checkpoint, block_layout, read_weights
from mpcinfer.models.model import Model
from mpcinfer.models.public import PublicModel
from mpcinfer.models.rope import RopePairs
from mpcinfer.models.stored_ranges import ranges_beside
from parties.errors import ConfigError

# Fields of the architecture that are read, or that follow from others.
_KNOWN_FIELDS = frozenset(
    {
        "attention.head_count",
        "attention.head_count_kv",
        "attention.key_length",
        "attention.layer_norm_rms_epsilon",
        "attention.value_length",
        "block_count",
        "context_length",
        "embedding_length",
        "feed_forward_length",
        "rope.dimension_count",
        "rope.freq_base",
        "vocab_size",
    }
)
_ARCHITECTURES: dict[str, tuple[RopePairs, bool]] = {
    "llama": ("adjacent", False),
    "qwen2": ("halves", False),
    "qwen3": ("halves", True),
}
"""Which coordinates RoPE turns together, and whether queries and keys have norms."""
_DIVISORS = "rope_freqs.weight"
_QK_NORMS = {"attn.q_norm": "attn_q_norm", "attn.k_norm": "attn_k_norm"}


@final
class GgufFile(Checkpoint):
    """An open GGUF file: its fields as Python values and its tensors, dequantised on reading."""

    def __init__(self, path: Path) -> None:
        """Reads the fields; tensors are read when asked for.

        Raises:
            ConfigError: the file is absent or is not GGUF.
        """
        if not path.is_file():
            raise ConfigError(f"no such file: {path}")
        self.path, self._header = path, Header.of_file(path)
        self._content: NDArray[np.uint8] | None = None

    @property
    def fields(self) -> Mapping[str, Any]:
        """Every field by its key."""
        return self._header.fields

    def keys(self) -> frozenset[str]:
        """The names of all fields."""
        return frozenset(self._header.fields)

    def field(self, key: str, default: Any = None) -> Any:
        """A field as int, float, bool, str or a list of those; `default` where it is absent."""
        return self._header.fields.get(key, default)

    def need(self, key: str) -> Any:
        """A field that must be there."""
        value = self.field(key)
        if value is None:
            raise ConfigError(f"{self.path.name} has no field {key}")
        return value

    def integer(self, key: str, default: int | None = None) -> int:
        """A whole number; required where there is no default."""
        value = self.need(key) if default is None else self.field(key, default)
        if not isinstance(value, int):
            raise ConfigError(f"{self.path.name}: {key} is {value!r}, expected one whole number")
        return value

    def names(self) -> frozenset[str]:
        """Every tensor there is."""
        return frozenset(self._header.tensors)

    def read(self, name: str) -> torch.Tensor:
        """One tensor, dequantised to float32, matrices as [out, in].

        Raises:
            ConfigError: its type is unknown or cannot be dequantised, or the file ends before it does.
        """
        import gguf  # imports slowly, and a client does without

        if self._content is None:
            # A plain array over the map: slices of a memmap are slow to make, and the library makes many.
            self._content = np.asarray(np.memmap(self.path, np.uint8, "r"))
        info = self._header.tensors[name]
        try:
            kind = gguf.GGMLQuantizationType(info.kind)
            block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
            rows, columns = info.shape[:-1], info.shape[-1]
            if columns % block:
                raise ValueError(f"rows of {columns} are no blocks of {block}")
            size = math.prod(rows) * (columns // block) * block_bytes
            data = self._content[info.start : info.start + size]
            if data.size != size:
                raise ValueError("the file ends before it does")
            values = gguf.quants.dequantize(data.reshape(*rows, -1), kind)
        except NotImplementedError as error:
            raise ConfigError(f"{self.path.name}: {name}: cannot dequantise type {info.kind}") from error
        except ValueError as error:
            raise ConfigError(f"{self.path.name}: {name}: {error}") from error
        # A copy where it is the map itself, which nobody may write.
        return torch.from_numpy(np.require(values, np.float32, ["W", "C"]))


def load_gguf(path: Path, *, name: str | None = None) -> Model:
    """A model from a GGUF file, with the ranges of `NAME.ranges.json` beside it if they are there.

    Args:
        path: a file of a known architecture.
        name: what to call the model; the path where it is left out.

    Raises:
        ConfigError: another architecture, a form of RoPE or a tokenizer that we do not have, a broken file.
    """
    file = GgufFile(path)
    public = _public(file, name)
    names = dataclasses.replace(GGUF, inner_norms=_QK_NORMS) if public.config.qk_norm else GGUF
    return Model(
        name=public.name,
        config=public.config,
        weights=read_weights(public.config, block_layout(public.config, names), file, ignored=_DIVISORS),
        tokenizer=public.tokenizer,
        ranges=public.ranges,
    )


def load_public_gguf(path: Path, *, name: str | None = None) -> PublicModel:
    """Everything but the weights, which are not read. Arguments and errors as `load_gguf`."""
    return _public(GgufFile(path), name)


def _public(file: GgufFile, name: str | None) -> PublicModel:
    return PublicModel(
        name=name or str(file.path),
        config=gguf_config(file),
        tokenizer=gguf_tokenizer(file),
        ranges=ranges_beside(file.path),
    )


def gguf_config(file: GgufFile) -> ModelConfig:
    """The shape of the model in a file.

    Raises:
        ConfigError: naming the field that we cannot represent.
    """
    kind = file.need("general.architecture")
    if kind not in _ARCHITECTURES:
        known = ", ".join(_ARCHITECTURES)
        raise ConfigError(f"general.architecture is {kind!r}; GGUF files of {known} can be loaded")
    pairs, qk_norm = _ARCHITECTURES[kind]
    _refuse_variants(file, kind)
    width, heads = file.integer(f"{kind}.embedding_length"), file.integer(f"{kind}.attention.head_count")
    head_width = file.integer(f"{kind}.attention.key_length", width // heads)
    for key in (f"{kind}.rope.dimension_count", f"{kind}.attention.value_length"):
        if file.integer(key, head_width) != head_width:
            raise ConfigError(f"{key} is {file.field(key)}, expected the head width, {head_width}")
    names = file.names()
    return ModelConfig(
        layers=file.integer(f"{kind}.block_count"),
        width=width,
        heads=heads,
        kv_heads=file.integer(f"{kind}.attention.head_count_kv", heads),
        head_width=head_width,
        hidden=file.integer(f"{kind}.feed_forward_length"),
        vocabulary=len(file.need("tokenizer.ggml.tokens")),
        context=file.integer(f"{kind}.context_length"),
        norm="rmsnorm",
        norm_eps=_decimal(file.need(f"{kind}.attention.layer_norm_rms_epsilon")),
        activation="silu",
        ffn="glu",
        positions="rope",
        rope_base=_decimal(file.field(f"{kind}.rope.freq_base", 10000.0)),
        rope_pairs=pairs,
        rope_divisors=_divisors(file),
        qk_norm=qk_norm,
        qkv_bias="blk.0.attn_q.bias" in names,
        out_bias="blk.0.attn_output.bias" in names,
        ffn_bias="blk.0.ffn_down.bias" in names,
        tied_head="output.weight" not in names,
    )


def _decimal(value: float) -> float:
    """The short decimal that a float32 field was written from: 1e-05, not 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def _divisors(file: GgufFile) -> tuple[float, ...]:
    """What the file divides RoPE's frequencies by, as converters write it for Llama 3.1."""
    if _DIVISORS not in file.names():
        return ()
    return tuple(float(each) for each in file.read(_DIVISORS).flatten())


def _refuse_variants(file: GgufFile, kind: str) -> None:
    """Fields that may change the computation are refused, not skipped, unless they say no."""
    for key in sorted(file.keys()):
        if not key.startswith(f"{kind}.") or key.removeprefix(f"{kind}.") in _KNOWN_FIELDS:
            continue
        value = file.field(key)
        if value not in (0, "", "none"):
            raise ConfigError(f"{file.path.name}: {key} is {value}, which this decoder has no place for")
