"""CrypTen's provider of correlated randomness, on a `CorrelationSource`."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from functools import lru_cache
from typing import Any, NoReturn

import torch

from parties.errors import ConfigError
from protocols.additive.correlations import Kind, Request
from protocols.additive.crypten.communicator import LinkCommunicator
from protocols.additive.source import Correlation, CorrelationSource
from protocols.arithmetic.shapes import Shape

_KINDS = {"mul": Kind.MUL, "matmul": Kind.MATMUL}


class Provider:
    """Takes each correlation from the source and tells the communicator that it may mask one opening.

    Args:
        arithmetic, binary: CrypTen's ArithmeticSharedTensor and BinarySharedTensor.
    """

    def __init__(
        self, source: CorrelationSource, communicator: LinkCommunicator, arithmetic: Any, binary: Any
    ) -> None:
        self._source, self._communicator = source, communicator
        self._arithmetic, self._binary = arithmetic, binary

    def take(self, kind: Kind, *shapes: torch.Size, weight: str = "", bits: int = 0) -> Correlation:
        """A correlation, announced to the communicator as the mask of the next opening."""
        return self.take_request(_request(kind, tuple(tuple(shape) for shape in shapes), weight, bits))

    def take_request(self, request: Request) -> Correlation:
        """See `take`."""
        correlation = self._source.take(request)
        self._communicator.mask(str(request.kind))
        return correlation

    # -- what CrypTen calls -------------------------------------------------------------------------------

    def generate_additive_triple(
        self, size0: torch.Size, size1: torch.Size, op: str, device: object = None, *args: Any, **kwargs: Any
    ) -> tuple[Any, Any, Any]:
        """Shares of a, b and op(a, b)."""
        if op not in _KINDS or args or kwargs:
            raise ConfigError(f"the dealer makes no triples for {op}; only for mul and matmul")
        dealt = self.take(_KINDS[op], size0, size1)
        a, b, c = (self._arithmetic.from_shares(share, precision=0) for share in _flat(dealt))
        return a, b, c

    def square(self, size: torch.Size, device: object = None) -> tuple[Any, Any]:
        """Shares of r and r^2."""
        dealt = self.take(Kind.SQUARE, size)
        r, r2 = (self._arithmetic.from_shares(share, precision=0) for share in _flat(dealt))
        return r, r2

    def generate_binary_triple(
        self, size0: torch.Size, size1: torch.Size, device: object = None
    ) -> tuple[Any, Any, Any]:
        """XOR shares of words a, b and a & b."""
        dealt = self.take(Kind.AND, size0, size1)
        a, b, c = (self._binary.from_shares(share, precision=0) for share in _flat(dealt))
        return a, b, c

    def B2A_rng(self, size: torch.Size, device: object = None) -> tuple[Any, Any]:
        """A random bit, additively shared and XOR-shared."""
        dealt = self.take(Kind.BIT, size)
        additive = self._arithmetic.from_shares(dealt.results[0], precision=0)
        return additive, self._binary.from_shares(dealt.masks[0], precision=0)

    def wrap_rng(self, size: torch.Size, device: object = None) -> tuple[Any, Any]:
        """Only three and more parties truncate with it."""
        raise ConfigError("the dealer makes no wrap counts: they are for three and more parties")

    def refuse_cache(self, *args: object, **kwargs: object) -> NoReturn:
        """The library's cache of tuples breaks on torch 2.13 and uses torch.load; `prefetch` replaces it."""
        raise ConfigError("CrypTen's tuple cache does not work here: announce correlations with prefetch")

    trace = trace_once = fill_cache = load_cache = save_cache = refuse_cache


@lru_cache(maxsize=4096)
def _request(kind: Kind, shapes: tuple[Shape, ...], weight: str, bits: int) -> Request:
    """The same operations come again with every token."""
    return Request(kind, shapes, weight, bits)


def _flat(dealt: Correlation) -> list[torch.Tensor]:
    return [*dealt.masks, *dealt.results]
