"""The model card of a model that `mpcinfer train` made."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from mpcinfer.entropy.penalty import EntropyPenalty
from mpcinfer.models.config import ModelConfig
from mpcinfer.training.observer import perplexity
from mpcinfer.training.protected_data import ProtectedDataLoss
from mpcinfer.training.range_penalty import RangePenalty
from mpcinfer.training.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecord:
    """What a model card tells of a run.

    Attributes:
        source: in words, what the data is.
        split_digest: names the documents and their sides.
        train_files, held_out_files: documents on either side.
        train_tokens, held_out_tokens: tokens on either side.
        step: steps done.
        diverged_at: the step whose loss or gradient was not finite, which ended the run; None for none.
        train_loss: mean over the last steps, nats a token; None before the first.
        held_out_loss: nats a token; None before it was first measured.
        held_out_characters: characters a token on the held-out side.
        penalty, ranges, protection: what was added to the loss.
        start_from: the name of the model that the first weights came from; None for weights of its own.
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
    penalty: EntropyPenalty | None = None
    ranges: RangePenalty | None = None
    protection: ProtectedDataLoss | None = None
    start_from: str | None = None
    diverged_at: int | None = None


def model_card(name: str, config: ModelConfig, recipe: Recipe, record: TrainingRecord) -> str:
    """The card in Markdown: what the model is, what it learnt from, how well, and what it is not for."""
    seen = record.step * recipe.batch * config.context
    status = "finished" if record.step == recipe.steps else f"stopped at step {record.step:,}"
    if record.diverged_at is not None:
        status = f"diverged at step {record.diverged_at:,}; the weights are those of the step before"
    return f"""# {name}

A decoder-only language model for private-inference experiments, trained by `mpcinfer train`.

| | |
| --- | --- |
| parameters | {config.parameters:,} |
| shape | {config.layers} layers, width {config.width}, {config.heads} heads, FFN {config.hidden}, \
context {config.context} |
| parts | {config.norm}, {config.activation}, {config.ffn}, {config.attention} attention, \
{config.positions} positions, {"tied" if config.tied_head else "untied"} head |
| settings | {_settings(config)} |
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

AdamW (betas {recipe.beta1:g}, {recipe.beta2:g}; weight decay {recipe.weight_decay:g} on matrices), \
peak rate {recipe.learning_rate:g}, {recipe.warmup} steps of warm-up, \
{_fall(recipe)}, {_wrappers(recipe)}gradient norm clipped at {recipe.clip:g}, \
products in {recipe.precision}, seed {recipe.seed}.
{_additions(record)}
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


_SIZES = ("layers", "width", "heads", "kv_heads", "head_width", "hidden", "vocabulary", "context")


def _settings(config: ModelConfig) -> str:
    """The fields of a shape, sizes aside, that are not as by default."""
    fields = [field for field in dataclasses.fields(config) if field.name not in _SIZES]
    changed = [f for f in fields if getattr(config, f.name) != f.default]
    return ", ".join(f"{f.name} = {getattr(config, f.name)}" for f in changed) or "the defaults"


def _fall(recipe: Recipe) -> str:
    if recipe.schedule == "constant":
        return "then constant"
    floor = f" to {recipe.floor:.0%} of it" if recipe.floor else ""
    return f"{recipe.schedule} decay over the last {recipe.decay:.0%} of the steps{floor}"


def _wrappers(recipe: Recipe) -> str:
    """What was done to AdamW's steps."""
    names = {"reject": "steps against the gradient rejected, ", "random": "gradients lengthened at random, "}
    controlled = "rate controlled by RDBD, " if recipe.rate_control == "rdbd" else ""
    return names.get(recipe.accelerate, "") + controlled


def _additions(record: TrainingRecord) -> str:
    """Paragraphs on where the weights came from and on what was added to the loss."""
    lines: list[str] = []
    if record.start_from is not None:
        lines.append(f"The first weights are those of `{record.start_from}`, where name and shape agree.")
    penalties = {"entropy": record.penalty, "ranges": record.ranges, "protected data": record.protection}
    for name, penalty in penalties.items():
        if penalty is not None:
            fields = dataclasses.asdict(penalty).items()
            lines.append(f"Penalty on {name}: {', '.join(f'{field} = {value}' for field, value in fields)}.")
    return "".join(f"\n{line}\n" for line in lines)


def _figures(loss: float | None, characters: float | None) -> str:
    if loss is None:
        return "not measured | | "
    bits = "" if characters is None else f"{loss / math.log(2) / characters:.2f}"
    return f"{loss:.3f} | {perplexity(loss):.1f} | {bits}"
