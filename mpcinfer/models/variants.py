"""The architectures that private inference compares, by their published names, as changes to one base shape.

A name says what is kept of a pre-norm decoder: SM the softmax, LN the norms of the blocks, G or R the FFN's
GELU or ReLU. Without G or R the FFN is linear. `SM+LN+G` is GPT-2; `SM+ScFuFFN` has attention as its only
nonlinearity. Source: Entropy-Guided Attention (arXiv 2501.03489), table 1, and AERO (arXiv 2410.13060) for
pruned FFNs; norms of other kinds: `norm_kinds`; attention kinds: Power-Softmax (arXiv 2410.09457),
MPCFormer's 2Quad (arXiv 2211.01452), ReLU attention (arXiv 2309.08586),
Gaussian kernels (EF-LLM, arXiv 2410.02486).

The final norm is the base's own: the papers' models without block norms keep one, and do not count it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.norm_kinds import ROW_NORMS
from parties.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A named change to a shape.

    Attributes:
        name: as published.
        description: one line.
        fields: of `ModelConfig`, replaced in the base.
    """

    name: str
    description: str
    fields: Mapping[str, Any]


_PLAIN: dict[str, Any] = {
    "block_norms": True,
    "norm_affine": True,
    "ffn": "mlp",
    "pruned_ffns": 0,
    "head_input": False,
    "temperature": "none",
    "scaled_ffn": False,
    "ffn_weights": "plain",
}
_BARE: dict[str, Any] = {**_PLAIN, "block_norms": False, "out_bias": False, "ffn_bias": False}
_LINEAR: dict[str, Any] = {**_BARE, "activation": "identity"}
_SCALED: dict[str, Any] = {**_LINEAR, "scaled_ffn": True}
_FUSED: dict[str, Any] = {**_SCALED, "ffn": "fused"}

_ARCHITECTURES = (
    Variant(name="SM+LN+G", description="softmax, layer norms, GELU: GPT-2", fields=_PLAIN),
    Variant(
        name="SM+LN+R", description="softmax, layer norms, ReLU", fields={**_PLAIN, "activation": "relu"}
    ),
    Variant(
        name="SM+LN",
        description="softmax and layer norms; the FFN is linear",
        fields={**_PLAIN, "activation": "identity"},
    ),
    Variant(
        name="SM+DyT+G",
        description="every norm is gain tanh(a x) + bias, a learned number a norm",
        fields={**_PLAIN, "norm": "dyt"},
    ),
    Variant(
        name="SM+Derf+G",
        description="every norm is gain erf(a x + s) + bias, two learned numbers a norm",
        fields={**_PLAIN, "norm": "derf"},
    ),
    Variant(
        name="SM+LinLN+G",
        description="every norm is gain x + bias, which folds away",
        fields={**_PLAIN, "norm": "linear"},
    ),
    Variant(name="SM+G", description="softmax and GELU, no norms in the blocks", fields=_BARE),
    Variant(
        name="SM+R",
        description="softmax and ReLU, no norms in the blocks",
        fields={**_BARE, "activation": "relu"},
    ),
    Variant(name="SM", description="softmax alone; the FFN is linear", fields=_LINEAR),
    Variant(
        name="SM+WNorm",
        description="SM with weight-normalised FFN matrices",
        fields={**_LINEAR, "ffn_weights": "weight_norm"},
    ),
    Variant(
        name="SM+SNorm",
        description="SM with FFN matrices over their spectral norm",
        fields={**_LINEAR, "ffn_weights": "spectral_norm"},
    ),
    Variant(name="SM+ScFFN", description="SM, x and FFN(x) added with learned scales", fields=_SCALED),
    Variant(name="SM+ScFuFFN", description="the same with a single matrix as FFN", fields=_FUSED),
    Variant(
        name="SM(t)+ScFuFFN",
        description="the same with a learned softmax temperature a head",
        fields={**_FUSED, "temperature": "head"},
    ),
    Variant(
        name="SM(t_i)+ScFuFFN",
        description="with a temperature a head and position, which does not fold",
        fields={**_FUSED, "temperature": "position"},
    ),
    Variant(
        name="EReg(SM(t)+ScFuFFN)",
        description="the shape of SM(t)+ScFuFFN, trained with entropy regularisation",
        fields={**_FUSED, "temperature": "head"},
    ),
)

_POWERS = tuple(
    Variant(
        name=f"power{power}",
        description=f"attention by scores to the power {power}, with a learned offset a head",
        fields={"attention": "power", "power": power, "attention_shift": 0.0, "attention_offset": True},
    )
    for power in (2, 4, 6, 8)
)
_ATTENTIONS = (
    *_POWERS,
    Variant(
        name="poly",
        description="power4 with an epsilon of 0.1: for plans of additions and products alone",
        fields={
            "attention": "power",
            "power": 4,
            "attention_epsilon": 0.1,
            "attention_shift": 0.0,
            "attention_offset": True,
        },
    ),
    Variant(
        name="2quad",
        description="attention by (score + 5)^2",
        fields={"attention": "power", "power": 2, "attention_shift": 5.0, "attention_offset": False},
    ),
    Variant(
        name="relu",
        description="attention by max(score, 0) over the number of keys",
        fields={"attention": "relu", "attention_shift": 0.0, "attention_offset": False},
    ),
    Variant(
        name="gaussian",
        description="attention by exp(-|q - k|^2 / (2 sqrt(K))), without a sum",
        fields={"attention": "gaussian", "attention_shift": 0.0, "attention_offset": False},
    ),
)
_SOFTMAX: dict[str, Any] = {
    "attention": "softmax",
    "attention_shift": 0.0,
    "attention_offset": False,
    "attention_scaled": False,
}


def variants() -> list[Variant]:
    """Everything that `variant` knows: architectures, then kinds of attention."""
    return [*_ARCHITECTURES, *_ATTENTIONS]


def variant(name: str, base: ModelConfig) -> ModelConfig:
    """A base's sizes in the form of a named variant.

    Args:
        name: of `variants()`, in any case, and with anything for its signs: ``SM+ScFuFFN``, ``sm-scfuffn``.
            ``_i{k}`` at its end prunes the k deepest FFNs. A kind of attention may stand before an
            architecture (``power4+SM+ScFuFFN``), and is that of SM+LN+G alone. ``EReg(...)`` around any
            architecture is the same shape: regularisation is a matter of training.
        base: sizes, positions, final norm and kind of norm; without block norms the biases of attention's
            output and of FFNs go, as in the papers.

    Raises:
        ConfigError: no such variant (the known ones are listed), or more FFNs pruned than there are.
    """
    rest, pruned = _spelled(name), 0
    if (match := re.search(r"-i(\d+)$", rest)) is not None:
        rest, pruned = rest[: match.start()], int(match[1])
    attention = next((v for v in _ATTENTIONS if f"{rest}-".startswith(f"{_spelled(v.name)}-")), None)
    if attention is not None:
        rest = rest.removeprefix(_spelled(attention.name)).removeprefix("-") or "sm-ln-g"
    rest = rest.replace("-relu", "-r").replace("-gelu", "-g")
    known = {_spelled(entry.name): entry for entry in _ARCHITECTURES}
    architecture = known.get(rest) or known.get(rest.removeprefix("ereg-"))
    if architecture is None:
        names = ", ".join(entry.name for entry in variants())
        raise ConfigError(f"no variant {name!r}; known, each with _i1, _i2, ... at its end: {names}")
    fields = {**_SOFTMAX, **(attention.fields if attention else {}), **architecture.fields}
    if "norm" not in fields and base.norm not in ROW_NORMS:
        fields["norm"] = "layernorm"
    if "activation" not in fields:
        gelu = base.activation if base.activation in ("gelu", "gelu_tanh") else "gelu_tanh"
        fields["activation"] = gelu
    return dataclasses.replace(base, **{**fields, "pruned_ffns": pruned})


def _spelled(name: str) -> str:
    """One spelling for all: letters and digits in lower case, a dash between."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
