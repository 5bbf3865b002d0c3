"""Sessions whose masks are used twice, in one way each; a joint test of all openings must tell.

Dealer and parties agree on the masks, and every single opening is uniform. What is wrong shows in two
together.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from unittest.mock import patch

import torch

from mpcinfer.suites.fss.range_check import plain_name
from parties.meter import CLIENT
from parties.randomness import AesCtrStream, Randomness
from protocols.fss.executors.dealing import Dealing
from protocols.fss.executors.gate import Gate, Shares
from protocols.fss.executors.party import Party
from protocols.fss.executors.preparation import Preparation
from protocols.fss.gates import linear
from protocols.fss.gates.linear import Linear
from protocols.fss.preprocessing import seeds
from protocols.fss.preprocessing.correlations import Correlation, Mask
from protocols.fss.preprocessing.seeds import PartySeeds
from protocols.fss.ring import low
from protocols.seeding import derive_key
from protocols.share import Share
from protocols.tensors import drawn

Executor = Party | Dealing
Hand = Callable[[str, Mask, torch.Tensor], torch.Tensor]
"""By the place in the program, what is handed out in place of a mask that was just drawn."""


@contextmanager
def _handing(hand: Callable[[], Hand]) -> Generator[None]:
    """Parties and dealer hand out masks in that way, each in every pass afresh; they draw as ever."""

    def replaced(honest: Callable[..., torch.Tensor]) -> Callable[[Executor, Correlation], torch.Tensor]:
        def mask(executor: Executor, item: Correlation) -> torch.Tensor:
            assert isinstance(item, Mask)
            own: Hand = vars(executor).setdefault("hand", hand())
            return own(executor.meter.label, item, honest(executor, item)).clone()

        return mask

    with ExitStack() as stack:
        for kind in (Party, Dealing):
            stack.enter_context(patch.object(kind, "mask", replaced(kind.mask)))
        yield


def _again_elsewhere() -> Hand:
    """A mask serves once more at the next place that wants one of its shape and width."""
    before: dict[tuple[tuple[int, ...], int], tuple[str, torch.Tensor]] = {}

    def hand(label: str, item: Mask, fresh: torch.Tensor) -> torch.Tensor:
        key = item.shape, item.bits
        place, mask = before.pop(key, (label, fresh))
        if place != label:
            return mask
        before[key] = label, fresh
        return fresh

    return hand


def _again_in_later_layers() -> Hand:
    """All layers have the masks of the first, where they are as wide."""
    count, of_first = Counter[str](), dict[tuple[str, int, int], torch.Tensor]()

    def hand(label: str, item: Mask, fresh: torch.Tensor) -> torch.Tensor:
        count[label] += 1
        place = re.sub(r"^layer\d+", "layer", label)
        mask = of_first.setdefault((place, count[label], item.bits), fresh)
        return mask if mask.shape == fresh.shape else fresh

    return hand


@contextmanager
def _one_for_value_and_sign() -> Generator[None]:
    """What a look-up opens as a sign has the lowest bit of its value's mask."""

    def first_of_gate(honest: Callable[..., Shares]) -> Callable[..., Shares]:
        def apply(executor: Executor, gate: Gate, *inputs: Share) -> Shares:
            vars(executor)["hand"] = hand()
            return honest(executor, gate, *inputs)

        return apply

    def hand() -> Hand:
        masks: list[torch.Tensor] = []

        def of_gate(label: str, item: Mask, fresh: torch.Tensor) -> torch.Tensor:
            masks.append(fresh)
            is_sign = item.bits == 1 and masks[0].shape == fresh.shape
            return low(masks[0], 1) if is_sign else fresh

        return of_gate

    with ExitStack() as stack:
        stack.enter_context(_handing(hand))
        for kind in (Party, Dealing):
            stack.enter_context(patch.object(kind, "apply", first_of_gate(kind.apply)))
        yield


def _one_for_all_passes() -> AbstractContextManager[object]:
    """A pass's number is forgotten where its streams are made."""

    def stream(seeds: PartySeeds, run: int, use: str) -> Randomness:
        return AesCtrStream(derive_key(seeds.main, f"run 0 {use}"))

    return patch.object(PartySeeds, "_stream", stream)


@contextmanager
def _one_for_both_sides() -> Generator[None]:
    """Where a linear layer's result is as large as its input, the client has one mask for both."""
    prepare, deal = Linear.prepare, Linear.deal

    def prepared(layer: Linear, preparation: Preparation, *inputs: Share) -> Shares:
        (x,) = inputs
        honest, draws = preparation.draw, 0

        def draw(shape: tuple[int, ...], bits: int) -> torch.Tensor:
            nonlocal draws
            draws += 1  # the first is the summand of the product
            fresh = honest(shape, bits)
            return low(x.value, bits) if draws == 2 and shape == x.shape else fresh

        if preparation.rank != CLIENT:
            return prepare(layer, preparation, x)
        with patch.object(preparation, "draw", draw):
            return prepare(layer, preparation, x)

    def dealt(layer: Linear, dealing: Dealing, *inputs: Share) -> Shares:
        (x,) = inputs
        honest, sums = linear.sum_of_draws, 0

        def masked(streams: Sequence[Randomness], shape: tuple[int, ...], bits: int) -> torch.Tensor:
            nonlocal sums
            sums += 1
            if sums != 2 or shape != x.shape:
                return honest(streams, shape, bits)
            *others, _ = [drawn(stream, shape, bits) for stream in streams]  # the client's is the last
            return sum(others, x.value)

        with patch.object(linear, "sum_of_draws", masked):
            return deal(layer, dealing, x)

    with patch.object(Linear, "prepare", prepared), patch.object(Linear, "deal", dealt):
        yield


@contextmanager
def _one_for_both_evaluations() -> Generator[None]:
    """The second evaluation's weights are hidden by the masks of the first's."""
    honest = seeds.weight_stream

    def stream(seed: bytes, name: str, shape: tuple[int, ...]) -> Randomness:
        return honest(seed, plain_name(name), shape)

    with patch.object(seeds, "weight_stream", stream):
        yield


TWICE: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "for equal shapes and widths": lambda: _handing(_again_elsewhere),
    "in all passes": _one_for_all_passes,
    "in all layers": lambda: _handing(_again_in_later_layers),
    "on both sides of a linear layer": _one_for_both_sides,
    "for a look-up's value and its sign": _one_for_value_and_sign,
    "for weights of both evaluations": _one_for_both_evaluations,
}
"""Where masks are used twice."""
