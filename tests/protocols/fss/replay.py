"""The reference with the dealer's masks: what a private run gives, rounding for rounding, without parties.

Probabilistic truncation of a value x with mask r gives floor((x + r mod 2^f) / 2^f): whoever has both can say
which. Additive shares are like a value that the server holds, under minus the client's share. What that was
in the
low bits, a run has to tell: nobody else knows it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from parties.errors import ConfigError
from parties.meter import CLIENT, Meter
from parties.randomness import Randomness
from parties.wire import RingArray
from protocols.fss.executors.clear import Clear
from protocols.fss.executors.dealing import Dealing
from protocols.fss.executors.executor import Executor, in_range
from protocols.fss.executors.gate import Gate, Shares
from protocols.fss.executors.party import Party
from protocols.fss.ring import low
from protocols.share import Held, Share
from protocols.tensors import to_tensor, to_words

Pair = torch.Tensor
"""[2, ...]: the secret as a signed integer, and its mask as the dealer has it (0 for additive shares)."""


LowBits = Callable[[tuple[int, ...], int], torch.Tensor]
"""Low bits of the client's additive shares, of a shape and as many as are cut off."""


class Watched(Party):
    """A party that keeps a note of what it cuts off its additive shares.

    Attributes:
        low_bits: all of it, in order; the client's alone.
    """

    def __init__(self, *what: Any, **options: Any) -> None:
        super().__init__(*what, **options)
        self.low_bits: deque[torch.Tensor] = deque()

    def _shift(self, a: Share, drop: int) -> torch.Tensor:
        if a.held is Held.ADDITIVE and self.rank == CLIENT:
            self.low_bits.append(low(a.value, drop))
        return super()._shift(a, drop)


def as_noted(notes: Sequence[torch.Tensor]) -> LowBits:
    """Those of a run, in order."""
    left = iter(notes)

    def next_of_run(shape: tuple[int, ...], drop: int) -> torch.Tensor:
        value = next(left)
        assert tuple(value.shape) == shape
        return value

    return next_of_run


def as_drawn(randomness: Randomness) -> LowBits:
    """Uniform ones, as those of every run are."""
    return lambda shape, drop: to_tensor(randomness.ring(shape, drop))


class Replay(Executor):
    """Runs a program on pairs of secret and mask.

    Gates compute in the clear on the secrets and deal on the masks; where a gate rounds by its input's mask,
    it is handed that mask. Every range is checked as in `Clear`.

    Args:
        meter: its spans only.
        dealer: with the streams of the run that is replayed; what it writes goes nowhere.
        low_bits: the run's, or others.
    """

    def __init__(self, meter: Meter, dealer: Dealing, low_bits: LowBits) -> None:
        super().__init__(meter, exact_truncation=dealer.exact_truncation)
        self._low_bits = low_bits
        self._dealer, self._masks = dealer, _Masks()
        self._clear = Clear(meter, exact_truncation=dealer.exact_truncation, randomness=self._masks)

    def apply(self, gate: Gate, *inputs: Share) -> Shares:
        secrets = [_part(x, 0) for x in inputs]
        seen = [x if x.drop is None else Share(x.value, x.frac_bits, x.ring_bits, x.held, 0) for x in secrets]
        masks = [_part(x, 1) for x in inputs]
        self._masks.queue = [low(mask.value, x.ring_bits) for x, mask in zip(inputs, masks, strict=True)]
        results = self._clear.apply(gate, *seen)
        return tuple(map(pair, results, gate.deal(self._dealer, *masks)))

    def add(self, a: Share, b: Share) -> Share:
        assert a.value.dim() == b.value.dim(), "pairs broadcast only where they have equally many axes"
        return super().add(a, b)

    def sub(self, a: Share, b: Share) -> Share:
        assert a.value.dim() == b.value.dim(), "pairs broadcast only where they have equally many axes"
        return super().sub(a, b)

    def add_public(self, a: Share, value: int | torch.Tensor) -> Share:
        return self._checked(_with(a, torch.stack([a.value[0] + value, a.value[1]])))

    def view(self, a: Share, drop: int = 0) -> Share:
        """Readers find the rounded secret, and the whole mask."""
        in_range(_part(a, 0), 1, f"{self.meter.label}: view")
        secret = _rounded(a.value[0], a.value[1], drop)
        value = torch.stack([secret, a.value[1]])
        return Share(value, a.frac_bits - drop, a.ring_bits, a.held, drop)

    def _shift(self, a: Share, drop: int) -> torch.Tensor:
        secret, mask = a.value[0], a.value[1]
        own = -mask if a.held is Held.SERVER_HELD else mask  # the server has x - a
        if a.held is Held.ADDITIVE:
            own = -self._low_bits(tuple(secret.shape), drop)
        shifted = self._dealer.truncate(Share(mask, a.frac_bits, a.ring_bits, a.held), drop)
        return torch.stack([_rounded(secret, own, drop), shifted.value])

    def _checked(self, a: Share) -> Share:
        in_range(_part(a, 0), 0, self.meter.label)
        return a


def pair(secret: Share, mask: Share) -> Share:
    """One share for `Replay` from what the reference and the dealer have."""
    described = [(x.shape, x.frac_bits, x.ring_bits, x.held) for x in (secret, mask)]
    if described[0] != described[1]:
        raise ConfigError(f"reference and dealer differ: {secret!r}, {mask!r}")
    known = torch.zeros(mask.shape, dtype=torch.int64) if mask.value.is_meta else mask.value
    return _with(secret, torch.stack([secret.value, known]))


def _rounded(secret: torch.Tensor, mask: torch.Tensor, drop: int) -> torch.Tensor:
    """floor((x + r mod 2^drop) / 2^drop)."""
    return secret if drop == 0 else (secret + low(mask, drop)) >> drop


def _part(x: Share, which: int) -> Share:
    return _with(x, x.value[which])


def _with(x: Share, value: torch.Tensor) -> Share:
    return Share(value, x.frac_bits, x.ring_bits, x.held, x.drop)


class _Masks(Randomness):
    """Where `Clear` draws a mask to round by, it gets the dealer's."""

    def __init__(self) -> None:
        self.queue: list[torch.Tensor] = []

    def fill(self, out: NDArray[np.uint8]) -> None:
        raise AssertionError("nothing is drawn at random in a replay")

    def ring(self, shape: tuple[int, ...], bits: int) -> RingArray:
        mask = low(self.queue.pop(0), bits)
        assert tuple(mask.shape) == shape
        return to_words(mask)
