"""All families, and the weights of a folder of one of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.families.bert import BERT, DISTILBERT
from mpcinfer.models.families.family import Family
from mpcinfer.models.families.gemma import GEMMA, GEMMA2, GEMMA3
from mpcinfer.models.families.gpt2 import GPT2, OPT
from mpcinfer.models.families.llama import GRANITE, LLAMA, MISTRAL, PHI3, QWEN2, QWEN3, SMOLLM3
from mpcinfer.models.families.neox import GPT_NEOX, PHI, STARCODER2
from mpcinfer.models.families.roberta import ROBERTA, XLM_ROBERTA
from mpcinfer.models.fields import Fields
from mpcinfer.models.layout import Layout

FAMILIES = {
    family.model_type: family
    for family in (
        GPT2,
        OPT,
        LLAMA,
        MISTRAL,
        QWEN2,
        QWEN3,
        SMOLLM3,
        GRANITE,
        PHI3,
        GEMMA,
        GEMMA2,
        GEMMA3,
        GPT_NEOX,
        PHI,
        STARCODER2,
        BERT,
        DISTILBERT,
        ROBERTA,
        XLM_ROBERTA,
    )
}

_HEADS = ("lm_head", "embed_out")
"""Names of a head."""


def family_of(fields: Fields) -> Family:
    """The family that a `config.json` names.

    Raises:
        ConfigError: we have none of that name, or its weights are quantised.
    """
    family = FAMILIES.get(fields.text("model_type"))
    if family is None:
        raise fields.refuse("model_type", f"expected one of {', '.join(FAMILIES)}")
    for key in ("quantization_config", "compression_config"):
        if fields.values.get(key) is not None:
            raise fields.refuse(key, "only float weights can be read")
    return family


def located(family: Family, config: ModelConfig, layout: Layout, names: Collection[str]) -> Layout:
    """A layout with the names that a checkpoint has: of a model with or without its head, whose head goes by
    one name or another, and which may stand for a tied token table."""
    tokens = layout["embed.tokens"].names[0]
    head = next((each for each in _HEADS if f"{each}.weight" in names), _HEADS[0])
    bare = f"{tokens.removeprefix(family.prefix)}.weight" in names and f"{tokens}.weight" not in names
    result: Layout = {}
    for stem, source in layout.items():
        theirs = source.names
        row = source.plus_row
        if stem == "head":
            theirs = (head,) if config.head == "vocabulary" else theirs
        elif bare:
            theirs = tuple(each.removeprefix(family.prefix) for each in theirs)
            row = row.removeprefix(family.prefix)
        elif stem == "embed.tokens" and config.tied_head and f"{tokens}.weight" not in names:
            theirs = (head,)
        result[stem] = dataclasses.replace(source, names=theirs, plus_row=row)
    return result


def without_weights(family: Family, config: ModelConfig) -> str:
    """Pattern of stored masks and tables, of the head of a tied model, which is the token table again, and of
    a pooler where rows are pooled otherwise."""
    unread = family.stored
    unread += f"|({'|'.join(_HEADS)})\\.weight" if config.tied_head else ""
    return unread + (r"|(.*\.)?pooler\.dense\..*" if config.head == "embedding" else "")
