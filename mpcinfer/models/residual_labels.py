"""Which ranges say how large a residual gets."""

from __future__ import annotations

from mpcinfer.models.config import ModelConfig


def residual_labels(config: ModelConfig) -> list[str]:
    """The ranges of everything that a residual holds: what it begins with, what blocks write, and sums."""
    layers = range(config.layers)
    labels = [f"layer{i}{end}" for i in layers for end in ("/add", ".attn.out/linear", ".ffn.out/linear")]
    if config.norm_order == "post":
        labels += [f"{config.norm_before(i, 'attn')}/norm" for i in layers]
        return labels + [f"{config.norm_before(i, 'ffn')}/norm" for i in layers]
    labels += [f"layer{i}.{part}.post/norm" for i in layers for part in ("attn", "ffn")]
    labels += ["embedding/embed", "embedding/add_positions"]
    return labels + (["head.input/linear"] if config.final_norm else [])
