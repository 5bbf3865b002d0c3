"""What one party of a session can look at, as numbers by label."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mpcinfer.audit.sessions import TappedSession
from parties.meter import CLIENT
from parties.wire import Frame, unpack

CONTROL, DEALT, RESULT = "control", "dealt", "result"
_LOGIT_SCALE = 2.0**24

Words = NDArray[np.uint64]


class Key(NamedTuple):
    """What some words of a view are.

    Attributes:
        form: `received`; `sum` or `xor` of that with what the party sent under the same label, which is what
            both of them see where shares are opened; `dealt`; `result`.
        label: of the frames.
        bits: of each word.
    """

    form: str
    label: str
    bits: int

    @property
    def reason(self) -> str:
        """Why frames of this label are sent: the part after the slash; what `tests/openings.txt` lists.

        Masked weights have their names there and the reason before. Frames without one are control frames.
        """
        if self.form in (DEALT, RESULT):
            return self.form
        before, slash, after = self.label.rpartition("/")
        if not slash:
            return CONTROL
        return before if before.startswith("setup") and "." in after else after


View = Mapping[Key, Words]


@dataclass(frozen=True, slots=True, eq=False)
class _Frames:
    """Words of frames, by label and width."""

    words: dict[tuple[str, int], list[Words]]

    @classmethod
    def of(cls, frames: Sequence[Frame]) -> _Frames:
        words: dict[tuple[str, int], list[Words]] = defaultdict(list)
        for frame in frames:
            for spec, buffer in zip(frame.specs, frame.payload, strict=True):
                words[frame.label, spec.bits].append(unpack(buffer, spec).astype(np.uint64).reshape(-1))
        return cls(words)


def view(session: TappedSession, rank: int) -> View:
    """All that a party receives, and what it opens of it together with its own messages.

    The client's logits are there as words of 64 bits with 24 fraction bits.
    """
    got, sent = (_Frames.of(session.received[who]).words for who in (rank, 1 - rank))
    seen: dict[Key, Words] = {}
    for (label, bits), words in got.items():
        seen[Key("received", label, bits)] = np.concatenate(words)
        own = sent.get((label, bits), [])
        if [len(each) for each in own] == [len(each) for each in words] and bits > 0:
            mine, its = np.concatenate(own), np.concatenate(words)
            seen[Key("sum", label, bits)] = (mine + its) & np.uint64((1 << bits) - 1)
            seen[Key("xor", label, bits)] = mine ^ its
    for (label, bits), words in _Frames.of(session.dealt[rank]).words.items():
        seen[Key(DEALT, label, bits)] = np.concatenate(words)
    if rank == CLIENT:
        logits = (session.logits.double() * _LOGIT_SCALE).round().long().numpy()
        seen[Key(RESULT, "logits", 64)] = logits.view(np.uint64)
    return seen
