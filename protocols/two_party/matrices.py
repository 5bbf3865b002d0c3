"""Matrix correlations: what one party encrypts times what the other knows."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import dataclasses
import math

import torch

from parties.link import Link
from parties.meter import CLIENT, SERVER
from parties.randomness import Randomness
from protocols.arithmetic.shapes import Shape
from protocols.kernels.ring_products import ring_bmm
from protocols.tensors import to_tensor, to_words
from protocols.two_party.correlations import Kind, Parts, Request
from protocols.two_party.primitives import FRAC_BITS
from protocols.two_party.rlwe.costs import answer_bytes, key_bytes, query_bytes
from protocols.two_party.rlwe.keys import EvaluationKeys, SecretKey, receive_keys, send_keys
from protocols.two_party.rlwe.matrix_evaluator import evaluator_product
from protocols.two_party.rlwe.matrix_holder import holder_product
from protocols.two_party.rlwe.parameters import (
    LEAST_ROWS,
    RlweParameters,
    largest_norm,
    matrix_parameters,
    private_norm,
)
from protocols.two_party.rlwe.tiles import MatrixShape

WEIGHT_BITS = FRAC_BITS + 1
"""A weight's columns have the norm of entries below 2 at most, in the mean; one column 64 times as much."""
_KeyId = tuple[int, tuple[int, ...]]
StockId = tuple[str, Kind, int]


def parameters_of(request: Request) -> RlweParameters:
    """The parameters under which a matrix correlation is made; the same for both parties."""
    inner = request.shapes[0][-1]
    if request.kind is Kind.MATMUL:
        return matrix_parameters(request.bits, private_norm(request.bits, inner))
    return matrix_parameters(request.bits, largest_norm(WEIGHT_BITS, inner))


def matmul_shape(request: Request) -> MatrixShape:
    """One of the two products of private factors that are encrypted."""
    left, right = request.shapes
    return MatrixShape(math.prod(left[:-2]), left[-2], left[-1], right[-1])


def linear_shape(request: Request, lacking: int) -> MatrixShape:
    """The product with a weight that is encrypted where `lacking` rows are not there yet.

    Rows fill ciphertexts of `LEAST_ROWS` at least: those left are for the layer's next uses, and cost their
    part of the answer alone.
    """
    right = request.shapes[1]
    inner, columns = right if request.kind is Kind.LINEAR else right[::-1]
    return MatrixShape(1, -(-lacking // LEAST_ROWS) * LEAST_ROWS, inner, columns)


def rows_of(request: Request) -> int:
    """Rows that a linear layer takes."""
    return math.prod(request.shapes[0][:-1])


def matmul_bytes(request: Request) -> int:
    """What both products of private matrices send, keys aside."""
    parameters, shape = parameters_of(request), matmul_shape(request)
    return 2 * (query_bytes(parameters, shape) + answer_bytes(parameters, shape))


def key_id(parameters: RlweParameters) -> _KeyId:
    """Parameters that differ in nothing else share a key."""
    return parameters.degree, parameters.primes


def stock_id(request: Request) -> StockId:
    """Which rows that were made before can be used."""
    return request.weight, request.kind, request.bits


class Matrices:
    """One party's side. Keys are sent when they are first needed.

    Args:
        link: to the other party.
        random: this party's own.
    """

    def __init__(self, link: Link, random: Randomness) -> None:
        assert link.rank is not None
        self._link, self._rank, self._random = link, link.rank, random
        self._own: dict[_KeyId, SecretKey[RlweParameters]] = {}
        self._theirs: dict[_KeyId, EvaluationKeys[RlweParameters]] = {}
        self._weights: dict[str, torch.Tensor | None] = {}
        self._stock: dict[StockId, Parts] = {}

    def hold(self, name: str, weight: torch.Tensor | None) -> None:
        """The server's weight of that name; None at the client."""
        self._weights[name] = weight

    def make(self, request: Request) -> Parts:
        """This party's part of a matrix correlation."""
        return self._matmul(request) if request.kind is Kind.MATMUL else self._linear(request)

    def _linear(self, request: Request) -> Parts:
        """The next rows of those that were made before, and of others where they do not suffice."""
        identity, rows = stock_id(request), rows_of(request)
        there = self._stock.get(identity, ())
        lacking = rows - (there[0].shape[0] if there else 0)
        if lacking > 0:
            fresh = self._make_rows(request, linear_shape(request, lacking))
            there = tuple(map(torch.cat, zip(there, fresh, strict=True))) if there else fresh
        self._stock[identity] = tuple(part[rows:].clone() for part in there)
        shapes = (request.shapes[0], request.result_shape)[-len(there) :]
        return tuple(part[:rows].reshape(shape) for part, shape in zip(there, shapes, strict=True))

    def _make_rows(self, request: Request, shape: MatrixShape) -> Parts:
        """Rows of the client's masks, at the client, and of this party's share of their products."""
        parameters = parameters_of(request)
        if self._rank == CLIENT:
            mask, key = self._words((shape.rows, shape.inner), request.bits), self._holder(parameters)
            share = holder_product(self._link, key, to_words(mask)[None], shape.columns, self._random)
            return mask, to_tensor(share)[0]
        weight = self._weights[request.weight]
        assert weight is not None
        right = (weight.T if request.kind is Kind.LINEAR_TRANSPOSED else weight).contiguous().numpy()
        keys = self._evaluator(parameters)
        share = evaluator_product(self._link, keys, right[None], shape.rows, self._random)
        return (to_tensor(share)[0],)

    def _matmul(self, request: Request) -> Parts:
        """(a_0 + a_1)(b_0 + b_1): each party's own product, and those of its a with the other's b."""
        parameters, shape = parameters_of(request), matmul_shape(request)
        a, b = (self._words(each, request.bits) for each in request.shapes)
        total = ring_bmm(a, b)
        for holder in (SERVER, CLIENT):
            if holder == self._rank:
                left = to_words(a).reshape(shape.batch, shape.rows, shape.inner)
                share = holder_product(
                    self._link, self._holder(parameters), left, shape.columns, self._random
                )
            else:
                unused = 64 - request.bits
                right = ((b << unused) >> unused).reshape(shape.batch, shape.inner, shape.columns).numpy()
                share = evaluator_product(
                    self._link, self._evaluator(parameters), right, shape.rows, self._random
                )
            total = total + to_tensor(share).reshape(request.result_shape)
        return a, b, total

    def _holder(self, parameters: RlweParameters) -> SecretKey[RlweParameters]:
        identity = key_id(parameters)
        if identity not in self._own:
            self._own[identity] = send_keys(self._link, parameters, self._random)
        return dataclasses.replace(self._own[identity], parameters=parameters)

    def _evaluator(self, parameters: RlweParameters) -> EvaluationKeys[RlweParameters]:
        identity = key_id(parameters)
        if identity not in self._theirs:
            self._theirs[identity] = receive_keys(self._link, parameters)
        return dataclasses.replace(self._theirs[identity], parameters=parameters)

    def _words(self, shape: Shape, bits: int) -> torch.Tensor:
        return torch.from_numpy(self._random.words(shape, bits))


class MatrixCosts:
    """What `Matrices` sends, without a run."""

    def __init__(self) -> None:
        self._sent: set[tuple[int, _KeyId]] = set()
        self._stock: dict[StockId, int] = {}

    def count(self, request: Request) -> tuple[int, int]:
        """Bytes to the server and to the client for one correlation, keys included where they are new."""
        if request.kind is Kind.MATMUL:
            shape = matmul_shape(request)
        else:
            identity, rows = stock_id(request), rows_of(request)
            there = self._stock.get(identity, 0)
            shape = linear_shape(request, max(rows - there, 0))
            self._stock[identity] = there + shape.rows - rows
            if not shape.rows:
                return 0, 0
        parameters, to = parameters_of(request), [0, 0]
        for holder in (SERVER, CLIENT) if request.kind is Kind.MATMUL else (CLIENT,):
            if (holder, key_id(parameters)) not in self._sent:
                self._sent.add((holder, key_id(parameters)))
                to[1 - holder] += key_bytes(parameters)
            to[1 - holder] += query_bytes(parameters, shape)
            to[holder] += answer_bytes(parameters, shape)
        return to[SERVER], to[CLIENT]
