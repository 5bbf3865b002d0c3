"""RoBERTa and XLM-RoBERTa: BERT's blocks, positions that begin after the padding's, and one type of tokens.

A text that spells the padding token is read like any other: `transformers` gives that token, and those after
it, other positions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch

from mpcinfer.models.config import ModelConfig
from mpcinfer.models.families.bert import BERT, BERT_PARTS, POSITIONS, TYPES, bert_config, encoder_layout
from mpcinfer.models.families.family import Family
from mpcinfer.models.fields import Fields
from mpcinfer.models.layout import Layout, Source


def _first_position(fields: Fields) -> int:
    """The row of the position table that the first token has."""
    padding, rows = fields.integer("pad_token_id"), fields.integer("max_position_embeddings")
    if not 0 <= padding < rows - 1:
        raise fields.refuse("pad_token_id", f"expected one of {rows} positions, and some after it")
    return padding + 1


def _config(fields: Fields) -> ModelConfig:
    config = bert_config(fields)
    return dataclasses.replace(config, context=config.context - _first_position(fields))


def _layout(fields: Fields, config: ModelConfig) -> Layout:
    return {
        **encoder_layout(config, "roberta.", "encoder.layer.{}.", BERT_PARTS),
        "embed.positions": Source(
            (f"roberta.{POSITIONS}",),
            False,
            change=_from(_first_position(fields)),
            plus_row=f"roberta.{TYPES}",
        ),
        "head.pooler": Source(("classifier.dense",), True),
        "head": Source(("classifier.out_proj",), True),
    }


def _from(first: int) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda table: table[first:]


ROBERTA = Family(
    model_type="roberta",
    config=_config,
    layout=_layout,
    prefix="roberta.",
    sizes=BERT.sizes,
    defaults={"hidden_act": "gelu", "layer_norm_eps": 1e-12, "pad_token_id": 1},
    only=BERT.only,
    meaningless=BERT.meaningless | {"type_vocab_size"},
    stored=rf"{BERT.stored}|lm_head\..*",
    classifier=BERT.classifier,
)
XLM_ROBERTA = dataclasses.replace(ROBERTA, model_type="xlm-roberta")
