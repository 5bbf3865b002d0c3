"""Several products of private matrices that are made together."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from parties.link import Link
from parties.randomness import InsecureTestRandom
from parties.threads import run_two_threads
from protocols.two_party.correlations import Kind, Parts, Request
from protocols.two_party.matrices import Matrices, MatrixCosts

BITS = 20


def products(inners: Sequence[int], bits: int = BITS) -> list[Request]:
    """Requests that differ in the length of the sums, and so in parameters."""
    return [Request(Kind.MATMUL, ((2, 3, inner), (2, inner, 5)), bits) for inner in inners]


@pytest.mark.parametrize("inners", [(7,), (7, 7), (7, 40, 7)])
def test_products_that_are_made_together(inners: Sequence[int]) -> None:
    """Keys, queries and answers of both directions come in the order in which they are awaited."""
    requests, meters = products(inners), list[tuple[int, int]]()

    def party(link: Link) -> list[Parts]:
        assert link.rank is not None
        parts = Matrices(link, InsecureTestRandom(link.rank)).make(requests)
        total = link.meter.bill().total
        meters.append((total.online_bytes_to_server, total.online_bytes_to_client))
        return parts

    made = run_two_threads(party, party)
    for mine, theirs in zip(*made, strict=True):
        a, b, product = (one + other for one, other in zip(mine, theirs, strict=True))
        assert not torch.any((torch.matmul(a, b) - product) & ((1 << BITS) - 1))
    costs = MatrixCosts()
    counted = [costs.count(request) for request in requests]
    assert set(meters) == {(sum(each[0] for each in counted), sum(each[1] for each in counted))}
