"""How far a session is, for whoever waits for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Stage(Enum):
    """What is being done, in the order in which a private run does it; the value says it to people."""

    COMPILING = "compiling kernels (once)"
    STARTING = "starting"
    SETUP = "masked weights"
    DEALING = "dealing"
    OFFLINE = "offline step"
    ONLINE = "first token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a stage is.

    Attributes:
        done, of: in whatever the stage is counted in; `of` is 0 where nobody knows.
        bytes: what this party has received in this stage; 0 where it is not about bytes.
    """

    stage: Stage
    done: int
    of: int
    bytes: int = 0
