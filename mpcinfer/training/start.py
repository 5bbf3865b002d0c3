"""What a run may begin from: a trained model, or the checkpoint of another run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.folder import load_public_folder
from mpcinfer.models.load import load_model
from mpcinfer.tokenizer import Tokenizer
from mpcinfer.training.checkpoint import read_checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Shape, weights and tokenizer to begin from."""

    config: ModelConfig
    weights: Mapping[str, torch.Tensor]
    tokenizer: Tokenizer


def load_start(name_or_path: str) -> Start:
    """A model, or a run's `training/checkpoint.pt` with the weights in full precision.

    Args:
        name_or_path: as for `load_model`; or the path of a checkpoint inside a run's folder, beside whose
            model the tokenizer is.

    Raises:
        ConfigError: neither.
    """
    path = Path(name_or_path)
    if path.suffix == ".pt":
        saved = read_checkpoint(path)
        tokenizer = load_public_folder(path.parent.parent).tokenizer
        return Start(config=saved.config, weights=saved.weights, tokenizer=tokenizer)
    model = load_model(name_or_path)
    return Start(config=model.config, weights=model.weights, tokenizer=model.tokenizer)


def begun_as_powers(start: Start, config: ModelConfig) -> Mapping[str, torch.Tensor]:
    """The start's weights for a shape with power attention: softmax's queries over the power.

    exp(s) is near (1 + s / p)^p for small s, and an offset of 1 is what training begins with
    (`Recipe.first_offset`). Scores p times as small are also what a penalty on ranges asks for. Other pairs
    of shapes get the start's weights as they are.
    """
    same = ("heads", "kv_heads", "head_width")
    if (start.config.attention, config.attention) != ("softmax", "power") or any(
        getattr(start.config, name) != getattr(config, name) for name in same
    ):
        return start.weights
    result, queries = dict(start.weights), config.heads * config.head_width
    for name, value in start.weights.items():
        if name.endswith(("attn.qkv.weight", "attn.qkv.bias")):
            parts = [value[..., :queries] / config.power, value[..., queries:]]
            result[name] = torch.cat(parts, -1)
    return result
