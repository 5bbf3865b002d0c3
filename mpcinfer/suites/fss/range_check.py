"""Whether every value stayed in its range: a pass is evaluated twice, the second time in wider rings.

A value beyond its range wraps around, and in another ring it becomes another number. So two evaluations, each
with its own masks, agree to within what rounding explains, or something left its range. The client alone gets
both logits, and compares them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext

import torch

from mpcinfer.models.bounds import rounding_of_logits
from parties.errors import RangeError
from parties.meter import Meter
from protocols.fss.preprocessing.matrix import Matrix

CHECK = "check"
"""Prefix of the second evaluation's labels and of its weights' names."""
AGREED = ", --check-ranges"
"""Added to what both parties must agree on, where ranges are checked."""
CHECKED = f"ranges were checked: every pass ran twice, the second time under labels that begin with {CHECK!r}"
"""A note on the bill."""
_PREFIX = f"{CHECK}."


def plain_name(name: str) -> str:
    """A label or a weight's name, whichever evaluation it is of."""
    return name.removeprefix(_PREFIX)


def checked_names(names: Collection[str]) -> list[str]:
    """Those of a second evaluation."""
    return [name for name in names if name.startswith(_PREFIX)]


def for_check(weights: Mapping[str, Matrix]) -> dict[str, Matrix]:
    """Weights under names of the second evaluation: their masks are others."""
    names = {name: f"{_PREFIX}{name}" for name in weights}
    return {names[name]: dataclasses.replace(each, name=names[name]) for name, each in weights.items()}


def of_check(weights: Mapping[str, Matrix]) -> dict[str, Matrix]:
    """The second evaluation's weights under their usual names."""
    return {plain_name(name): each for name, each in weights.items() if name.startswith(_PREFIX)}


def evaluation_span(meter: Meter, name: str) -> AbstractContextManager[object]:
    """What charges a weight's costs to its evaluation: nothing, for the first."""
    return meter.span(CHECK) if name.startswith(_PREFIX) else nullcontext()


def require_agreement(first: torch.Tensor, second: torch.Tensor, ranges: Mapping[str, float]) -> None:
    """Whether two evaluations gave the same logits [rows, V], rounding aside.

    Raises:
        RangeError: some value left its range in one of them; the logits say nothing.
    """
    apart, allowed = float((first - second).abs().max()), rounding_of_logits(ranges)
    if apart <= allowed:
        return
    raise RangeError(
        f"a value left its calibrated range, so this answer would be wrong: evaluated again in wider rings, "
        f"logits are {apart:.3g} apart, and rounding explains {allowed:.3g}. Let the server calibrate the "
        "model on prompts like this one, and give both parties the new ranges: "
        "`mpcinfer calibrate MODEL --prompts FILE --out FOLDER/ranges.json`. With the weights at hand, "
        "`mpcinfer generate PROMPT --model MODEL --local fixed` names the value"
    )
