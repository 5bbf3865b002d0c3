"""What makes a small test configuration one of the Llama family."""

from __future__ import annotations

from typing import Any

LLAMA_FORM: dict[str, Any] = {
    "norm": "rmsnorm",
    "activation": "silu",
    "ffn": "glu",
    "positions": "rope",
    "qkv_bias": False,
    "out_bias": False,
    "ffn_bias": False,
}

ENCODER_FORM: dict[str, Any] = {
    "norm_eps": 1e-12,
    "activation": "gelu",
    "tied_head": False,
    "final_norm": False,
    "causal": False,
    "norm_order": "post",
    "head": "embedding",
    "pooling": "mean",
}
"""What makes it an encoder of BERT's form."""
