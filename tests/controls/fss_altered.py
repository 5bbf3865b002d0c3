"""Gates that a dealer or a party runs in a wrong way. The FSS conformance suite must reject them."""

from __future__ import annotations

from collections.abc import Callable
from unittest.mock import patch

import torch

from protocols.fss.executors.clear import Clear
from protocols.fss.executors.dealing import Dealing
from protocols.fss.executors.gate import Gate, Message, Shares
from protocols.fss.executors.party import Party
from protocols.fss.preprocessing.correlations import Correlations, Dpf, Idpf, Mask, Shared
from protocols.fss.tables.cells import Cells
from protocols.share import Share


class Altered(Gate):
    """A gate that its negative controls run in their own ways."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def correlations(self, *inputs: Share) -> Correlations:
        return self._gate.correlations(*inputs)

    def messages(self, *inputs: Share) -> tuple[Message, ...]:
        return self._gate.messages(*inputs)

    def outputs(self, *inputs: Share) -> Shares:
        return self._gate.outputs(*inputs)

    def run(self, party: Party, *inputs: Share) -> Shares:
        return self._gate.run(party, *inputs)

    def deal(self, dealing: Dealing, *inputs: Share) -> Shares:
        return self._gate.deal(dealing, *inputs)

    def clear(self, clear: Clear, *inputs: Share) -> Shares:
        return self._gate.clear(clear, *inputs)


class SignForgotten(Altered):
    """Opens V = s T[i] and takes it for T[i]: the dealer shares 1 for the sign."""

    def deal(self, dealing: Dealing, *inputs: Share) -> Shares:
        honest = dealing.point_keys

        def without_signs(item: Dpf, alpha: torch.Tensor) -> torch.Tensor:
            return honest(item, alpha).abs()

        with patch.object(dealing, "point_keys", without_signs):
            return super().deal(dealing, *inputs)


class RestForgotten(Altered):
    """`RangeReduction` without what a number lacks to its cell: the dealer's payload is zero."""

    def deal(self, dealing: Dealing, *inputs: Share) -> Shares:
        honest = dealing.prefix_keys

        def without_rests(item: Idpf, alpha: torch.Tensor, payload: torch.Tensor) -> None:
            honest(item, alpha, torch.zeros_like(payload))

        with patch.object(dealing, "prefix_keys", without_rests):
            return super().deal(dealing, *inputs)


class PlaceForgotten(Altered):
    """A gate whose dealer takes the mask's place in its cell for the middle: a slope without effect, or exp
    of a whole cell."""

    def deal(self, dealing: Dealing, *inputs: Share) -> Shares:
        honest = Cells.split

        def without_places(cells: Cells, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            cell, place = honest(cells, value)
            return cell, torch.full_like(place, 1 << (cells.rest_bits - 1))

        with patch.object(Cells, "split", without_places):
            return super().deal(dealing, *inputs)


class OneMaskForValueAndSlope(Altered):
    """`LineActivation` that opens a line's slope under the low bits of its value's mask."""

    def run(self, party: Party, *inputs: Share) -> Shares:
        with patch.object(party, "mask", _first_mask_twice(party.mask)):
            return super().run(party, *inputs)

    def deal(self, dealing: Dealing, *inputs: Share) -> Shares:
        with patch.object(dealing, "mask", _first_mask_twice(dealing.mask)):
            return super().deal(dealing, *inputs)


def _first_mask_twice(honest: Callable[[Mask], torch.Tensor]) -> Callable[[Mask], torch.Tensor]:
    """Hands out the first mask once more for the second."""
    drawn: list[torch.Tensor] = []

    def mask(item: Mask) -> torch.Tensor:
        drawn.append(drawn[0] if len(drawn) == 1 else honest(item))
        return drawn[-1]

    return mask


class WrapForgotten(Altered):
    """`Widen` as if no ring ever wrapped around: the dealer shares zeros."""

    def deal(self, dealing: Dealing, *inputs: Share) -> Shares:
        honest = dealing.share

        def zeros(item: Shared, value: torch.Tensor) -> None:
            honest(item, torch.zeros_like(value))

        with patch.object(dealing, "share", zeros):
            return super().deal(dealing, *inputs)


class WrapOpened(Altered):
    """`Widen` without a fresh mask: what is opened says whether the ring wrapped around."""

    def run(self, party: Party, *inputs: Share) -> Shares:
        honest = party.mask
        with patch.object(party, "mask", lambda item: 0 * honest(item)):
            return super().run(party, *inputs)

    def deal(self, dealing: Dealing, *inputs: Share) -> Shares:
        honest = dealing.mask
        with patch.object(dealing, "mask", lambda item: 0 * honest(item)):
            return super().deal(dealing, *inputs)
