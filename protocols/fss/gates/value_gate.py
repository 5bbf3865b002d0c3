"""What gates have in common whose result is a function of a masked index, from one look-up."""

from __future__ import annotations

from abc import abstractmethod

import torch

from protocols.fss.executors.clear_side import ClearSide
from protocols.fss.executors.dealer_side import DealerSide
from protocols.fss.executors.gate import Gate, Message, Shares, exchange, shape_only
from protocols.fss.executors.party_side import PartySide
from protocols.fss.gates.lookup import PointLookup
from protocols.fss.gates.polynomial import deal_product, evaluate_product, key_correlations
from protocols.fss.preprocessing.correlations import Correlations
from protocols.share import Share


class ValueGate(Gate):
    """f of masked indices, an additive share each: one look-up, times a number that the dealer knows.

    Inputs: an index, or several, a result each: what they open travels together.

    Args:
        lookup: without the sign.
        frac_bits, ring_bits: of the result.
    """

    def __init__(self, lookup: PointLookup, *, frac_bits: int, ring_bits: int) -> None:
        self._lookup = lookup
        self._result_frac, self._result_bits = frac_bits, ring_bits

    def correlations(self, *inputs: Share) -> Correlations:
        correlations: Correlations = {}
        for i, index in enumerate(inputs):
            correlations |= {
                f"{name}{i}": item for name, item in self._lookup.correlations(index.shape).items()
            }
        for i, index in enumerate(inputs):
            correlations |= key_correlations(f"key{i}", self._lookup.forms(index.shape), self._result_bits)
        return correlations

    def messages(self, *inputs: Share) -> tuple[Message, ...]:
        return exchange(*(array for index in inputs for array in self._lookup.arrays(index.shape)))

    def outputs(self, *inputs: Share) -> Shares:
        return tuple(shape_only(index.shape, self._result_frac, self._result_bits) for index in inputs)

    def run(self, party: PartySide, *inputs: Share) -> Shares:
        results: list[Share] = []
        for index, opened in zip(inputs, self._lookup.run_each(party, inputs, self.reason), strict=True):
            forms, terms = self._lookup.forms(index.shape), self._lookup.coefficients(opened)
            results.append(self._result(evaluate_product(party, forms, terms, self._result_bits)))
        return tuple(results)

    def deal(self, dealing: DealerSide, *inputs: Share) -> Shares:
        answers = [self._lookup.deal(dealing, index) for index in inputs]
        for index, (opened, signs) in zip(inputs, answers, strict=True):
            known = self._lookup.secrets(opened, signs * self._factor(index.value), index)
            deal_product(dealing, self._lookup.forms(index.shape), known, self._result_bits)
        return self.outputs(*inputs)

    def clear(self, clear: ClearSide, *inputs: Share) -> Shares:
        return tuple(self._result(self._value(clear, index)) for index in inputs)

    def _factor(self, mask: torch.Tensor) -> torch.Tensor | int:
        """The dealer's number, from the index's mask."""
        return 1

    @abstractmethod
    def _value(self, clear: ClearSide, index: Share) -> torch.Tensor:
        """The function of an index. Raises RangeError at one that a private run may get wrong."""

    def _result(self, value: torch.Tensor) -> Share:
        return Share(value, self._result_frac, self._result_bits)
