"""Every kind of correlation holds, is drawn once, and a request that makes no sense is refused."""

from __future__ import annotations

import math

import pytest
import torch

from parties.errors import PeerMismatch
from protocols.additive.correlations import MAX_ELEMENTS, Kind, Request, Stream, corrections

REQUESTS = [
    Request(Kind.MUL, ((3, 1), (2,))),
    Request(Kind.MUL, ((0,), (0,))),
    Request(Kind.MATMUL, ((2, 3, 4), (4, 5))),
    Request(Kind.SQUARE, ((7,),)),
    Request(Kind.AND, ((2, 5), (2, 5))),
    Request(Kind.BIT, ((4, 4),)),
    Request(Kind.LINEAR, ((2, 3), (3, 4)), weight="w"),
    Request(Kind.LINEAR_TRANSPOSED, ((2, 4), (3, 4)), weight="w"),
    Request(Kind.TRUNCATION, ((9,),), bits=16),
]


def whole(
    request: Request, seeds: tuple[bytes, bytes]
) -> tuple[list[torch.Tensor], list[torch.Tensor], torch.Tensor]:
    """The factors, the results and the weight's mask that both parties' shares amount to."""
    server, client = Stream(seeds[0]), Stream(seeds[1])
    dealer = Stream(seeds[0]), Stream(seeds[1])
    ours = corrections(request, dealer[0].masks(request), dealer[1], dealer[0].weight_mask)
    masks = list(zip(server.masks(request), client.masks(request), strict=True))
    results = list(zip(ours, client.results(request), strict=True))
    xor = request.kind in (Kind.AND, Kind.BIT)
    factors = [a ^ b if xor else a + b for a, b in masks]
    values = [a ^ b if request.kind is Kind.AND else a + b for a, b in results]
    return factors, values, server.weight_mask("w", (3, 4))


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: str(request.kind))
def test_relation_holds(request_: Request) -> None:
    factors, results, mask = whole(request_, (bytes(range(16)), bytes(range(16, 32))))
    first = factors[0]
    expected = {
        Kind.MUL: lambda: [first * factors[1]],
        Kind.MATMUL: lambda: [first @ factors[1]],
        Kind.SQUARE: lambda: [first * first],
        Kind.AND: lambda: [first & factors[1]],
        Kind.BIT: lambda: [first],
        Kind.LINEAR: lambda: [first @ mask],
        Kind.LINEAR_TRANSPOSED: lambda: [first @ mask.T],
        Kind.TRUNCATION: lambda: [
            torch.tensor([(int(r) % 2**64) >> 16 for r in first]),
            torch.tensor([(int(r) % 2**64 >> 63) << 48 for r in first]),
        ],
    }[request_.kind]()
    assert len(results) == len(expected)
    for got, want in zip(results, expected, strict=True):
        assert torch.equal(got, want)
        assert tuple(got.shape) == request_.result_shape
    if request_.kind is Kind.BIT:
        assert set(first.flatten().tolist()) <= {0, 1}
    elements = math.prod(request_.result_shape) * len(expected)
    assert request_.offline_bytes_to_server == 8 * elements


def test_the_same_request_never_gets_the_same_randomness() -> None:
    stream = Stream(bytes(16))
    request = Request(Kind.SQUARE, ((50,),))
    drawn = [stream.masks(request)[0] for _ in range(20)] + [stream.results(request)[0] for _ in range(20)]
    assert len(set(torch.cat(drawn).tolist())) == 40 * 50


def test_weight_masks_differ_by_name_shape_and_seed() -> None:
    masks = [
        Stream(bytes(16)).weight_mask("a", (2, 3)),
        Stream(bytes(16)).weight_mask("b", (2, 3)),
        Stream(bytes(16)).weight_mask("a", (3, 2)).reshape(2, 3),
        Stream(bytes([1] * 16)).weight_mask("a", (2, 3)),
    ]
    assert len(set(torch.stack(masks).flatten().tolist())) == 24
    assert torch.equal(Stream(bytes(16)).weight_mask("a", (2, 3)), masks[0])


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: str(request.kind))
def test_plain_form_comes_back(request_: Request) -> None:
    assert Request.from_plain(request_.to_plain()) == request_


SIDE = 1 << 14
BAD: list[object] = [
    None,
    [],
    ["beaver.mul", [[1], [1]], ""],
    ["no such kind", [[1]], "", 0],
    ["beaver.mul", [[2], [3]], "", 0],
    ["beaver.mul", [[2]], "", 0],
    ["beaver.mul", [[-1], [1]], "", 0],
    ["beaver.mul", [[True], [1]], "", 0],
    ["beaver.mul", [[1.0], [1]], "", 0],
    ["beaver.mul", [[1], [1]], "w", 0],
    ["beaver.mul", [[1], [1]], "", 3],
    ["beaver.mul", "ab", "", 0],
    ["beaver.matmul", [[2, 3], [2, 3]], "", 0],
    ["beaver.matmul", [[SIDE, 1], [1, SIDE]], "", 0],
    ["beaver.square", [[MAX_ELEMENTS + 1]], "", 0],
    ["beaver.square", [[1] * 9], "", 0],
    ["linear", [[2, 3], [3, 4]], "", 0],
    ["linear", [[2, 3], [3, 4]], "w" * 300, 0],
    ["linear", [[2, 3], [4, 3]], "w", 0],
    ["truncate", [[3]], "", 0],
    ["truncate", [[3]], "", 63],
    ["truncate", [[3]], "", True],
    ["carry.leaf", [[3]], "", 0],
    ["carry.leaf", [[3]], "", 64],
    ["carry.leaf", [[3], [3]], "", 31],
    ["carry.leaf", [[MAX_ELEMENTS]], "", 31],
    ["carry.node", [[3]], "", 1],
    ["carry.node", [[3]], "", 33],
    ["b2a.packed", [[3]], "", 1],
]


@pytest.mark.parametrize("plain", BAD, ids=repr)
def test_what_makes_no_sense_is_refused(plain: object) -> None:
    with pytest.raises(PeerMismatch):
        Request.from_plain(plain)
