"""Matrix correlations: what one party encrypts times what the other knows."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from parties.errors import RangeError
from parties.link import Link
from parties.meter import CLIENT, SERVER
from parties.randomness import Randomness
from protocols.arithmetic.shapes import Shape
from protocols.kernels.ring_products import ring_bmm
from protocols.rlwe.costs import answer_bytes, key_bytes, query_bytes
from protocols.rlwe.keys import EvaluationKeys, SecretKey, receive_keys, send_keys
from protocols.rlwe.matrix_evaluator import RightFactor, products_together
from protocols.rlwe.matrix_holder import receive_share, send_left
from protocols.rlwe.parameters import (
    NORM_SLACK,
    RlweParameters,
    largest_norm,
    matrix_parameters,
    private_norm,
)
from protocols.rlwe.tiles import MatrixShape
from protocols.tensors import to_tensor, to_words
from protocols.two_party.correlations import KEPT, Kind, Parts, Request
from protocols.two_party.kv_products import Factors, KeptRows
from protocols.two_party.primitives import FRAC_BITS, MOST_ANSWERS
from protocols.two_party.spare_rows import KeptStock, Stock, StockId, rows_of, stock_id

WEIGHT_BITS = FRAC_BITS + 1
"""A weight's columns have the norm of entries below 2 at most, in the mean; one column 64 times as much."""
TOGETHER = 4
"""Linear layers whose masks are sent before the first answer, so that no thread of the server idles."""
_KeyId = tuple[int, tuple[int, ...], int]


def parameters_of(request: Request) -> RlweParameters:
    """The parameters under which a matrix correlation is made; the same for both parties."""
    inner = request.shapes[0][-1]
    if request.kind is Kind.MATMUL:
        return matrix_parameters(request.bits, private_norm(request.bits, inner), MOST_ANSWERS)
    return matrix_parameters(request.bits, largest_norm(WEIGHT_BITS, inner), MOST_ANSWERS)


def matrix_shape(request: Request, rows: int) -> MatrixShape:
    """The products that are encrypted: of so many rows and a weight, or one of the two of private factors."""
    left, right = request.shapes
    if request.kind is Kind.MATMUL:
        return MatrixShape(math.prod(left[:-2]), rows, left[-1], right[-1])
    inner, columns = right if request.kind is Kind.LINEAR else right[::-1]
    return MatrixShape(1, rows, inner, columns)


def require_norm(name: str, weight: torch.Tensor) -> None:
    """That products with a weight, or its transpose, are within what `parameters_of` assumes; see `hold`."""
    squares, most = weight.double().square(), 4.0**WEIGHT_BITS
    columns = max(float(squares.mean(axis).max()) for axis in (0, 1)) if squares.numel() else 0.0
    if columns > most * NORM_SLACK**2 or float(squares.mean()) > most:
        limit = 2.0 ** (WEIGHT_BITS - FRAC_BITS)
        raise RangeError(
            f"{name}: entries of root mean square {float(squares.mean()) ** 0.5 / 2.0**FRAC_BITS:.4g}, the "
            f"suite two-party multiplies with {limit:g} at most, {NORM_SLACK * limit:g} in one column"
        )


def matmul_bytes(request: Request) -> int:
    """What both products of private matrices send, keys aside."""
    parameters, shape = parameters_of(request), matrix_shape(request, request.shapes[0][-2])
    return 2 * (query_bytes(parameters, shape) + answer_bytes(parameters, shape))


def key_id(parameters: RlweParameters) -> _KeyId:
    """Parameters that differ in nothing else share a key."""
    return parameters.degree, parameters.primes, parameters.digits


@dataclass(frozen=True, slots=True)
class _Encrypted:
    """A product that one party encrypts a factor of, of so many rows: of a request, or more than it takes."""

    request: Request
    rows: int

    @property
    def shape(self) -> MatrixShape:
        return matrix_shape(self.request, self.rows)


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
        self._stock = Stock()
        self._rows: dict[StockId, Parts] = {}
        self._kept = KeptRows(self._multiply, random)

    def hold(self, name: str, weight: torch.Tensor | None) -> None:
        """The server's weight of that name; None at the client.

        Raises:
            RangeError: entries so large that products could be wrong, or their noise not be hidden.
        """
        if weight is not None and weight.dim() == 2:
            require_norm(name, weight)
        self._weights[name] = weight

    def make(self, requests: Sequence[Request]) -> list[Parts]:
        """This party's parts of matrix correlations: of matrices alone, or of linear layers alone.

        Whoever encrypts sends the next factor before it waits for the answer to one: neither party idles.
        """
        if requests[0].kind in KEPT:
            return self._kept.make(requests)
        if requests[0].kind is Kind.MATMUL:
            return self._matmuls(requests)
        lacking = [_Encrypted(request, self._stock.take(request)) for request in requests]
        made = iter(self._rows_for([each for each in lacking if each.rows]))
        return [self._taken_rows(each.request, next(made) if each.rows else ()) for each in lacking]

    def _taken_rows(self, request: Request, fresh: Parts) -> Parts:
        """The next rows of those that were made before, and of fresh ones; those left are kept."""
        identity, rows = stock_id(request), rows_of(request)
        there = self._rows.pop(identity, ())
        if fresh:
            there = tuple(map(torch.cat, zip(there, fresh, strict=True))) if there else fresh
        if there[0].shape[0] > rows:
            self._rows[identity] = tuple(part[rows:].clone() for part in there)
        shapes = (request.shapes[0], request.result_shape)[-len(there) :]
        return tuple(part[:rows].reshape(shape) for part, shape in zip(there, shapes, strict=True))

    def _rows_for(self, encrypted: Sequence[_Encrypted]) -> list[Parts]:
        """Rows of the client's masks, at the client, and of this party's share of their products."""
        together = [encrypted[i : i + TOGETHER] for i in range(0, len(encrypted), TOGETHER)]
        if self._rank == SERVER:
            return [(share,) for some in together for share in self._of_weights(some)]
        masks: list[torch.Tensor] = []
        shares: list[torch.Tensor] = []
        for some, before in zip([*together, []], [[], *together], strict=True):
            for each in some:
                masks.append(self._words((each.rows, each.shape.inner), each.request.bits))
                self._send_left(each, masks[-1])
            shares += [self._receive_share(each)[0] for each in before]
        return list(zip(masks, shares, strict=True))

    def _matmuls(self, requests: Sequence[Request]) -> list[Parts]:
        """Random matrices and their products."""
        factors = [self._factors(request) for request in requests]
        products = self._multiply(requests, factors)
        return [(a, b, product) for (a, b), product in zip(factors, products, strict=True)]

    def _factors(self, request: Request) -> Factors:
        a, b = (self._words(shape, request.bits) for shape in request.shapes)
        return a, b

    def _multiply(self, requests: Sequence[Request], factors: Sequence[Factors]) -> list[torch.Tensor]:
        """(a_0 + a_1)(b_0 + b_1): each party's own product, and those of its a with the other's b.

        In both directions at once: a party multiplies the other's a and sends its next one, and only then
        waits for the answer to the one before.
        """
        products: list[torch.Tensor] = []
        encrypted = [_Encrypted(request, request.shapes[0][-2]) for request in requests]
        if encrypted:
            self._send_left(encrypted[0], factors[0][0])
        for number, (each, (a, b)) in enumerate(zip(encrypted, factors, strict=True)):
            cross = self._times_right(each, b)
            if number + 1 < len(encrypted):
                self._send_left(encrypted[number + 1], factors[number + 1][0])
            cross += self._receive_share(each)
            products.append(ring_bmm(a, b) + cross.reshape(each.request.result_shape))
        return products

    def _of_weights(self, some: Sequence[_Encrypted]) -> list[torch.Tensor]:
        factors = (self._right(each, self._weight(each.request)) for each in some)
        return [to_tensor(share[0]) for share in products_together(self._link, factors, self._random)]

    def _weight(self, request: Request) -> torch.Tensor:
        weight = self._weights[request.weight]
        assert weight is not None
        return weight.T if request.kind is Kind.LINEAR_TRANSPOSED else weight

    def _times_right(self, each: _Encrypted, right: torch.Tensor) -> torch.Tensor:
        """This party's share of what the other encrypted times a right factor modulo 2^bits."""
        (share,) = products_together(self._link, [self._right(each, right)], self._random)
        return to_tensor(share)

    def _right(self, each: _Encrypted, right: torch.Tensor) -> RightFactor:
        """Receives keys where they come first with this product's query."""
        shape, unused = each.shape, 64 - each.request.bits
        factor = ((right << unused) >> unused).reshape(shape.batch, shape.inner, shape.columns)
        keys = self._evaluator(parameters_of(each.request))
        return RightFactor(keys, factor.contiguous().numpy(), shape.rows)

    def _send_left(self, each: _Encrypted, left: torch.Tensor) -> None:
        shape = each.shape
        numbers = to_words(left).reshape(shape.batch, shape.rows, shape.inner)
        send_left(self._link, self._holder(parameters_of(each.request)), numbers, shape, self._random)

    def _receive_share(self, each: _Encrypted) -> torch.Tensor:
        share = receive_share(self._link, self._holder(parameters_of(each.request)), each.shape)
        return to_tensor(share)

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
        self._stock, self._kept = Stock(), KeptStock()

    def count(self, request: Request) -> tuple[int, int]:
        """Bytes to the server and to the client for one correlation, keys included where they are new."""
        if request.kind in KEPT:
            block = self._kept.take(request)
            request, rows = block.product, block.fresh and block.product.shapes[0][-2]
        else:
            rows = request.shapes[0][-2] if request.kind is Kind.MATMUL else self._stock.take(request)
        if not rows:
            return 0, 0
        parameters, shape, to = parameters_of(request), matrix_shape(request, rows), [0, 0]
        for holder in (SERVER, CLIENT) if request.kind is Kind.MATMUL else (CLIENT,):
            if (holder, key_id(parameters)) not in self._sent:
                self._sent.add((holder, key_id(parameters)))
                to[1 - holder] += key_bytes(parameters)
            to[1 - holder] += query_bytes(parameters, shape)
            to[holder] += answer_bytes(parameters, shape)
        return to[SERVER], to[CLIENT]
