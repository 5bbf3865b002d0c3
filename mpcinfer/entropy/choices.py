"""What can be chosen about the entropy penalty; `mpcinfer.entropy.penalty` says what each does."""

from __future__ import annotations

from typing import Literal

Reduction = Literal["sum", "mean", "per_head"]
Normalise = Literal["log_length", "causal_mean", "causal_row"]
Gate = Literal["hard", "hinge"]
Thresholds = Literal["fixed", "detached", "learned"]
