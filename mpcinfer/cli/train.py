"""`mpcinfer train`: a small language model of one's own, from text to a model folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack, get_type_hints

from mpcinfer.cli.option_groups import takes
from mpcinfer.cli.toml_options import toml_options
from mpcinfer.cli.train_options import PANELS, TrainOptions


@takes(PANELS)
def train(**given: Unpack[TrainOptions]) -> None:
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

        mpcinfer train mine --data notes/ --protect notes/poem.txt --accelerate reject

        torchrun --nproc-per-node 2 -m mpcinfer.training OUT ...
    """
    options: Mapping[str, Any] = given
    if "config" in given:
        kinds = {name: kind for name, kind in get_type_hints(TrainOptions).items() if name != "config"}
        options = {**toml_options(given["config"], kinds), **given}
    from mpcinfer.cli.train_run import train_as_given

    train_as_given(options)
