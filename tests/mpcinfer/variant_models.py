"""Small random models of every variant, calibrated; and their forms as attention alone."""

from __future__ import annotations

import dataclasses
import math
from functools import cache

import torch

from mpcinfer.models.attention_only import fold_attention_only
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.model import Model
from mpcinfer.models.ranges import calibrate
from mpcinfer.models.variants import variant
from tests.mpcinfer.models.paper import random_weights
from tests.mpcinfer.three_parties import byte_tokenizer

BASE = ModelConfig(
    layers=2, width=24, heads=2, kv_heads=2, head_width=8, hidden=32, vocabulary=256, context=24
)
PROMPTS = ["def f(x):", "return x + 1"]
FOLDED = "folded "
"""Before the name of a variant: its FFNs are folded away."""


@cache
def variant_model(
    name: str, *, final_norm: bool = True, tied_head: bool = True, sizes: ModelConfig = BASE
) -> Model:
    """A variant with weights like trained ones: FFNs change the residual, and do not mangle it."""
    base = dataclasses.replace(sizes, final_norm=final_norm, tied_head=tied_head)
    config = variant(name.removeprefix(FOLDED), base)
    weights = random_weights(config, seed=3)
    for key in weights:
        if key.endswith(("ffn.out.weight", "ffn.in.weight")) and not config.block_norms:
            weights[key] = 0.6 * weights[key]
    if name.startswith(FOLDED):
        folded = fold_attention_only(config, weights, largest_condition=math.inf)
        config, weights = folded.config, folded.weights
    single = {key: value.to(torch.float32) for key, value in weights.items()}
    model = Model(name=name, config=config, weights=single, tokenizer=byte_tokenizer())
    return dataclasses.replace(model, ranges=calibrate(model, PROMPTS))
