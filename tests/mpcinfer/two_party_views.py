"""All that a party has of a session under `two-party`, whole model and all passes, for joint statistics.

Correlations are an ideal functionality's: what it takes to make them has tests of its own. In the view:

* what both parties open, by itself and less the party's own summand of the mask;
* those summands, and every other part of a correlation;
* what the other party alone sends: the server's bits of truncation, tables of digits and the entries that are
  read in them, the output; the client's inputs of linear layers, places of digits, and bits of truncation.

The logits themselves, which the client is meant to get, are not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from unittest.mock import patch

import torch

from mpcinfer.models.model import Model
from mpcinfer.sessions.exchange import StepClient
from mpcinfer.suites.two_party import session
from parties.link import Link
from parties.meter import CLIENT, SERVER
from parties.randomness import InsecureTestRandom
from protocols.two_party import comparison
from protocols.two_party.correlations import Correlations, Kind, Request
from tests.joint import Bits
from tests.mpcinfer.joint_views import Seen
from tests.mpcinfer.two_parties import run_two_parties
from tests.protocols.two_party.ideal import IdealCorrelations
from tests.protocols.two_party.transcripts import Noted, Opening, Transcript, modulo

Steps = Sequence[Sequence[int]]
Make = Callable[[int, int], Correlations]
"""Of a party's rank and a seed that both have."""
_SERVERS_OWN = 1 << 32
_BITS_OF_PARTS = {Kind.AND: 1, Kind.DIGIT: 2}


def views(
    model: Model, steps: Steps, seed: int, make: Make = IdealCorrelations
) -> tuple[list[Seen], list[Seen]]:
    """What server and client have of a session with fresh seeds."""
    noted: dict[int, Noted] = {}

    def source(link: Link) -> Noted:
        assert link.rank is not None
        noted[link.rank] = Noted(make(link.rank, seed))
        return noted[link.rank]

    def use(client: StepClient) -> torch.Tensor:
        return torch.cat([client.step(list(ids)) for ids in steps])

    own = InsecureTestRandom(seed + _SERVERS_OWN)
    with ExitStack() as stack:
        stack.enter_context(patch.object(session, "TwoPartySource", source))
        stack.enter_context(patch.object(comparison, "SystemRandom", lambda: own))
        run = run_two_parties(model, use)
    online = [[f for f in side if f.depth and "/" in f.label] for side in (run.to_server, run.to_client)]
    nothing = torch.zeros(())
    made = Transcript((nothing, nothing), (online[0], online[1]), (noted[0].taken, noted[1].taken))
    openings = made.openings()
    return _view(openings, made, SERVER), _view(openings, made, CLIENT)


def _view(openings: Sequence[Opening], made: Transcript, rank: int) -> list[Seen]:
    result = list[Seen]()
    for each in openings:
        own = each.own[rank]
        if own is not None:
            result += [
                Seen(f"opened {each.what}", each.bits, each.seen),
                Seen(f"opened {each.what} less own mask", each.bits, modulo(each.seen + own, each.bits)),
            ]
        elif each.receiver == rank:
            result.append(Seen(f"sent {each.what}", each.bits, each.seen))
    return [*result, *_parts(made.taken[rank])]


def _parts(taken: Sequence[tuple[Request, Sequence[torch.Tensor]]]) -> list[Seen]:
    return [
        Seen(f"own {request.kind} {number} part {i}", _part_bits(request, i), part.long())
        for number, (request, parts) in enumerate(taken)
        for i, part in enumerate(parts)
    ]


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
