"""The shape of a decoder-only transformer, as data."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Literal

from parties.errors import ConfigError

NormKind = Literal["layernorm", "rmsnorm"]
ActivationKind = Literal["gelu", "gelu_tanh", "relu", "silu", "identity"]
FfnKind = Literal["mlp", "glu"]
PositionKind = Literal["learned", "rope"]
RopePairs = Literal["halves", "adjacent"]
AttentionKind = Literal["softmax"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A decoder: GPT-2 and the Llama family are two settings of these fields.

    Attributes:
        layers: number of blocks, >= 1.
        width: residual width D.
        heads: query heads H; ``heads * head_width`` is the width of the attention output.
        kv_heads: key and value heads; divides ``heads`` (grouped heads when smaller).
        head_width: width K of one head.
        hidden: FFN width F.
        vocabulary: number of token ids V.
        context: the longest sequence, prompt and answer together.
        norm_affine: norms inside the blocks have a gain (and a LayerNorm a bias); False after folding.
        ffn: ``mlp`` is act(x W_in) W_out; ``glu`` is (act(x W_gate) * (x W_up)) W_out.
        rope_pairs: which coordinates RoPE rotates together: ``halves`` (i, i + K/2) as in Hugging Face
            checkpoints, ``adjacent`` (2i, 2i + 1) as in GGUF files of the Llama family.
        tied_head: the head is the transposed token table.
    """

    layers: int
    width: int
    heads: int
    kv_heads: int
    head_width: int
    hidden: int
    vocabulary: int
    context: int
    norm: NormKind = "layernorm"
    norm_eps: float = 1e-5
    norm_affine: bool = True
    activation: ActivationKind = "gelu_tanh"
    ffn: FfnKind = "mlp"
    positions: PositionKind = "learned"
    rope_base: float = 10000.0
    rope_pairs: RopePairs = "halves"
    attention: AttentionKind = "softmax"
    qkv_bias: bool = True
    out_bias: bool = True
    ffn_bias: bool = True
    tied_head: bool = True

    def __post_init__(self) -> None:
        sizes = ("layers", "width", "heads", "kv_heads", "head_width", "hidden", "vocabulary", "context")
        for name in sizes:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.heads % self.kv_heads:
            raise ConfigError(f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})")
        if self.positions == "rope" and self.head_width % 2:
            raise ConfigError(f"RoPE needs an even head_width, got {self.head_width}")

    def to_json(self) -> dict[str, Any]:
        """All fields as plain values; `from_json` reads them back."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(fields: dict[str, Any]) -> ModelConfig:
        """A configuration from `to_json`'s form. Raises ConfigError on an unknown or missing field."""
        known = {field.name for field in dataclasses.fields(ModelConfig)}
        unknown = set(fields) - known
        if unknown:
            raise ConfigError(f"unknown model configuration fields: {sorted(unknown)}")
        try:
            return ModelConfig(**fields)
        except TypeError as error:
            raise ConfigError(f"incomplete model configuration: {error}") from error

    @property
    def parameters(self) -> int:
        """Number of weights, the tied head counted once."""
        total = 0
        for shape in weight_shapes(self).values():
            size = 1
            for length in shape:
                size *= length
            total += size
        return total

    def digest(self) -> str:
        """Sixteen hex digits that name this shape in the handshake."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def weight_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Every weight's name and shape. Matrices are [in, out]: a linear layer is ``x @ weight + bias``.

    ``attn.qkv`` is query, key and value side by side; ``ffn.in`` of a ``glu`` is gate and up side by side.
    """
    width, attention = config.width, config.heads * config.head_width
    qkv = attention + 2 * config.kv_heads * config.head_width
    inner = config.hidden * (2 if config.ffn == "glu" else 1)
    shapes: dict[str, tuple[int, ...]] = {"embed.tokens": (config.vocabulary, width)}
    if config.positions == "learned":
        shapes["embed.positions"] = (config.context, width)

    def norm(name: str) -> None:
        shapes[f"{name}.weight"] = (width,)
        if config.norm == "layernorm":
            shapes[f"{name}.bias"] = (width,)

    def linear(name: str, rows: int, columns: int, bias: bool) -> None:
        shapes[f"{name}.weight"] = (rows, columns)
        if bias:
            shapes[f"{name}.bias"] = (columns,)

    for layer in range(config.layers):
        prefix = f"layer{layer}"
        if config.norm_affine:
            norm(f"{prefix}.norm1")
        linear(f"{prefix}.attn.qkv", width, qkv, config.qkv_bias)
        linear(f"{prefix}.attn.out", attention, width, config.out_bias)
        if config.norm_affine:
            norm(f"{prefix}.norm2")
        linear(f"{prefix}.ffn.in", width, inner, config.ffn_bias)
        linear(f"{prefix}.ffn.out", config.hidden, width, config.ffn_bias)
    norm("head.norm")
    if not config.tied_head:
        shapes["head.weight"] = (width, config.vocabulary)
    return shapes
