"""The options of `mpcinfer train`, group by group; each class is a panel of its help.

A key is the name of an option, and of a key in `--config`; one that was not given is absent.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypedDict

from typer import Argument, Option

from mpcinfer.entropy.choices import Gate, Normalise, Reduction, Thresholds
from mpcinfer.training.recipe import DEFAULT_STEPS, Accelerate, OnDivergence, Precision, RateControl
from mpcinfer.training.schedule import Schedule


class GeneralOptions(TypedDict, total=False):
    """What to train on, where to, and how to watch it."""

    out: Annotated[Path, Argument(help="Folder of the model; its last part is the model's name.")]
    config: Annotated[
        Path, Option(help="A TOML file; each key is an option of the same name. The command line wins.")
    ]
    data: Annotated[
        str,
        Option(
            help="'python' (this machine's standard library and packages), a file or folder of text, or the "
            "folder of another run, whose tokens to use.",
            show_default="python",
        ),
    ]
    start_from: Annotated[
        str,
        Option(
            "--from",
            help="A model or another run's training/checkpoint.pt: weights of the same name and shape are "
            "taken over, others begun anew.",
        ),
    ]
    every: Annotated[
        int, Option(min=1, help="Steps between checkpoints, exports and samples.", show_default="500")
    ]
    entropy_every: Annotated[
        int,
        Option(min=0, help="Steps between looks at the heads' entropies; 0 for none.", show_default="500"),
    ]
    held_out_windows: Annotated[
        int, Option(min=1, help="Windows of an evaluation; the last reads all.", show_default="64")
    ]
    sample: Annotated[str, Option(help="What the sample of an evaluation continues.")]
    workers: Annotated[
        int, Option(min=1, help="Processor cores, each with a part of the batch.", show_default="1")
    ]
    device: Annotated[str, Option(help="Where to compute, in torch's words: cpu, cuda.", show_default="cpu")]
    resume: Annotated[bool, Option("--resume", help="Go on with the run in OUT.")]


class ShapeOptions(TypedDict, total=False):
    """The model: sizes first, then the variant, then single fields."""

    variant: Annotated[str, Option(help="A published architecture: SM+LN+G, SM+ScFuFFN, power4, ...")]
    layers: Annotated[int, Option(min=1, help="Blocks.", show_default="3")]
    width: Annotated[int, Option(min=1, help="Residual width.", show_default="256")]
    heads: Annotated[int, Option(min=1, help="Attention heads; divides the width.", show_default="4")]
    hidden: Annotated[int, Option(min=1, help="FFN width.", show_default="4 times the width")]
    vocabulary: Annotated[int, Option(min=257, help="Tokens of the tokenizer.", show_default="2048")]
    context: Annotated[int, Option(min=2, help="Longest sequence in tokens.", show_default="256")]
    shape: Annotated[list[str], Option(help="FIELD=VALUE of the model's configuration; repeatable.")]


class RecipeOptions(TypedDict, total=False):
    """How to train; see `mpcinfer.training.recipe.Recipe`."""

    steps: Annotated[int, Option(min=1, help="Length of the run.", show_default=str(DEFAULT_STEPS))]
    minutes: Annotated[float, Option(min=0.01, help="Measure the speed and choose --steps to fit this time.")]
    batch: Annotated[int, Option(min=1, help="Windows of --context tokens a step.", show_default="8")]
    accumulate: Annotated[
        int,
        Option(min=1, help="Micro-batches that a step is computed in, to save memory.", show_default="1"),
    ]
    lr: Annotated[float, Option(help="Peak learning rate.", show_default="0.002")]
    warmup: Annotated[
        int, Option(min=0, help="Steps of warm-up.", show_default="a tenth of the steps, at most 200")
    ]
    schedule: Annotated[Schedule, Option(help="How the rate falls.", show_default="linear")]
    decay: Annotated[
        float,
        Option(min=0, max=1, help="Last fraction of the steps, with falling rate.", show_default="0.4"),
    ]
    floor: Annotated[
        float,
        Option(min=0, max=1, help="The rate at the end, as a fraction of the peak.", show_default="0"),
    ]
    weight_decay: Annotated[float, Option(min=0, help="On matrices.", show_default="0.1")]
    beta1: Annotated[float, Option(help="Of AdamW.", show_default="0.9")]
    beta2: Annotated[float, Option(help="Of AdamW.", show_default="0.95")]
    adam_epsilon: Annotated[float, Option(help="Of AdamW.", show_default="1e-8")]
    clip: Annotated[float, Option(help="Largest norm of the gradient; inf for any.", show_default="1")]
    seed: Annotated[int, Option(min=0, help="Of weights and data order.", show_default="0")]
    precision: Annotated[Precision, Option(help="Of matrix products.", show_default="bfloat16")]
    first_temperature: Annotated[
        float, Option(help="Learned temperatures to begin with.", show_default="0.01")
    ]
    first_alpha: Annotated[float, Option(help="FFN scales (divisors) to begin with.", show_default="1")]
    first_beta: Annotated[float, Option(help="Residual scales to begin with.", show_default="1")]
    first_offset: Annotated[float, Option(help="Offsets of power attention to begin with.", show_default="1")]
    first_embedding: Annotated[
        float, Option(help="Standard deviation of token tables to begin with.", show_default="0.02")
    ]
    first_positions: Annotated[
        float, Option(help="Standard deviation of position tables to begin with.", show_default="0.02")
    ]
    first_matrix: Annotated[
        float,
        Option(
            help="Standard deviation of other matrices to begin with; 0.02 is for widths near 2,500, narrow "
            "models learn faster from 1 / sqrt(width).",
            show_default="0.02",
        ),
    ]
    first_norm_factor: Annotated[
        float, Option(help="What DyT and Derf multiply the residual with to begin with.", show_default="0.5")
    ]
    on_divergence: Annotated[
        OnDivergence,
        Option(
            help="A loss that is not finite is an error, or ends the run and is logged.",
            show_default="refuse",
        ),
    ]
    accelerate: Annotated[
        Accelerate,
        Option(
            help="reject: drop AdamW's steps that point against the gradient, for rates that are nearly too "
            "high. random: lengthen gradients along random vectors; no gain is known.",
            show_default="none",
        ),
    ]
    rate_control: Annotated[
        RateControl,
        Option(
            help="rdbd: multiply the rate by a factor that grows while gradients agree and takes back what "
            "was wrong, for runs without a sweep of --lr.",
            show_default="none",
        ),
    ]


class EntropyOptions(TypedDict, total=False):
    """The penalty on heads' entropies; see `mpcinfer.entropy.penalty.EntropyPenalty`."""

    entropy_strength: Annotated[
        float,
        Option(min=0, help="Lambda. Any of these options switches the penalty on.", show_default="1e-5"),
    ]
    entropy_reduction: Annotated[
        Reduction, Option(help="Of squares over windows and rows.", show_default="sum")
    ]
    entropy_normalise: Annotated[
        Normalise, Option(help="What the largest entropy is.", show_default="log_length")
    ]
    entropy_gate: Annotated[Gate, Option(help="Of deviations beyond the tolerance.", show_default="hard")]
    entropy_thresholds: Annotated[Thresholds, Option(help="What thresholds are.", show_default="learned")]
    entropy_threshold: Annotated[
        float, Option(help="Thresholds to begin with, as a fraction.", show_default="0.5")
    ]
    entropy_momentum: Annotated[float, Option(help="Of detached thresholds.", show_default="0.99")]
    entropy_tolerance: Annotated[float, Option(min=0, help="Gamma, as a fraction.", show_default="0.2")]


class RangeOptions(TypedDict, total=False):
    """The penalty on ranges; see `mpcinfer.training.range_penalty.RangePenalty`."""

    range_strength: Annotated[
        float, Option(min=0, help="Lambda; with one or more of the bounds.", show_default="0.3")
    ]
    range_scores: Annotated[float, Option(min=0, help="Largest magnitude of scores that costs nothing.")]
    range_variance: Annotated[float, Option(min=0, help="Largest variance before a norm that costs nothing.")]
    range_activations: Annotated[
        float, Option(min=0, help="Largest magnitude before an activation that costs nothing.")
    ]


class ProtectOptions(TypedDict, total=False):
    """The loss on protected data; see `mpcinfer.training.protected_data.ProtectedDataLoss`."""

    protect: Annotated[
        str,
        Option(
            help="A file or folder of text that the model shall not learn by heart. Every copy in the data "
            "of 16 tokens in a row of it is held near the root of gamma, in nats a token.",
        ),
    ]
    protect_gamma: Annotated[
        float, Option(help="Gamma: 1 holds protected text near 1 nat, 4 near 2.", show_default="1")
    ]
    protect_floor: Annotated[
        float,
        Option(
            help="Fraction of the root of gamma below which the pull no longer grows.", show_default="0.25"
        ),
    ]
    protect_warmup: Annotated[int, Option(min=0, help="Steps before the term begins.", show_default="0")]


class TrainOptions(
    GeneralOptions, ShapeOptions, RecipeOptions, EntropyOptions, RangeOptions, ProtectOptions, total=False
):
    """All of them."""


PANELS: dict[str | None, type] = {
    None: GeneralOptions,
    "Shape": ShapeOptions,
    "Recipe": RecipeOptions,
    "Entropy penalty": EntropyOptions,
    "Range penalty": RangeOptions,
    "Protected data": ProtectOptions,
}
"""By title, in the order of the help."""
