"""The shape of a transformer, a decoder or an encoder, as data."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any, Literal

from mpcinfer.models.kinds import (
    ActivationKind,
    AttentionForm,
    AttentionKind,
    FfnKind,
    FfnWeights,
    HeadKind,
    NormKind,
    NormOrder,
    PoolerKind,
    Pooling,
    PositionKind,
    TemperatureKind,
)
from mpcinfer.models.norm_kinds import ROW_NORMS, input_shapes, linear_shapes, norm_shapes
from mpcinfer.models.patterns import Patterns, check_patterns, seeing
from mpcinfer.models.rope import Rope, RopePairs, check_rope
from mpcinfer.models.typed_fields import of_plain_fields, plain_fields
from parties.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """GPT-2, the Llama family, BERT and the variants for private inference are settings of these fields.

    The last four fields are ways to write a model down for training: `static` and `fold` take them away, and
    no backend knows them.

    Attributes:
        layers: number of blocks, >= 1.
        width: residual width D.
        heads: query heads H; ``heads * head_width`` is the width of the attention output.
        kv_heads: key and value heads; divides ``heads`` (grouped heads when smaller).
        head_width: width K of one head.
        hidden: FFN width F.
        vocabulary: number of token ids V.
        context: the longest sequence, prompt and answer together.
        norm: ``dyt`` and ``derf`` are functions of every number, ``linear`` a fixed line (`norm_kinds`).
        norm_affine: norms inside the blocks have a gain (and a LayerNorm a bias); False after folding.
        block_norms: the blocks have norms, before attention and before the FFN.
        qk_norm: an RMS norm with a gain on every head's queries and keys, before they turn.
        post_norms: an RMS norm with a gain on what attention adds to the residual, and on what the FFN does.
        final_norm: there is a norm before the head.
        head_input: a matrix before that norm, which folding leaves there (`fold`).
        ffn: ``mlp`` is act(x W_in) W_out; ``glu`` is (act(x W_gate) * (x W_up)) W_out; ``fused`` is x W;
            ``none`` leaves attention alone.
        pruned_ffns: this many blocks, the deepest, have no FFN.
        parallel: attention and FFN of a block read the same residual, and both are added to it.
        rope_base, rope_pairs, rope_width, rope_divisors: as `Rope` has them; a width of 0 is the whole head.
            Pairs are ``halves`` in Hugging Face checkpoints, ``adjacent`` in GGUF files of the Llama family.
        unrotated: layers without RoPE.
        local_rope_base, local_rope_layers: layers with another base, whose frequencies are not divided.
        windows: how many keys a query of each layer sees, its own the last of them, 0 for all up to its own;
            empty where all layers see all. For softmax.
        patterns: which keys the heads of every layer see (`Patterns`); empty where all see all.
        attention: what a score s becomes before its row is divided by the row's sum: ``softmax`` exp(s),
            ``power`` s^power; ``relu`` is max(s, 0) over the number of keys, without a sum; ``gaussian``
            is exp(-|q - k|^2 / (2 sqrt(K))), without one either.
        power: even, from 2 to 8.
        attention_epsilon: (power) added to the mean of a row's powers.
        attention_shift: added to every score; ``2quad`` is power 2 with a shift of 5.
        attention_offset: a learned number a head, added to its scores as well.
        score_cap: (softmax) a score s becomes score_cap tanh(s / score_cap); 0 for no cap.
        attention_scaled: scores come divided by a number a head, which changed epsilon into a weight a head.
        tied_head: the head is the transposed token table.
        head_bias: the head's matrix, into logits of tokens or of labels, has a bias; not where it is tied.
        logit_cap: logits z become logit_cap tanh(z / logit_cap), at the client; 0 for no cap.
        temperature: scores are divided by a learned number a ``head``, or a head and query ``position``.
        scaled_ffn: x and FFN(x) are added as beta x + FFN(x) / alpha, two learned numbers a block.
        ffn_weights: FFN matrices are a gain times a direction, or over their spectral norm.
        causal: a token sees those up to its own; otherwise all tokens of the text (softmax attention alone).
        norm_order: ``pre`` adds f(norm(x)) to x; ``post`` puts norm(x + f(x)) in the place of x, and has a
            norm after the embedding instead of one before the head (BERT).
        residual_affine: (post) norms have neither gain nor bias, and the residual reads them through ones of
            its own: what folding leaves.
        head: ``vocabulary`` gives logits of the next token; ``embedding`` the pooled rows; ``classes``
            logits of a label.
        pooling: which rows the other two heads read: the ``last``, the ``first``, or the ``mean`` of all.
        pooler: a matrix and an activation between the pooled row and the classes.
        classes: how many labels there are; 0 where the head has none.
        types: (classes) of tokens, a row more in their table for each but the first (`typed_tokens`).
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
    block_norms: bool = True
    qk_norm: bool = False
    post_norms: bool = False
    final_norm: bool = True
    head_input: bool = False
    activation: ActivationKind = "gelu_tanh"
    ffn: FfnKind = "mlp"
    pruned_ffns: int = 0
    parallel: bool = False
    positions: PositionKind = "learned"
    rope_base: float = 10000.0
    rope_pairs: RopePairs = "halves"
    rope_width: int = 0
    rope_divisors: tuple[float, ...] = ()
    unrotated: tuple[int, ...] = ()
    local_rope_base: float = 10000.0
    local_rope_layers: tuple[int, ...] = ()
    windows: tuple[int, ...] = ()
    patterns: Patterns = ()
    attention: AttentionKind = "softmax"
    power: int = 4
    attention_epsilon: float = 1e-3
    attention_shift: float = 0.0
    attention_offset: bool = False
    attention_scaled: bool = False
    score_cap: float = 0.0
    qkv_bias: bool = True
    out_bias: bool = True
    ffn_bias: bool = True
    tied_head: bool = True
    head_bias: bool = False
    logit_cap: float = 0.0
    temperature: TemperatureKind = "none"
    scaled_ffn: bool = False
    ffn_weights: FfnWeights = "plain"
    causal: bool = True
    norm_order: NormOrder = "pre"
    residual_affine: bool = False
    head: HeadKind = "vocabulary"
    pooling: Pooling = "last"
    pooler: PoolerKind = "none"
    classes: int = 0
    types: int = 1

    def __post_init__(self) -> None:
        for name in ("layers", "width", "heads", "kv_heads", "head_width", "hidden", "vocabulary", "context"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.heads % self.kv_heads:
            raise ConfigError(f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})")
        if self.positions == "rope":
            check_rope(self.rope_width, self.head_width, self.rope_divisors)
            if any(not 0 <= each < self.layers for each in (*self.unrotated, *self.local_rope_layers)):
                raise ConfigError(f"unrotated or local_rope_layers name layers beyond {self.layers}")
        self._check_attention()
        self._check_ffn()
        self._check_norms()
        self._check_head()

    def _check_attention(self) -> None:
        if self.attention_scaled and self.attention != "power":
            raise ConfigError(f"attention_scaled is for power attention, not for {self.attention}")
        shifted = self.attention_offset or self.attention_shift
        if self.attention == "gaussian" and (shifted or self.temperature != "none"):
            raise ConfigError("attention gaussian has no attention_offset, attention_shift or temperature")
        if self.windows and (len(self.windows) != self.layers or min(self.windows) < 0):
            raise ConfigError(f"windows has {len(self.windows)} numbers for {self.layers} layers, all >= 0")
        for window in {0, *self.windows}:
            dataclasses.replace(self.form, window=window, patterns=sum(self.patterns, ())).check()
        check_patterns(self.patterns, self.layers, self.heads, drops=self.temperature != "position")

    def _check_ffn(self) -> None:
        if not 0 <= self.pruned_ffns <= self.layers:
            raise ConfigError(f"{self.pruned_ffns} of {self.layers} FFNs cannot be pruned")
        if self.scaled_ffn and self.block_norms:
            raise ConfigError("scaled_ffn is for models without block_norms")
        if self.ffn_weights != "plain" and self.ffn == "none":
            raise ConfigError("ffn_weights without an ffn")
        if self.parallel and not self.block_norms:
            raise ConfigError("parallel blocks have norms")

    def _check_norms(self) -> None:
        if self.qk_norm or self.post_norms:
            if self.norm != "rmsnorm" or not self.block_norms:
                raise ConfigError("qk_norm and post_norms are for blocks with RMS norms")
            if self.qk_norm and (self.attention != "softmax" or self.temperature != "none"):
                raise ConfigError("qk_norm is for softmax attention without temperatures")
        if self.norm not in ROW_NORMS and (
            self.norm_order == "post" or self.parallel or self.head != "vocabulary"
        ):
            raise ConfigError(
                f"norm {self.norm}: for norm_order pre, a head over the vocabulary, not parallel"
            )
        if self.norm_order == "post":
            self._check_post_norms()
        elif self.residual_affine:
            raise ConfigError("residual_affine is for norm_order post")

    def _check_post_norms(self) -> None:
        if not self.block_norms or self.final_norm or self.head_input or self.scaled_ffn:
            raise ConfigError("norm_order post has norms in its blocks, and none before the head")
        if self.ffn in ("fused", "none") or self.pruned_ffns:
            raise ConfigError("norm_order post needs an FFN with an activation in every block")
        if self.parallel or self.qk_norm or self.post_norms:
            raise ConfigError("norm_order post has no parallel blocks, qk_norm or post_norms")
        if self.head == "vocabulary":
            raise ConfigError("norm_order post has no head over the vocabulary: take embedding or classes")

    def _check_head(self) -> None:
        if self.types != 1 and (self.types < 1 or self.head != "classes"):
            raise ConfigError(f"types is 1, or more for a head of kind classes; got {self.types}")
        if self.head_bias and (self.tied_head or self.head == "embedding"):
            raise ConfigError("a tied head has no bias, nor has one of kind embedding")
        if (self.head == "classes") != (self.classes > 0):
            raise ConfigError(f"a head of kind {self.head} with {self.classes} classes")
        if not 0 <= self.logit_cap < math.inf or (self.logit_cap and self.head != "vocabulary"):
            raise ConfigError(f"logit_cap {self.logit_cap}: 0 or more, for a head over the vocabulary")
        if self.head == "vocabulary" and (self.pooling != "last" or not self.causal):
            raise ConfigError("a head over the vocabulary reads the last rows of causal attention")
        if self.head != "vocabulary" and (self.tied_head or not (self.block_norms or self.head_input)):
            raise ConfigError(f"a head of kind {self.head} has its own weights, and norms in the blocks")
        if self.head == "embedding" and self.norm_order == "pre":
            raise ConfigError("a head of kind embedding is for norm_order post")
        if (self.pooling == "mean" and self.head == "classes") or (self.pooling == "first" and self.causal):
            raise ConfigError("classes are not read from the mean of all, nor causal rows from the first")
        if (self.pooler != "none") != (self.head == "classes" and self.norm_order == "post"):
            raise ConfigError("classes of norm_order post have a pooler before them, and no others have one")

    def to_json(self) -> dict[str, Any]:
        """All fields as plain values; `from_json` reads them back."""
        return plain_fields(self)

    @staticmethod
    def from_json(fields: dict[str, Any]) -> ModelConfig:
        """A configuration from `to_json`'s form. Raises ConfigError as `of_plain_fields`."""
        return of_plain_fields(ModelConfig, fields, "model configuration")

    def has_ffn(self, layer: int) -> bool:
        """Whether a block has an FFN."""
        return self.ffn != "none" and layer < self.layers - self.pruned_ffns

    def rope(self, layer: int) -> Rope | None:
        """How queries and keys of a layer turn; None where they do not."""
        if self.positions != "rope" or layer in self.unrotated:
            return None
        width = self.rope_width or self.head_width
        if layer in self.local_rope_layers:
            return Rope(self.local_rope_base, width, self.rope_pairs)
        return Rope(self.rope_base, width, self.rope_pairs, self.rope_divisors)

    def window(self, layer: int) -> int:
        """How many keys a query of a layer sees; 0 for all up to its own."""
        return self.windows[layer] if self.windows else 0

    def norm_before(self, layer: int, part: Literal["attn", "ffn"]) -> str:
        """The name of the norm that a part of a block reads."""
        if self.norm_order == "pre":
            shared = self.parallel and not self.norm_affine  # one input, and gains that are folded away
            return f"layer{layer}.{'norm1' if part == 'attn' or shared else 'norm2'}"
        if part == "ffn":
            return f"layer{layer}.norm1"
        return f"layer{layer - 1}.norm2" if layer else "embed.norm"

    @property
    def row_norms(self) -> bool:
        """The blocks have norms of whole rows; otherwise nobody but linear layers reads the residual."""
        return self.block_norms and self.norm in ROW_NORMS

    @property
    def query_scale(self) -> float:
        """What queries are multiplied with, and keys of a Gaussian kernel."""
        return self.head_width ** (-0.25 if self.attention == "gaussian" else -0.5)

    @property
    def form(self) -> AttentionForm:
        """What attention weights are, windows aside."""
        own = (self.attention, self.power, self.attention_epsilon, self.attention_shift)
        return AttentionForm(*own, causal=self.causal, cap=self.score_cap)

    @property
    def outputs(self) -> int:
        """Numbers in a row of what the head gives."""
        return {"vocabulary": self.vocabulary, "embedding": self.width, "classes": self.classes}[self.head]

    def form_of(self, layer: int) -> AttentionForm:
        """What a layer's attention weights are, of the heads that see keys."""
        seen = seeing(self.patterns, layer)
        return dataclasses.replace(self.form, window=self.window(layer), patterns=seen)

    @property
    def parameters(self) -> int:
        """Number of weights, the tied head counted once."""
        return sum(math.prod(shape) for shape in weight_shapes(self).values())

    def digest(self) -> str:
        """Sixteen hex digits that name this shape in the handshake."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]


def weight_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Every weight's name and shape. Matrices are [in, out]: a linear layer is ``x @ weight + bias``.

    ``attn.qkv`` is query, key and value side by side; ``ffn.in`` of a ``glu`` is gate and up side by side; a
    ``fused`` FFN is ``ffn.out`` alone. Temperatures are kept as logarithms, epsilons as they are.
    """
    shapes: dict[str, tuple[int, ...]] = {
        "embed.tokens": (config.vocabulary + config.types - 1, config.width)
    }
    if config.positions == "learned":
        shapes["embed.positions"] = (config.context, config.width)
    if config.norm_order == "post":
        shapes |= _block_norm_shapes(config, "embed.norm")
    for layer in range(config.layers):
        shapes |= _attention_shapes(config, f"layer{layer}")
        if config.has_ffn(layer):
            shapes |= _ffn_shapes(config, f"layer{layer}")
    if config.head_input:
        biased = config.norm == "linear" and not config.final_norm
        shapes |= linear_shapes("head.input", config.width, config.width, biased)
    if config.final_norm:
        shapes |= _norm_shapes(config, "head.norm") | input_shapes(config.norm, "head.norm")
    return shapes | _head_shapes(config)


Shapes = dict[str, tuple[int, ...]]


def _head_shapes(config: ModelConfig) -> Shapes:
    """What is after the last norm."""
    if config.head == "vocabulary":
        if config.tied_head:
            return {}
        return linear_shapes("head", config.width, config.vocabulary, config.head_bias)
    if config.head == "embedding":
        return _norm_shapes(config, "head.residual") if config.residual_affine else {}
    shapes = linear_shapes("head", config.width, config.classes, config.head_bias)
    if config.pooler != "none":
        shapes |= linear_shapes("head.pooler", config.width, config.width, True)
    return shapes


def _attention_shapes(config: ModelConfig, prefix: str) -> Shapes:
    width, attention = config.width, config.heads * config.head_width
    qkv = attention + 2 * config.kv_heads * config.head_width
    shapes = _block_norm_shapes(config, f"{prefix}.norm1")
    if config.residual_affine:
        shapes |= _norm_shapes(config, f"{prefix}.residual1")
    shapes |= linear_shapes(f"{prefix}.attn.qkv", width, qkv, config.qkv_bias)
    if config.temperature != "none":
        by_position = (config.context,) if config.temperature == "position" else ()
        shapes[f"{prefix}.attn.log_temperature"] = (config.heads, *by_position)
    if config.qk_norm:
        for name in ("q_norm", "k_norm"):
            shapes[f"{prefix}.attn.{name}.weight"] = (config.head_width,)
    if config.post_norms:
        shapes[f"{prefix}.attn.post.weight"] = (width,)
    if config.attention_offset:
        shapes[f"{prefix}.attn.offset"] = (config.heads,)
    if config.attention_scaled:
        shapes[f"{prefix}.attn.epsilon"] = (config.heads,)
    return shapes | linear_shapes(f"{prefix}.attn.out", attention, width, config.out_bias)


def _ffn_shapes(config: ModelConfig, prefix: str) -> Shapes:
    width, shapes = config.width, Shapes()
    inner = config.hidden * (2 if config.ffn == "glu" else 1)
    shapes |= _block_norm_shapes(config, f"{prefix}.norm2")
    if config.residual_affine:
        shapes |= _norm_shapes(config, f"{prefix}.residual2")
    if config.ffn != "fused":
        shapes |= linear_shapes(f"{prefix}.ffn.in", width, inner, config.ffn_bias)
    rows = width if config.ffn == "fused" else config.hidden
    shapes |= linear_shapes(f"{prefix}.ffn.out", rows, width, config.ffn_bias)
    if config.post_norms:
        shapes[f"{prefix}.ffn.post.weight"] = (width,)
    if config.ffn_weights == "weight_norm":
        for name in [name for name in shapes if name.endswith(("ffn.in.weight", "ffn.out.weight"))]:
            shapes[f"{name.removesuffix('weight')}gain"] = shapes[name][1:]
    if config.scaled_ffn:
        shapes |= {f"{prefix}.ffn.alpha": (1,), f"{prefix}.ffn.beta": (1,)}
    return shapes


def _norm_shapes(config: ModelConfig, name: str) -> Shapes:
    return norm_shapes(config.norm, name, config.width)


def _block_norm_shapes(config: ModelConfig, name: str) -> Shapes:
    """Of a norm in a block, if there is one: without its gain and bias where these are folded away."""
    if not config.block_norms:
        return {}
    affine = _norm_shapes(config, name) if config.norm_affine else Shapes()
    return affine | input_shapes(config.norm, name)
