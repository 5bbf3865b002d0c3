"""What two executors say to each other, and what correlations they took, opening by opening."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from parties.link import Link
from parties.local import local_pair
from parties.meter import CLIENT, SERVER
from parties.threads import run_two_threads
from parties.wire import Frame
from protocols.arithmetic.shapes import Shape
from protocols.two_party.correlations import ENTRY_BITS, TABLE_SIZE, Correlations, Kind, Parts, Request
from protocols.two_party.executor import TwoPartyArithmetic
from protocols.two_party.source import SPAN
from protocols.two_party.steps import DIGIT_BITS
from tests.openings import reason
from tests.protocols.additive.crypten.conftest import Recorder, arrays

SUITE = "two-party"
Body = Callable[[TwoPartyArithmetic], torch.Tensor]
Make = Callable[[Link], Correlations]
MASKED: Mapping[str, tuple[tuple[Kind, ...], tuple[int, ...]]] = {
    "product": ((Kind.PRODUCT,), (0, 1)),
    "square": ((Kind.SQUARE,), (0,)),
    "matmul": ((Kind.MATMUL,), (0, 1)),
    "kept": ((Kind.SCORES, Kind.MIX), (0, 1, 2)),
    "mixed": ((Kind.MIX,), (0,)),
    "select": ((Kind.SELECT,), (0, 2)),
    "sign": ((Kind.BIT,), (0,)),
    "and": ((Kind.AND,), (0, 1)),
    "linear": ((Kind.LINEAR, Kind.LINEAR_TRANSPOSED), (0,)),
    "digits": ((Kind.DIGIT,), (0,)),
    "truncate": ((Kind.WRAP,), (0,)),
    "place": ((Kind.PLACE_128, Kind.PLACE_256), (0,)),
    "choose": ((Kind.TRANSFER,), ()),
    "chosen": ((Kind.TRANSFER,), ()),
}
"""By reason: the correlation that was taken for the frame, and which of its parts mask what is opened."""
EACH_WAY = ("truncate", "choose", "chosen")
"""What each party sends of its own, which is not added to the other's."""
ONE_WAY = {"linear": SERVER, "output": CLIENT}
"""Who receives what one party alone sends."""


class Noted(Correlations):
    """Hands on what others make, and keeps it."""

    def __init__(self, inner: Correlations) -> None:
        self._inner = inner
        self.taken: list[tuple[Request, Parts]] = []

    def hold(self, name: str, weight: torch.Tensor | None, shape: Shape) -> None:
        self._inner.hold(name, weight, shape)

    def announce(self, requests: Iterable[Request]) -> None:
        self._inner.announce(requests)

    def make_all(self) -> None:
        """What it hands on is made when it is taken."""

    def give_up(self) -> None:
        """Nothing was made that was not taken."""

    def take(self, request: Request) -> Parts:
        parts = self._inner.take(request)
        self.taken.append((request, tuple(part.clone() for part in parts)))
        return parts


@dataclass(frozen=True, eq=False)
class Opening:
    """One array that became known to a party, or to both.

    Attributes:
        what: the frame's label and the array's place.
        bits: of its ring.
        seen: by both, or by the one party that receives it.
        own: both parties' summands of its mask, by rank; none where a party has none.
        receiver: None where both parties see it.
    """

    what: str
    bits: int
    seen: torch.Tensor
    own: tuple[torch.Tensor | None, torch.Tensor | None] = (None, None)
    receiver: int | None = None

    @property
    def why(self) -> str:
        return self.what.split(" ")[0].rsplit("/", 1)[1]


@dataclass(frozen=True, eq=False)
class Transcript:
    """A run.

    Attributes:
        results: what the body gave, by rank.
        received: online frames with reasons, by receiver.
        taken: correlations, by rank.
    """

    results: tuple[torch.Tensor, torch.Tensor]
    received: tuple[list[Frame], list[Frame]]
    taken: tuple[list[tuple[Request, Parts]], list[tuple[Request, Parts]]]

    def openings(self) -> list[Opening]:
        """All of them, reason by reason."""
        return [opening for why in (*MASKED, "output") for opening in self._of(why)]

    def _of(self, why: str) -> list[Opening]:
        frames = [[f for f in side if reason(f.label, SUITE) == why] for side in self.received]
        _, places = MASKED.get(why, ((), ()))
        masks = [_masks(why, side) for side in self.taken]
        if why == "digits":
            return _digits(frames, masks)
        if why in ONE_WAY:
            return _one_way(frames[ONE_WAY[why]], ONE_WAY[why])
        if why in EACH_WAY:
            return [each for rank in (SERVER, CLIENT) for each in _one_way(frames[rank], rank)]
        result = list[Opening]()
        for to_server, to_client, server, client in zip(*frames, *masks, strict=True):
            own = [[parts[place].reshape(-1).long() for place in places] for parts in (server, client)]
            if why == "and":
                own = [[torch.cat(parts)] for parts in own]
            pairs = zip(arrays(to_server), arrays(to_client), to_server.specs, *own, strict=True)
            for number, (a, b, spec, mine, theirs) in enumerate(pairs):
                what, total = f"{to_server.label} {number}", modulo(a + b, spec.bits)
                result.append(Opening(what, spec.bits, total.reshape(-1), (mine, theirs)))
        return result


def modulo(value: torch.Tensor, bits: int) -> torch.Tensor:
    """From 0 to below 2^bits."""
    return value & ((1 << bits) - 1)


def _masks(why: str, taken: Sequence[tuple[Request, Parts]]) -> list[Parts]:
    """What a party took for each frame of a reason."""
    kinds, _ = MASKED.get(why, ((), ()))
    parts = [parts for request, parts in taken if request.kind in kinds]
    if why == "mixed":
        return [(visible(left),) for left, _, _ in parts]
    if why == "kept":  # scores' and mixes', by turns
        return [(s, r, r_mix) for (s, r, _), (_, r_mix, _) in zip(parts[::2], parts[1::2], strict=True)]
    return parts


def visible(left: torch.Tensor) -> torch.Tensor:
    """Of rows [..., T, S] what is up to each token's own place."""
    tokens, keys = left.shape[-2:]
    return left[..., torch.ones(tokens, keys, dtype=torch.bool).tril(keys - tokens)]


def _one_way(frames: Sequence[Frame], receiver: int) -> list[Opening]:
    return [
        Opening(f"{frame.label} {number}", spec.bits, array.reshape(-1), receiver=receiver)
        for frame in frames
        for number, (array, spec) in enumerate(zip(arrays(frame), frame.specs, strict=True))
    ]


def _digits(frames: Sequence[Sequence[Frame]], masks: Sequence[Sequence[Parts]]) -> list[Opening]:
    """The client's difference, all entries as they are sent, and the entry that the client reads."""
    result = list[Opening]()
    for asked, sent, (places, pads) in zip(*frames, masks[CLIENT], strict=True):
        (difference,), (words,) = arrays(asked), arrays(sent)
        shifts = ENTRY_BITS * torch.arange(TABLE_SIZE)
        table = modulo(words.reshape(-1, 1) >> shifts, ENTRY_BITS)
        result.append(Opening(f"{asked.label} place", DIGIT_BITS, difference, receiver=SERVER))
        result.append(Opening(f"{sent.label} table", ENTRY_BITS, table.reshape(-1), receiver=CLIENT))
        digit = modulo(difference + places.long(), DIGIT_BITS)
        entry = table.reshape(-1, TABLE_SIZE)[torch.arange(len(digit)), digit] ^ pads.long()
        result.append(Opening(f"{sent.label} entry", ENTRY_BITS, entry, receiver=CLIENT))
    return result


def online_frames(frames: Iterable[Frame]) -> list[Frame]:
    """Those with a reason that make no correlations."""
    return [frame for frame in frames if "/" in frame.label and not frame.label.startswith(SPAN)]


def transcript(body: Body, make: Make, ring_bits: int, frac_bits: int) -> Transcript:
    """Runs both parties on correlations that `make` gives them."""
    recorders = [Recorder(end) for end in local_pair()]
    noted: dict[int, Noted] = {}

    def party(link: Link) -> torch.Tensor:
        assert link.rank is not None
        noted[link.rank] = Noted(make(link))
        return body(TwoPartyArithmetic(link, noted[link.rank], ring_bits, frac_bits))

    results = run_two_threads(party, party, channels=(recorders[0], recorders[1]))
    online = [online_frames(each.received) for each in recorders]
    return Transcript(results, (online[0], online[1]), (noted[0].taken, noted[1].taken))
