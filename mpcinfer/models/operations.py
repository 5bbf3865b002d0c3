"""What a forward pass computes, as the papers count it: entries through nonlinearities, and FLOPs.

Private costs follow from the first; `mpcinfer cost` has them exactly. Scores are counted as the papers do,
in full: also those that a causal mask hides.
"""

from __future__ import annotations

from dataclasses import dataclass

from mpcinfer.models.config import ModelConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Nonlinear:
    """How often a nonlinearity is called, and on what.

    Attributes:
        kind: `softmax` (or another kind of attention), `layernorm`, `gelu_tanh`, ...
        calls: maps of one head, norms, or FFNs.
        rows, columns: of what one call gets.
    """

    kind: str
    calls: int
    rows: int
    columns: int

    @property
    def elements(self) -> int:
        """Entries of all calls."""
        return self.calls * self.rows * self.columns


def nonlinear_operations(config: ModelConfig, tokens: int, *, final_norm: bool = True) -> list[Nonlinear]:
    """All nonlinearities of one pass over a prompt.

    Args:
        final_norm: count the norm before the head too, where there is one; the papers' tables do not.
    """
    ffns = _ffns(config)
    norms = config.layers + ffns if config.block_norms else 0
    if final_norm and config.final_norm:
        norms += 1
    inner = config.layers * (config.heads + config.kv_heads) if config.qk_norm else 0
    norms += config.layers + ffns if config.post_norms else 0
    active = ffns if config.ffn in ("mlp", "glu") and config.activation != "identity" else 0
    found = (
        Nonlinear(kind=config.attention, calls=config.layers * config.heads, rows=tokens, columns=tokens),
        Nonlinear(kind=config.norm, calls=norms, rows=tokens, columns=config.width),
        Nonlinear(kind=config.norm, calls=inner, rows=tokens, columns=config.head_width),
        Nonlinear(kind=config.activation, calls=active, rows=tokens, columns=config.hidden),
    )
    return [operation for operation in found if operation.calls]


def ffn_flops(config: ModelConfig, tokens: int) -> int:
    """Of all FFNs' matrices on a prompt, two a multiplication: 16 L T D^2 for an mlp with F = 4 D."""
    matrices = {"mlp": 2, "glu": 3}.get(config.ffn, 0)
    inner = matrices * config.hidden if matrices else config.width
    return _ffns(config) * 2 * tokens * config.width * inner


def attention_flops(config: ModelConfig, tokens: int) -> int:
    """Of all attentions on a prompt: 2 T times each projection, and 3 T^2 for each column of the heads.

    The papers' own count, L (8 T D^2 + 3 T^2 D) for heads that fill the width; scores and their mix are 4 T^2
    by the rule used for matrices, half of which a causal mask spares.
    """
    queries, keys = config.heads * config.head_width, config.kv_heads * config.head_width
    projections = 2 * tokens * config.width * (2 * queries + 2 * keys)
    return config.layers * (projections + 3 * tokens**2 * queries)


def _ffns(config: ModelConfig) -> int:
    return sum(config.has_ffn(layer) for layer in range(config.layers))
