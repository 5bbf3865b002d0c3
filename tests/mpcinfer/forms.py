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
