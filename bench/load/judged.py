"""Whether every answer is the right one and every bill the counted one, and how long sessions took."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from bench.load.asking import Asked
from bench.load.run import Load
from mpcinfer.clear import ClearModel
from mpcinfer.costs import cost
from mpcinfer.models.load import load_model

COUNTED = (
    *("rounds", "online_bytes_to_server", "online_bytes_to_client", "setup_bytes", "setup_rounds"),
    *("offline_bytes_to_server", "offline_bytes_to_client", "offline_rounds"),
)
"""Numbers of a bill that are counted without running anything."""
TIE = 0.05
"""Logits that are no farther apart are a tie: under `fss`, whose truncation is off by one at random, those of
`tiny-python` were up to 0.041 off the reference's in 71 passes of one prompt."""
PERCENTILES = (50, 90, 95, 99)
_WAITED = re.compile(r"\bsession started\b.*\bseconds\W+([0-9.]+)")


@dataclass(frozen=True, slots=True)
class Verdict:
    """On one session.

    Attributes:
        right: the answer's tokens are those of the fixed-point reference.
        tied: they are not, but the reference that reads the same tokens has each within `TIE` of its best.
        counted: every number of the bill is the counted one.
        kernel: the kernel counted what was billed.
        why: what is not as it should be; empty where all is.
    """

    right: bool
    tied: bool
    counted: bool
    kernel: bool
    why: str


class Judge:
    """Knows the right answers and bills."""

    def __init__(self, load: Load) -> None:
        self._load, self._model = load, load_model(load.model)
        self._counted = lru_cache(maxsize=256)(self._count)

    def verdicts(self, asked: Sequence[Asked]) -> list[Verdict]:
        """One a session."""
        return [self._verdict(each) for each in asked]

    def _verdict(self, asked: Asked) -> Verdict:
        if asked.error:
            return Verdict(False, False, False, False, asked.error)
        prompt, wrong = self._load.prompts[asked.number], list[str]()
        gaps = self._gaps(asked)
        right, tied = max(gaps) == 0, 0 < max(gaps) <= TIE
        if not right:
            at = next(number for number, gap in enumerate(gaps) if gap)
            wrong.append(
                f"token {at + 1} of the answer differs, whose logit is {gaps[at]:.4f} below the best"
            )
        # A stop token is the result of a pass, too, and no part of the answer.
        passes = len(asked.ids) + (asked.reason == "stop")
        counted = self._counted(len(self._model.tokenizer.encode(prompt)), passes, asked.context)
        differ = [name for name in COUNTED if asked.bill[name] != counted[name]]
        wrong += [f"{name} {asked.bill[name]:,}, counted {counted[name]:,}" for name in differ]
        kernel = "exactly as billed" in asked.kernel
        wrong += [] if kernel else [asked.kernel or "no count of the kernel"]
        return Verdict(right, tied, not differ, kernel, "; ".join(wrong + (asked.unused if wrong else [])))

    def _gaps(self, asked: Asked) -> list[float]:
        """How far each token's logit is below the best, in the fixed-point reference that reads the answer;
        where that would end elsewhere, infinity, too."""
        gaps = list[float]()

        def follow(logits: torch.Tensor) -> int:
            best = int(logits.argmax())
            token = asked.ids[len(gaps)] if len(gaps) < len(asked.ids) else best
            gaps.append(float(logits[best] - logits[token]))
            return token

        reference = ClearModel(
            self._model, fixed_point=True, plan=self._load.plan, max_context=asked.context
        ).complete(self._load.prompts[asked.number], max_new_tokens=self._load.tokens, sampler=follow)
        return gaps if list(reference.ids) == asked.ids else [*gaps, math.inf]

    def _count(self, prompt: int, passes: int, context: int) -> dict[str, int]:
        load = self._load
        total = cost(load.model, plan=load.plan, tokens=prompt, new_tokens=passes, max_context=context).total
        return {name: getattr(total, name) for name in COUNTED}


def waits(lines: Sequence[str]) -> list[float]:
    """Seconds in the queue of all that were admitted, by the server's own lines."""
    found = (_WAITED.search(line) for line in lines)
    return [float(match[1]) for match in found if match]


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """By their names, `p50` and so on; empty of nothing."""
    if not values:
        return {}
    return {f"p{each}": round(float(np.percentile(values, each)), 3) for each in PERCENTILES}


def latencies(asked: Sequence[Asked], lines: Sequence[str]) -> dict[str, dict[str, float]]:
    """Percentiles of seconds.

    Returns:
        `waited`: in the server's queue. Dealers' queues are none of it. `first token`: from the request on,
        the queue included. `session`: from its opening, after handshakes and masked weights, to the confirmed
        bill. `all`: from the request to there.
    """
    well = [each for each in asked if not each.error]
    return {
        "waited": percentiles(waits(lines)),
        "first token": percentiles([each.first_s - each.asked_s for each in well if each.first_s]),
        "session": percentiles([each.over_s - each.opened_s for each in well]),
        "all": percentiles([each.over_s - each.asked_s for each in well]),
    }
