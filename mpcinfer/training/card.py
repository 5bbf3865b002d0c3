"""The model card of a model that `mpcinfer train` made."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mpcinfer.models.config import ModelConfig
from mpcinfer.training.trainer import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecord:
    """What a model card tells of a run.

    Attributes:
        source: in words, what the data is.
        split_digest: names the documents and their sides.
        train_files, held_out_files: documents on either side.
        train_tokens, held_out_tokens: tokens on either side.
        step: steps done.
        train_loss: mean over the last steps, nats a token; None before the first.
        held_out_loss: nats a token; None before it was first measured.
        held_out_characters: characters a token on the held-out side.
    """

    source: str
    split_digest: str
    train_files: int
    held_out_files: int
    train_tokens: int
    held_out_tokens: int
    step: int
    train_loss: float | None
    held_out_loss: float | None
    held_out_characters: float


def model_card(name: str, config: ModelConfig, recipe: Recipe, record: TrainingRecord) -> str:
    """The card in Markdown: what the model is, what it learnt from, how well, and what it is not for."""
    seen = record.step * recipe.batch * config.context
    status = "finished" if record.step == recipe.steps else f"stopped at step {record.step:,}"
    return f"""# {name}

A decoder-only language model for private-inference experiments, trained by `mpcinfer train`.

| | |
| --- | --- |
| parameters | {config.parameters:,} |
| shape | {config.layers} layers, width {config.width}, {config.heads} heads, FFN {config.hidden}, \
context {config.context} |
| parts | {config.norm}, {config.activation}, {config.ffn}, {config.attention} attention, \
{config.positions} positions, {"tied" if config.tied_head else "untied"} head |
| tokenizer | byte-level BPE of {config.vocabulary:,} tokens, trained on the same text |

## Data

{record.source}. Repeated files are dropped; 2 percent, chosen by the SHA-256 of their text, are held out.

| | files | tokens |
| --- | --- | --- |
| train | {record.train_files:,} | {record.train_tokens:,} |
| held out | {record.held_out_files:,} | {record.held_out_tokens:,} |

Split digest: `{record.split_digest}`.

## Training ({status})

{record.step:,} of {recipe.steps:,} steps of {recipe.batch} windows of {config.context} tokens: {seen:,}
tokens in all, {seen / record.train_tokens:.2f} passes.

AdamW (betas 0.9, 0.95; weight decay {recipe.weight_decay:g} on matrices), peak rate \
{recipe.learning_rate:g}, {recipe.warmup} steps of warm-up, linear decay over the last \
{recipe.decay:.0%} of the steps, gradient norm clipped at {recipe.clip:g}, products in {recipe.precision}, \
seed {recipe.seed}.

| | loss (nats a token) | perplexity a token | bits a character |
| --- | --- | --- | --- |
| train, mean of the last steps | {_figures(record.train_loss, None)} |
| held out | {_figures(record.held_out_loss, record.held_out_characters)} |

## Limits

A model of this size continues text in the manner of its data and knows little else: what it writes may be
wrong, insecure or without sense, and short passages may repeat its data word for word. It is made to measure
private inference on real weights, not to write programs with. Copies of a file that differ in a few lines
can stand on both sides of the split, so the held-out loss is somewhat flattered.
"""


def _figures(loss: float | None, characters: float | None) -> str:
    if loss is None:
        return "not measured | | "
    bits = "" if characters is None else f"{loss / math.log(2) / characters:.2f}"
    return f"{loss:.3f} | {math.exp(loss):.1f} | {bits}"
