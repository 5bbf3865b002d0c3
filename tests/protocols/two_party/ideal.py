"""Correlations of an ideal functionality: both parties draw all of it from one seed. NOT SECURE."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from parties.meter import CLIENT, SERVER
from parties.randomness import InsecureTestRandom
from protocols.arithmetic.shapes import Shape
from protocols.kernels.ring_products import ring_bmm, ring_matmul
from protocols.two_party.correlations import PLACE_BITS, Correlations, Kind, Parts, Request


class IdealCorrelations(Correlations):
    """Every party's part, made by whoever asks.

    Args:
        rank: whose part.
        seed: the same at both.
    """

    def __init__(self, rank: int, seed: int) -> None:
        self._rank, self._random = rank, InsecureTestRandom(seed)
        self._weights: dict[str, torch.Tensor | None] = {}
        self._kept: dict[tuple[str, Kind], torch.Tensor] = {}
        self.taken: list[Request] = []

    def hold(self, name: str, weight: torch.Tensor | None, shape: Shape) -> None:
        self._weights[name] = weight

    def announce(self, requests: Iterable[Request]) -> None:
        pass

    def take(self, request: Request) -> Parts:
        self.taken.append(request)
        match request.kind:
            case Kind.LINEAR | Kind.LINEAR_TRANSPOSED:
                return self._linear(request)
            case Kind.SCORES | Kind.MIX:
                return self._attention(request)
            case Kind.DIGIT:
                return self._digit(request.elements)
            case Kind.WRAP:
                bits = self._words((2, *request.shapes[0]), 1)
                return bits[self._rank], self._share(bits[0] * bits[1])
            case Kind.PLACE_128 | Kind.PLACE_256:
                return self._place(request)
            case Kind.TRANSFER:
                return self._transfer(request.elements)
            case Kind.AND:
                a, b = (self._words(request.shapes[0], 1) for _ in range(2))
                return tuple(self._xor_share(value).to(torch.uint8) for value in (a, b, a & b))
            case _:
                return self._additive(request)

    def _additive(self, request: Request) -> Parts:
        shapes = request.shapes
        match request.kind:
            case Kind.SQUARE:
                r = self._words(shapes[0])
                return self._share(r), self._share(r * r)
            case Kind.PRODUCT | Kind.MATMUL:
                a, b = (self._words(shape) for shape in shapes)
                product = a * b if request.kind is Kind.PRODUCT else ring_bmm(a, b)
                return self._share(a), self._share(b), self._share(product)
            case _:
                bit = self._words(shapes[0], 1)
                xor = self._xor_share(bit)
                if request.kind is Kind.BIT:
                    return xor, self._share(bit)
                number = self._words(shapes[0])
                return xor, self._share(bit), self._share(number), self._share(bit * number)

    def _linear(self, request: Request) -> Parts:
        x, _ = request.shapes
        a, client = self._words(x), self._words(request.result_shape)
        if self._rank == CLIENT:
            return a, client
        weight = self._weights[request.weight]
        assert weight is not None
        product = ring_matmul(a, weight.T.contiguous() if request.kind is Kind.LINEAR_TRANSPOSED else weight)
        return (product - client,)

    def _attention(self, request: Request) -> Parts:
        """Keys' masks are drawn anew from the token on with which a request begins."""
        tokens, keys = request.shapes[0][-2], request.shapes[1][-2]
        *lead, groups, _, width = request.shapes[0]
        identity = (request.weight, request.kind)
        fresh = self._words((2, *lead, tokens, width))
        before = self._kept.get(identity, fresh[..., :0, :])[..., : keys - tokens, :]
        self._kept[identity] = torch.cat([before, fresh], -2)
        assert self._kept[identity].shape[-2] == keys
        right = self._kept[identity].sum(0).unsqueeze(-3)
        columns = width if request.kind is Kind.SCORES else keys
        left = self._words((*lead, groups, tokens, columns))
        if request.kind is Kind.SCORES:
            right = right.transpose(-1, -2)
        else:
            left = left.tril(keys - tokens)
        product = ring_bmm(left, right)
        own = self._share(left)
        mask = own.tril(keys - tokens) if request.kind is Kind.MIX else own
        return mask, fresh[self._rank], self._share(product)

    def _digit(self, count: int) -> Parts:
        entries = self._random.uint8((count, 16)) & np.uint8(3)
        places = self._random.uint8((count,)) & np.uint8(15)
        if self._rank == SERVER:
            tables = (entries.astype(np.uint32) << np.arange(0, 32, 2, dtype=np.uint32)).sum(
                1, dtype=np.uint32
            )
            return (torch.from_numpy(tables.view(np.int32)),)
        return torch.from_numpy(places), torch.from_numpy(entries[np.arange(count), places])

    def _place(self, request: Request) -> Parts:
        count, digit = request.elements, PLACE_BITS[request.kind]
        index = self._words((count,), request.bits)
        rows: list[torch.Tensor] = []
        for value, bits in ((index & ((1 << digit) - 1), digit), (index >> digit, request.bits - digit)):
            row = torch.nn.functional.one_hot(value, 1 << bits)
            if bits < 6:
                row = torch.nn.functional.pad(row, (0, 64 - (1 << bits)))
            words = (row.reshape(count, -1, 64) << torch.arange(64)).sum(-1)
            own = self._words(tuple(words.shape))
            rows.append(own if self._rank == SERVER else own ^ words)
        return self._share(index), *rows

    def _transfer(self, count: int) -> Parts:
        masks = self._words((2, 2, count))
        choices = self._words((2, count), 1)
        known = torch.where(choices.bool(), masks[:, 1], masks[:, 0])
        mine, theirs = self._rank, 1 - self._rank
        return masks[mine, 0], masks[mine, 1], choices[theirs].to(torch.uint8), known[theirs]

    def _share(self, value: torch.Tensor) -> torch.Tensor:
        own = self._words(tuple(value.shape))
        return own if self._rank == SERVER else value - own

    def _xor_share(self, bit: torch.Tensor) -> torch.Tensor:
        own = self._words(tuple(bit.shape), 1)
        return own if self._rank == SERVER else own ^ bit

    def _words(self, shape: Shape, bits: int = 64) -> torch.Tensor:
        return torch.from_numpy(self._random.words(shape, bits))
