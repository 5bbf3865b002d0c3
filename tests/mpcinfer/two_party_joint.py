"""Sessions of tiny models under `two-party`, the same secrets under fresh seeds: relations among all bits.

As `joint_sessions`, in the same process beside this one.
"""

from __future__ import annotations

import dataclasses

import torch

from protocols.two_party.correlations import Correlations, Kind, Parts, Request
from tests.joint import Relation, worst_pair
from tests.mpcinfer.joint_sessions import FORMS, SEEDS, STEPS, Found, elsewhere, found, shown
from tests.mpcinfer.three_parties import random_model
from tests.mpcinfer.two_party_views import joint_bits
from tests.protocols.two_party.ideal import IdealCorrelations

_ONCE = (Kind.MATMUL, Kind.SCORES, Kind.MIX, Kind.LINEAR_TRANSPOSED)
"""A session of a tiny model takes no two of these of one shape."""
_OF_LOOK_UPS = (Kind.PLACE_128, Kind.PLACE_256, Kind.TRANSFER)
"""No session here takes any (`two_party_views.COMPARED`): `tests/protocols/two_party/test_openings.py`."""
TWICE = tuple(str(kind) for kind in Kind if kind not in (*_ONCE, *_OF_LOOK_UPS))


class Reusing(IdealCorrelations):
    """A twin: correlations of one kind serve again for the next request of the same shape and width.

    Every opening by itself is uniform, and all results are right.
    """

    def __init__(self, rank: int, seed: int, kind: Kind) -> None:
        super().__init__(rank, seed)
        self._kind, self._before = kind, dict[tuple[object, ...], Parts]()

    def take(self, request: Request) -> Parts:
        if request.kind is not self._kind:
            return super().take(request)
        same = (request.shapes, request.bits)
        if same not in self._before:
            self._before[same] = super().take(request)
        return tuple(part.clone() for part in self._before[same])


def relations(name: str) -> tuple[Found, Found]:
    """What is found in the server's and in the client's view of a model of that form."""
    return elsewhere().submit(find_relations, name).result()


def relation_where_correlations_are_used_twice(kind: str) -> tuple[Relation, Relation]:
    """The strongest pair in what others show the server, and the client, its own draws aside."""
    return elsewhere().submit(find_relation_where_they_are_used_twice, kind).result()


def find_relations(name: str) -> tuple[Found, Found]:
    """See `relations`."""
    torch.set_num_threads(1)
    model = random_model(dataclasses.replace(FORMS[name], layers=1))
    server, client = joint_bits(model, STEPS, SEEDS)
    return found(server), found(client)


def find_relation_where_they_are_used_twice(kind: str) -> tuple[Relation, Relation]:
    """See `relation_where_correlations_are_used_twice`."""
    torch.set_num_threads(1)
    model = random_model(dataclasses.replace(FORMS["gpt2"], layers=1))

    def make(rank: int, seed: int) -> Correlations:
        return Reusing(rank, seed, Kind(kind))

    server, client = (worst_pair(bits.only(shown(bits))) for bits in joint_bits(model, STEPS, SEEDS, make))
    return server, client
