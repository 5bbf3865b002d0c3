"""How far a session is, for whoever waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Stage(Enum):
    """What is being done, in the order in which a private run does it; the value says it to people.

    Masked weights come while the first pass is dealt. Parties without a dealer make correlations before a
    pass and in between its layers.
    """

    COMPILING = "compiling kernels (once)"
    STARTING = "starting"
    QUEUED = "in the queue"
    SETUP = "masked weights"
    DEALING = "dealing"
    OFFLINE = "offline step"
    CORRELATIONS = "making correlations"
    ONLINE = "first token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a stage is.

    Attributes:
        done, of: how much of how much; `of` is 0 where nobody knows.
        in_bytes: what they count; passes, layers or kernels otherwise.
        detail: what of it is under way, where there are several things.
    """

    stage: Stage
    done: int
    of: int
    in_bytes: bool = False
    detail: str = ""
