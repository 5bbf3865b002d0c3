"""RoPE as a GGUF file states it: `rope.*` fields and tensors of factors.

Source: llama.cpp, whose format it is: a scaling factor without a type is linear, 0 is no factor.
"""

from __future__ import annotations

import math
from typing import Any

from mpcinfer.models.families.rope_keys import RopeSettings, read_rope
from mpcinfer.models.fields import Fields
from mpcinfer.models.gguf_file import GgufFile
from parties.errors import ConfigError

ROPE_TENSORS = r"rope_freqs\.weight|rope_factors_(short|long)\.weight"
"""Pattern of the tensors that are read here."""
ROPE_FIELDS = frozenset(
    {
        "rope.dimension_count",
        "rope.freq_base",
        "rope.scale_linear",
        "rope.scaling.attn_factor",
        "rope.scaling.factor",
        "rope.scaling.finetuned",
        "rope.scaling.original_context_length",
        "rope.scaling.type",
        "rope.scaling.yarn_beta_fast",
        "rope.scaling.yarn_beta_slow",
    }
)
_DIVISORS, _SHORT, _LONG = "rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight"


def gguf_rope(file: GgufFile, kind: str, head_width: int) -> RopeSettings:
    """RoPE of all layers, or of those that see all tokens.

    Args:
        kind: the architecture, which keys begin with.

    Raises:
        ConfigError: naming the field that we cannot represent.
    """
    width, scaling = file.integer(f"{kind}.rope.dimension_count", head_width), _scaling(file, kind)
    values = {
        "max_position_embeddings": file.integer(f"{kind}.context_length"),
        "rope_theta": file.number(f"{kind}.rope.freq_base", 10000.0),
        "rope_scaling": scaling,
    }
    settings = read_rope(Fields(file.path.name, values), width)
    if _DIVISORS not in file.names():
        return settings
    if scaling:
        raise ConfigError(f"{file.path.name}: {_DIVISORS} beside {kind}.rope.scaling is not supported")
    return RopeSettings(settings.base, settings.width, tuple(_listed(file, _DIVISORS)))


def _scaling(file: GgufFile, kind: str) -> dict[str, Any]:
    """As `rope_scaling` of a config.json; empty for none."""
    prefix = f"{kind}.rope.scaling"
    attention = file.number(f"{prefix}.attn_factor", 1.0)
    original = file.integer(f"{prefix}.original_context_length", file.integer(f"{kind}.context_length"))
    if _SHORT in file.names() and _LONG in file.names():
        return {
            "rope_type": "longrope",
            "short_factor": _listed(file, _SHORT),
            "long_factor": _listed(file, _LONG),
            "attention_factor": attention,
            "original_max_position_embeddings": original,
        }
    stated = file.field(f"{prefix}.type", "linear")
    factor = file.number(f"{prefix}.factor", file.number(f"{kind}.rope.scale_linear", 0.0)) or 1.0
    if stated not in ("none", "linear", "yarn"):
        raise ConfigError(f"{file.path.name}: {prefix}.type is {stated!r}, expected none, linear or yarn")
    if stated == "yarn" and factor > 1.0:
        betas = {name: file.number(f"{prefix}.yarn_{name}", 0.0) for name in ("beta_fast", "beta_slow")}
        return {
            "rope_type": "yarn",
            "factor": factor,
            "original_max_position_embeddings": original,
            "attention_factor": attention * (1.0 + 0.1 * math.log(factor)),
            **betas,
        }
    if attention != 1.0:
        raise ConfigError(f"{file.path.name}: {prefix}.attn_factor is {attention:g} without YaRN or LongRoPE")
    return {} if stated == "none" or factor == 1.0 else {"rope_type": "linear", "factor": factor}


def _listed(file: GgufFile, name: str) -> list[float]:
    return [float(each) for each in file.read(name).flatten()]
