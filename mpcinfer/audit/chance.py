"""Whether views of sessions say which of several secrets they were of: enumeration, and an exact test.

The attacker runs a session for each secret that it thinks possible, and keeps what it saw. Of a session with
a secret that was drawn at random it then names the candidate whose words are nearest, label by label. If what
is seen under a label does not depend on the secret, a guess is right with probability 1/K, whatever the
attack, and independently in each session: hits are binomial.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mpcinfer.audit.views import CONTROL, Key, View, Words

LEVEL = 0.01
"""A family of labels is at chance level where no label is below it after Bonferroni's correction."""
_MOST_WORDS = 4096
"""Of one label, evenly spaced; of masked words one shows no more than another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """How often secrets were named right by what is seen for one reason.

    Attributes:
        reason, forms: of the words; `Key`.
        labels: how many of them there are.
        words: of a session, under all of them.
        rate: of guesses that were right, mean over labels.
        best: the same of the label with most.
        best_label: its name.
        p_value: how likely as many hits or more are at some label by guessing, corrected for all labels of
            the family; at most 1.
    """

    reason: str
    forms: tuple[str, ...]
    labels: int
    words: int
    rate: float
    best: float
    best_label: str
    p_value: float

    @property
    def at_chance(self) -> bool:
        """Whether it is guessing as far as this test can tell."""
        return self.p_value > LEVEL


def binomial_tail(hits: int, trials: int, chance: float) -> float:
    """The probability of at least that many hits by guessing.

    Args:
        hits: 0 to `trials`.
        chance: of one guess, above 0 and below 1.
    """
    terms = (
        math.comb(trials, k) * chance**k * (1.0 - chance) ** (trials - k) for k in range(hits, trials + 1)
    )
    return min(1.0, math.fsum(terms))


def distances(templates: Sequence[Words], seen: Words, bits: int) -> list[float]:
    """How far words are from each template's: mean over words of the distance on the ring, from 0 to 1/2.

    Of unequal lengths the part that all have is compared.
    """
    count = min(len(seen), *(len(each) for each in templates))
    places = np.unique(np.linspace(0, count - 1, min(count, _MOST_WORDS)).astype(np.int64))
    mask, size = np.uint64((1 << bits) - 1), float(2**bits)
    result: list[float] = []
    for template in templates:
        ahead = (seen[places] - template[places]) & mask
        behind = (template[places] - seen[places]) & mask
        result.append(float(np.minimum(ahead, behind).astype(np.float64).mean()) / size)
    return result


def hits_by_key(templates: Sequence[View], trials: Sequence[tuple[int, View]]) -> dict[Key, int]:
    """For everything that all views have: in how many trials the nearest template was the secret's.

    Args:
        templates: a view a candidate.
        trials: the secret's number, and the view.
    """
    views = [*templates, *(seen for _, seen in trials)]
    common = [key for key in templates[0] if all(len(each.get(key, ())) for each in views)]
    found: dict[Key, int] = {}
    for key in common:
        known = [each[key] for each in templates]
        guesses = [int(np.argmin(distances(known, seen[key], key.bits))) for _, seen in trials]
        found[key] = sum(guess == secret for guess, (secret, _) in zip(guesses, trials, strict=True))
    return found


def recovered(templates: Sequence[View], trials: Sequence[tuple[int, View]]) -> list[Recovered]:
    """What each reason's words give away, most likely leak first; all of them are one family of tests."""
    hits = hits_by_key(templates, trials)
    grouped: dict[str, list[Key]] = {}
    for key in hits:
        grouped.setdefault(key.reason, []).append(key)
    chance, count = 1.0 / len(templates), len(trials)
    rows = [_row(reason, keys, hits, count, chance, templates[0]) for reason, keys in grouped.items()]
    return sorted(rows, key=lambda row: (row.p_value, -row.rate, row.reason))


def _row(
    reason: str, keys: Sequence[Key], hits: Mapping[Key, int], trials: int, chance: float, sample: View
) -> Recovered:
    best = max(keys, key=lambda key: hits[key])
    return Recovered(
        reason=reason,
        forms=tuple(sorted({key.form for key in keys})),
        labels=len({key.label for key in keys}),
        words=sum(len(sample[key]) for key in keys if key.form in ("received", "dealt", "result")),
        rate=sum(hits[key] for key in keys) / (trials * len(keys)),
        best=hits[best] / trials,
        best_label=f"{best.label} ({best.form})",
        p_value=min(1.0, len(hits) * binomial_tail(hits[best], trials, chance)),
    )


def differing(views: Sequence[View]) -> list[Key]:
    """What some views have more words of than others: sizes that may depend on a secret.

    Control frames are left out: their bills hold seconds, which take more digits or fewer.
    """
    every = {key for each in views for key in each if key.reason != CONTROL}
    return sorted(key for key in every if len({len(each.get(key, ())) for each in views}) > 1)
