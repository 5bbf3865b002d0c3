"""All that a party has of a session under `two-party`, whole model and all passes, for joint statistics.

Correlations are an ideal functionality's: what it takes to make them has tests of its own. In the view:

* what both parties open, by itself and less the party's own summand of the mask;
* those summands, and every other part of a correlation;
* what the other party alone sends: the server's bits of truncation, tables of digits and the entries that are
  read in them, the output; the client's inputs of linear layers, places of digits, and bits of truncation.
  Inputs, places and bits of truncation are taken less what the receiver's share says of them: the input of
  a linear layer minus its mask, and digits and bits less what they would be if the shared number were zero.

The logits themselves, which the client is meant to get, are not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import torch

from mpcinfer.models.model import Model
from mpcinfer.sessions.exchange import StepClient
from mpcinfer.suites.registry import get_plan
from mpcinfer.suites.two_party import session
from parties.link import Link
from parties.meter import CLIENT, SERVER
from parties.randomness import InsecureTestRandom
from protocols.arithmetic.weight import Weight
from protocols.share import Share
from protocols.two_party import comparison, executor
from protocols.two_party.correlations import Correlations, Kind, Request
from protocols.two_party.executor import TwoPartyArithmetic
from protocols.two_party.steps import DIGIT_BITS
from tests.joint import Bits
from tests.mpcinfer.joint_views import Seen
from tests.mpcinfer.two_parties import run_two_parties
from tests.protocols.two_party.ideal import IdealCorrelations
from tests.protocols.two_party.transcripts import (
    Noted,
    Opening,
    Transcript,
    modulo,
    online_frames,
    visible,
)

Steps = Sequence[Sequence[int]]
Make = Callable[[int, int], Correlations]
"""Of a party's rank and a seed that both have."""
_SERVERS_OWN = 1 << 32
COMPARED = get_plan("two-party").replace(
    softmax="tree", gelu="piecewise", silu="piecewise", inverse_sqrt="octaves"
)
"""Functions as compositions of primitives; look-ups have `tests/protocols/two_party/test_openings.py`."""
Inputs = dict[tuple[int, str], list[torch.Tensor]]
"""By rank and reason: what a party's own share makes it expect of the other's message, element by element."""
_BITS_OF_PARTS = {Kind.AND: 1, Kind.DIGIT: 2}


def views(
    model: Model, steps: Steps, seed: int, make: Make = IdealCorrelations
) -> tuple[list[Seen], list[Seen]]:
    """What server and client have of a session with fresh seeds."""
    noted: dict[int, Noted] = {}

    def source(link: Link, tell: object = None) -> Noted:
        assert link.rank is not None
        noted[link.rank] = Noted(make(link.rank, seed))
        return noted[link.rank]

    def use(client: StepClient) -> torch.Tensor:
        return torch.cat([client.step(list(ids)) for ids in steps])

    own = InsecureTestRandom(seed + _SERVERS_OWN)
    inputs = Inputs()
    with ExitStack() as stack:
        for owner, name, function in _noting(inputs):
            stack.enter_context(patch.object(owner, name, function))
        stack.enter_context(patch.object(session, "TwoPartySource", source))
        stack.enter_context(patch.object(comparison, "SystemRandom", lambda: own))
        run = run_two_parties(model, use, COMPARED)
    online = [online_frames(side) for side in (run.to_server, run.to_client)]
    nothing = torch.zeros(())
    made = Transcript((nothing, nothing), (online[0], online[1]), (noted[0].taken, noted[1].taken))
    openings = made.openings()
    return _view(openings, made, SERVER, inputs), _view(openings, made, CLIENT, inputs)


def _noting(inputs: Inputs) -> list[tuple[object, str, Callable[..., object]]]:
    """Primitives that note what is in `Inputs`, and do what they do."""
    linear, truncate, less_than = TwoPartyArithmetic.linear, TwoPartyArithmetic.truncate, comparison.less_than

    def note(rank: int, reason: str, value: torch.Tensor) -> None:
        inputs.setdefault((rank, reason), []).append(value.reshape(-1).clone())

    def noted_linear(self: TwoPartyArithmetic, x: Share, weight: Weight, **how: Any) -> Share:
        note(self.rank, "linear", -x.value)
        return linear(self, x, weight, **how)

    def noted_truncate(self: TwoPartyArithmetic, a: Share, frac_bits: int) -> Share:
        if a.frac_bits != frac_bits:
            ring = min(a.ring_bits, self.ring_bits)
            offset = 1 << (ring - 2)
            others = offset - a.value - (offset if self.rank == SERVER else 0)
            note(self.rank, "truncate", 1 - (modulo(others, ring) >> (ring - 1)))
        return truncate(self, a, frac_bits)

    def noted_less_than(
        link: Link, correlations: Correlations, word: torch.Tensor, bits: int
    ) -> torch.Tensor:
        assert link.rank is not None
        others = modulo(word + 1, bits)
        places = range(0, bits, DIGIT_BITS)
        note(link.rank, "digits", torch.stack([modulo(others >> at, DIGIT_BITS) for at in places]))
        return less_than(link, correlations, word, bits)

    return [
        (TwoPartyArithmetic, "linear", noted_linear),
        (TwoPartyArithmetic, "truncate", noted_truncate),
        (executor, "less_than", noted_less_than),
    ]


def _view(openings: Sequence[Opening], made: Transcript, rank: int, inputs: Inputs) -> list[Seen]:
    result = list[Seen]()
    expected = {why: iter(values) for (owner, why), values in inputs.items() if owner == rank}
    for each in openings:
        own = each.own[rank]
        if own is not None:
            result += [
                Seen(f"opened {each.what}", each.bits, each.seen),
                Seen(f"opened {each.what} less own mask", each.bits, modulo(each.seen + own, each.bits)),
            ]
        elif each.receiver == rank:
            if each.why in expected and not each.what.endswith(("table", "entry")):
                less = modulo(each.seen - next(expected[each.why]), each.bits)
                result.append(Seen(f"held {each.what}", each.bits, less))
            else:
                result.append(Seen(f"sent {each.what}", each.bits, each.seen))
    return [*result, *_parts(made.taken[rank])]


def _parts(taken: Sequence[tuple[Request, Sequence[torch.Tensor]]]) -> list[Seen]:
    return [
        Seen(f"own {request.kind} {number} part {i}", _part_bits(request, i), _drawn(request, i, part))
        for number, (request, parts) in enumerate(taken)
        for i, part in enumerate(parts)
    ]


def _drawn(request: Request, place: int, part: torch.Tensor) -> torch.Tensor:
    """What is random of a part: where a token sees nothing, masks of weights are zero."""
    rows = {Kind.SCORES: 2, Kind.MIX: 0}
    return visible(part) if rows.get(request.kind) == place else part.long()


def _part_bits(request: Request, place: int) -> int:
    """Of a part; the first of some is a bit, and of a digit a place."""
    if request.kind in (Kind.WRAP, Kind.SELECT, Kind.BIT) and not place:
        return 1
    return _BITS_OF_PARTS.get(request.kind, request.bits)


def joint_bits(
    model: Model, steps: Steps, seeds: Sequence[int], make: Make = IdealCorrelations
) -> tuple[Bits, Bits]:
    """The server's and the client's view over sessions with fresh seeds and the same secrets."""
    runs = [views(model, steps, seed, make) for seed in seeds]
    server, client = (
        Bits.of(
            torch.stack([torch.cat([seen.taken() for seen in run[rank]]) for run in runs]).bool(),
            [name for seen in runs[0][rank] for name in seen.names()],
        )
        for rank in (SERVER, CLIENT)
    )
    return server, client
