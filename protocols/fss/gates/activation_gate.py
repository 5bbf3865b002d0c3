"""What gates of activations have in common: a ramp, less what a look-up tells, times further factors."""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from abc import abstractmethod

import torch

from parties.errors import ConfigError
from protocols.fss.executors.clear_side import ClearSide
from protocols.fss.executors.dealer_side import DealerSide
from protocols.fss.executors.gate import Gate, Message, Shares, exchange, shape_only
from protocols.fss.executors.party_side import PartySide
from protocols.fss.gates.lookup import PointLookup
from protocols.fss.gates.polynomial import Form, deal_product, evaluate_product, form_of, key_correlations
from protocols.fss.gates.terms import coefficients, secrets
from protocols.fss.preprocessing.correlations import Correlations
from protocols.meta_tensors import broadcast
from protocols.share import Held, Share


class ActivationGate(Gate):
    """y = d x - c of a masked x and its index, d = 1{i >= 0}, times further masked factors.

    A look-up of the index opens d, and what it looks up is c, by which a ramp exceeds the activation.
    Subclasses say in which order the inputs come.

    Args:
        lookup: with the sign.
        x_frac: fraction bits of x.
        frac_bits, ring_bits: of the result, where there are no further factors.
        ramp_shift: fraction bits that the result has beyond those of d x.
        lack_shift: fraction bits that the result has beyond those of c.
    """

    def __init__(
        self,
        lookup: PointLookup,
        *,
        x_frac: int,
        frac_bits: int,
        ring_bits: int,
        ramp_shift: int = 0,
        lack_shift: int = 0,
    ) -> None:
        self._lookup, self._x_frac = lookup, x_frac
        self._result_frac, self._result_bits = frac_bits, ring_bits
        self._ramp_shift, self._lack_shift = ramp_shift, lack_shift

    @abstractmethod
    def _wires(self, *inputs: Share) -> tuple[Share, Share, tuple[Share, ...]]:
        """x, its index and further factors."""

    @abstractmethod
    def _alone(self, clear: ClearSide, x: Share, index: Share) -> torch.Tensor:
        """y without further factors."""

    def correlations(self, *inputs: Share) -> Correlations:
        _, index, _ = self._wires(*inputs)
        ramp, lack = self._products(*inputs)
        correlations = self._lookup.correlations(index.shape)
        correlations.update(key_correlations("ramp", ramp, self._result_bits - self._ramp_shift))
        if lack:
            correlations.update(key_correlations("lack", lack, self._result_bits - self._lack_shift))
        return correlations

    def messages(self, *inputs: Share) -> tuple[Message, ...]:
        _, index, _ = self._wires(*inputs)
        return exchange(*self._lookup.arrays(index.shape))

    def outputs(self, *inputs: Share) -> Shares:
        shape = broadcast(*(x.shape for x in inputs))
        return (shape_only(shape, self._scale(*inputs), self._result_bits),)

    def run(self, party: PartySide, *inputs: Share) -> Shares:
        x, index, factors = self._wires(*inputs)
        self._check(x, *factors)
        opened, (ramp, lack) = self._lookup.run(party, index, self.reason), self._products(*inputs)
        assert opened.sign is not None
        others = [coefficients(factor) for factor in factors]
        terms = [coefficients(opened.sign), coefficients(x), *others]
        value = evaluate_product(party, ramp, terms, self._result_bits - self._ramp_shift)
        value.bitwise_left_shift_(self._ramp_shift)
        if lack:
            known, bits = self._lookup.coefficients(opened), self._result_bits - self._lack_shift
            value -= evaluate_product(party, lack, [*known, *others], bits) << self._lack_shift
        return (Share(value, self._scale(*inputs), self._result_bits),)

    def deal(self, dealing: DealerSide, *inputs: Share) -> Shares:
        x, index, factors = self._wires(*inputs)
        (opened, signs), (ramp, lack) = self._lookup.deal(dealing, index), self._products(*inputs)
        assert opened.sign is not None
        others = [secrets(factor) for factor in factors]
        terms = [secrets(opened.sign), secrets(x), *others]
        deal_product(dealing, ramp, terms, self._result_bits - self._ramp_shift)
        if lack:
            known, bits = self._lookup.secrets(opened, signs, index), self._result_bits - self._lack_shift
            deal_product(dealing, lack, [*known, *others], bits)
        return self.outputs(*inputs)

    def clear(self, clear: ClearSide, *inputs: Share) -> Shares:
        x, index, factors = self._wires(*inputs)
        value = self._alone(clear, x, index)
        exact = value.double()
        for factor in factors:
            value, exact = value * factor.value, exact * factor.value.double()
        clear.check_magnitude(exact, self._result_bits, self._scale(*inputs))
        return (Share(value, self._scale(*inputs), self._result_bits),)

    def _products(self, *inputs: Share) -> tuple[list[Form], list[Form]]:
        """The forms of d x and of c, each with those of further factors; none of c where it is zero."""
        x, index, factors = self._wires(*inputs)
        others, sign = [form_of(factor) for factor in factors], self._lookup.shapes(index.shape).sign
        assert sign is not None
        lack = self._lookup.forms(index.shape)
        return [form_of(sign), form_of(x), *others], [*lack, *others] if lack else []

    def _check(self, x: Share, *factors: Share) -> None:
        assert x.frac_bits == self._x_frac, f"{x!r} instead of {self._x_frac} fraction bits"
        for wire in (x, *factors):
            assert wire.held is Held.MASKED, f"{wire!r} is not masked"
            if wire.drop is None and wire.ring_bits < self._result_bits:
                raise ConfigError(f"{wire!r} is read into {self._result_bits} bits: take a view")

    def _scale(self, *inputs: Share) -> int:
        _, _, factors = self._wires(*inputs)
        return self._result_frac + sum(factor.frac_bits for factor in factors)
