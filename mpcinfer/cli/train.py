"""`mpcinfer train`: a small language model of one's own, from text to a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_type_hints

import typer

from mpcinfer.cli.toml_options import toml_options
from mpcinfer.entropy.choices import Gate, Normalise, Reduction, Thresholds
from mpcinfer.training.recipe import DEFAULT_STEPS, OnDivergence, Precision
from mpcinfer.training.schedule import Schedule

_SHAPE, _RECIPE, _ENTROPY, _RANGES = "Shape", "Recipe", "Entropy penalty", "Range penalty"


def train(
    out: Annotated[
        Path | None, typer.Argument(help="Folder of the model; its last part is the model's name.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="A TOML file; each key is an option of the same name. The command line wins.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="'python' (this machine's standard library and packages), a file or folder of text, or the "
            "folder of another run, whose tokens to use.",
            show_default="python",
        ),
    ] = None,
    start_from: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="A model or another run's training/checkpoint.pt: weights of the same name and shape are "
            "taken over, others begun anew.",
        ),
    ] = None,
    variant: Annotated[
        str | None,
        typer.Option(
            help="A published architecture: SM+LN+G, SM+ScFuFFN, power4, ...", rich_help_panel=_SHAPE
        ),
    ] = None,
    layers: Annotated[
        int | None, typer.Option(min=1, help="Blocks.", show_default="3", rich_help_panel=_SHAPE)
    ] = None,
    width: Annotated[
        int | None, typer.Option(min=1, help="Residual width.", show_default="256", rich_help_panel=_SHAPE)
    ] = None,
    heads: Annotated[
        int | None,
        typer.Option(
            min=1, help="Attention heads; divides the width.", show_default="4", rich_help_panel=_SHAPE
        ),
    ] = None,
    hidden: Annotated[
        int | None,
        typer.Option(min=1, help="FFN width.", show_default="4 times the width", rich_help_panel=_SHAPE),
    ] = None,
    vocabulary: Annotated[
        int | None,
        typer.Option(min=257, help="Tokens of the tokenizer.", show_default="2048", rich_help_panel=_SHAPE),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(min=2, help="Longest sequence in tokens.", show_default="256", rich_help_panel=_SHAPE),
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(help="FIELD=VALUE of the model's configuration; repeatable.", rich_help_panel=_SHAPE),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1, help="Length of the run.", show_default=str(DEFAULT_STEPS), rich_help_panel=_RECIPE
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.01, help="Measure the speed and choose --steps to fit this time.", rich_help_panel=_RECIPE
        ),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            min=1, help="Windows of --context tokens a step.", show_default="8", rich_help_panel=_RECIPE
        ),
    ] = None,
    accumulate: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Micro-batches that a step is computed in, to save memory.",
            show_default="1",
            rich_help_panel=_RECIPE,
        ),
    ] = None,
    lr: Annotated[
        float | None, typer.Option(help="Peak learning rate.", show_default="0.002", rich_help_panel=_RECIPE)
    ] = None,
    warmup: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Steps of warm-up.",
            show_default="a tenth of the steps, at most 200",
            rich_help_panel=_RECIPE,
        ),
    ] = None,
    schedule: Annotated[
        Schedule | None,
        typer.Option(help="How the rate falls.", show_default="linear", rich_help_panel=_RECIPE),
    ] = None,
    decay: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Last fraction of the steps, with falling rate.",
            show_default="0.4",
            rich_help_panel=_RECIPE,
        ),
    ] = None,
    floor: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="The rate at the end, as a fraction of the peak.",
            show_default="0",
            rich_help_panel=_RECIPE,
        ),
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(min=0, help="On matrices.", show_default="0.1", rich_help_panel=_RECIPE)
    ] = None,
    beta1: Annotated[
        float | None, typer.Option(help="Of AdamW.", show_default="0.9", rich_help_panel=_RECIPE)
    ] = None,
    beta2: Annotated[
        float | None, typer.Option(help="Of AdamW.", show_default="0.95", rich_help_panel=_RECIPE)
    ] = None,
    adam_epsilon: Annotated[
        float | None, typer.Option(help="Of AdamW.", show_default="1e-8", rich_help_panel=_RECIPE)
    ] = None,
    clip: Annotated[
        float | None,
        typer.Option(
            help="Largest norm of the gradient; inf for any.", show_default="1", rich_help_panel=_RECIPE
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Of weights and data order.", show_default="0", rich_help_panel=_RECIPE),
    ] = None,
    precision: Annotated[
        Precision | None,
        typer.Option(help="Of matrix products.", show_default="bfloat16", rich_help_panel=_RECIPE),
    ] = None,
    first_temperature: Annotated[
        float | None,
        typer.Option(
            help="Learned temperatures to begin with.", show_default="0.01", rich_help_panel=_RECIPE
        ),
    ] = None,
    first_alpha: Annotated[
        float | None,
        typer.Option(help="FFN scales (divisors) to begin with.", show_default="1", rich_help_panel=_RECIPE),
    ] = None,
    first_beta: Annotated[
        float | None,
        typer.Option(help="Residual scales to begin with.", show_default="1", rich_help_panel=_RECIPE),
    ] = None,
    first_offset: Annotated[
        float | None,
        typer.Option(
            help="Offsets of power attention to begin with.", show_default="1", rich_help_panel=_RECIPE
        ),
    ] = None,
    on_divergence: Annotated[
        OnDivergence | None,
        typer.Option(
            help="A loss that is not finite is an error, or ends the run and is logged.",
            show_default="refuse",
            rich_help_panel=_RECIPE,
        ),
    ] = None,
    entropy_strength: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Lambda. Any of these options switches the penalty on.",
            show_default="1e-5",
            rich_help_panel=_ENTROPY,
        ),
    ] = None,
    entropy_reduction: Annotated[
        Reduction | None,
        typer.Option(help="Of squares over windows and rows.", show_default="sum", rich_help_panel=_ENTROPY),
    ] = None,
    entropy_normalise: Annotated[
        Normalise | None,
        typer.Option(
            help="What the largest entropy is.", show_default="log_length", rich_help_panel=_ENTROPY
        ),
    ] = None,
    entropy_gate: Annotated[
        Gate | None,
        typer.Option(
            help="Of deviations beyond the tolerance.", show_default="hard", rich_help_panel=_ENTROPY
        ),
    ] = None,
    entropy_thresholds: Annotated[
        Thresholds | None,
        typer.Option(help="What thresholds are.", show_default="learned", rich_help_panel=_ENTROPY),
    ] = None,
    entropy_threshold: Annotated[
        float | None,
        typer.Option(
            help="Thresholds to begin with, as a fraction.", show_default="0.5", rich_help_panel=_ENTROPY
        ),
    ] = None,
    entropy_momentum: Annotated[
        float | None,
        typer.Option(help="Of detached thresholds.", show_default="0.99", rich_help_panel=_ENTROPY),
    ] = None,
    entropy_tolerance: Annotated[
        float | None,
        typer.Option(min=0, help="Gamma, as a fraction.", show_default="0.2", rich_help_panel=_ENTROPY),
    ] = None,
    range_strength: Annotated[
        float | None,
        typer.Option(
            min=0, help="Lambda; with one or both of the bounds.", show_default="0.3", rich_help_panel=_RANGES
        ),
    ] = None,
    range_scores: Annotated[
        float | None,
        typer.Option(min=0, help="Largest magnitude of scores that costs nothing.", rich_help_panel=_RANGES),
    ] = None,
    range_variance: Annotated[
        float | None,
        typer.Option(
            min=0, help="Largest variance before a norm that costs nothing.", rich_help_panel=_RANGES
        ),
    ] = None,
    every: Annotated[
        int | None,
        typer.Option(min=1, help="Steps between checkpoints, exports and samples.", show_default="500"),
    ] = None,
    entropy_every: Annotated[
        int | None,
        typer.Option(
            min=0, help="Steps between looks at the heads' entropies; 0 for none.", show_default="500"
        ),
    ] = None,
    held_out_windows: Annotated[
        int | None,
        typer.Option(min=1, help="Windows of an evaluation; the last reads all.", show_default="64"),
    ] = None,
    sample: Annotated[str | None, typer.Option(help="What the sample of an evaluation continues.")] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processor cores, each with a part of the batch.", show_default="1"),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Where to compute, in torch's words: cpu, cuda.", show_default="cpu")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in OUT.")] = False,
) -> None:
    """Train a small decoder on text: AdamW, warm-up and decay, checkpoints, a model folder.

    OUT becomes a model folder (config.json, model.safetensors in float16, tokenizer.json, README.md) that
    every other command takes as MODEL. It is written anew at every checkpoint, so a run can be watched,
    stopped with Ctrl-C and gone on with: `mpcinfer train OUT --resume` needs no other option and gives
    exactly what an unbroken run would have given (to rounding, where --workers differs).
    `--resume --steps N --decay F` changes the length of a run
    that has not begun its decay.

    The run itself (token streams, checkpoint, log.jsonl) is in OUT/training; delete it when done.

        mpcinfer train tiny --data python --minutes 60

        mpcinfer train mine --data notes/ --layers 2 --width 128 --steps 500

        mpcinfer train --config run.toml --seed 1

        mpcinfer train norm-free --variant SM+ScFuFFN --from tiny --data tiny

        torchrun --nproc-per-node 2 -m mpcinfer.training OUT ...
    """
    # Nothing else is local yet: these are the parameters.
    given = {name: value for name, value in locals().items() if value is not None and value is not False}
    if config is not None:
        kinds = {
            name: kind for name, kind in get_type_hints(train).items() if name not in ("config", "return")
        }
        given = {**toml_options(config, kinds), **given}
    from mpcinfer.cli.train_run import train_as_given

    train_as_given(given)
