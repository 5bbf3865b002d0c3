"""How wide the ring of a run is: one for all of it, from the model's ranges."""

from __future__ import annotations

import math
from collections.abc import Mapping

from mpcinfer.models.bounds import norm_shift
from mpcinfer.models.config import ModelConfig
from mpcinfer.suites.arithmetic.backend import MARGIN, UNCALIBRATED
from parties.errors import RangeError
from protocols.two_party.primitives import FRAC_BITS, MOST_RING_BITS

OUTPUT_MARGIN = 2.0
"""Values may grow beyond what calibration saw by this factor."""
_OUTPUTS = ("/add", "/linear", "/matmul", "/mul", "/norm", "/activation", "/embed", "/head", "/in")
_SPREADS = ("/mean_square", "/variance")
_UNCALIBRATED_OUTPUT = 2.0**12
UNCALIBRATED_RING = 51
"""Of operations by themselves: that of a GPT-2 block without weights."""
_LEAST = 2.0**10
"""Protocols' own intermediate results are below it."""
_SLACK_BITS = 2
"""Truncation needs a number below a quarter of the ring."""


def ring_bits(config: ModelConfig, ranges: Mapping[str, float] | None) -> int:
    """The ring in which every product of a run fits before it is truncated.

    Args:
        ranges: calibrated; None for shapes without weights, which are billed and never run.

    Raises:
        RangeError: it would have more than `MOST_RING_BITS` bits.
    """
    outputs, norms = {"values": _UNCALIBRATED_OUTPUT}, {"norms": UNCALIBRATED}
    if ranges is not None:
        outputs = {key: value for key, value in ranges.items() if key.endswith(_OUTPUTS)}
        norms = {
            key: (low, ranges[f"{key}_max"])
            for key, low in ((name[:-4], value) for name, value in ranges.items() if name.endswith("_min"))
            if key.endswith(_SPREADS)
        }
    largest = {key: OUTPUT_MARGIN * value for key, value in outputs.items()}
    for key, (low, high) in norms.items():
        least, most = low / MARGIN, high * MARGIN
        # One element may have all of its row's squares.
        largest[key] = config.width * most * 4.0 ** norm_shift(least, most)
    key = max(largest, key=lambda name: largest[name])
    most = max(largest[key], _LEAST)
    bits = 2 * FRAC_BITS + math.ceil(math.log2(most)) + _SLACK_BITS
    if bits > MOST_RING_BITS:
        raise RangeError(
            f"{key}: products up to {most:.4g} need a ring of {bits} bits, and rings have {MOST_RING_BITS} "
            "at most in the suite two-party"
        )
    return bits
