"""What all who run a program have in common: steps that need no message, and a way to run gates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch

from parties.errors import ConfigError, RangeError
from parties.meter import Meter
from protocols.fss.executors.gate import Gate, Shares
from protocols.fss.ring import shift_right
from protocols.kernels.rows import sum_rows
from protocols.meta_tensors import combined, end_to_end, no_data
from protocols.share import Held, Share


class Executor(ABC):
    """Runs a program of gates. What a share's `value` is depends on the executor:

    party: what the party holds. dealer: the mask r, or a for a server-held value; no data of additive shares.
    clear: the secret, as a signed integer. counting: no data at all.

    The steps below are linear in the secret and in its mask alike: all machines share them, at no cost.
    """

    def __init__(self, meter: Meter, *, exact_truncation: bool = False) -> None:
        self.meter, self.exact_truncation = meter, exact_truncation

    @abstractmethod
    def apply(self, gate: Gate, *inputs: Share) -> Shares:
        """Runs a gate."""

    def one(self, gate: Gate, *inputs: Share) -> Share:
        """Runs a gate that has one result."""
        (result,) = self.apply(gate, *inputs)
        return result

    # -- steps without a message --------------------------------------------------------------------------

    def add(self, a: Share, b: Share) -> Share:
        """a + b, of one kind and one scale, in the narrower of the two rings; broadcasts."""
        _fit(a, b)
        value = combined(torch.add, a.value, b.value)
        return self._checked(Share(value, a.frac_bits, min(a.ring_bits, b.ring_bits), a.held))

    def sub(self, a: Share, b: Share) -> Share:
        """a - b, as `add`."""
        _fit(a, b)
        value = combined(torch.sub, a.value, b.value)
        return self._checked(Share(value, a.frac_bits, min(a.ring_bits, b.ring_bits), a.held))

    def mul_integer(self, a: Share, factor: int | torch.Tensor, frac_bits: int = 0) -> Share:
        """a times public integers with `frac_bits` fraction bits; the scale of the result is the sum."""
        _plain(a)
        if isinstance(factor, int):
            value = a.value if a.value.is_meta else a.value * factor
        else:
            value = combined(torch.mul, a.value, factor)
        return self._checked(Share(value, a.frac_bits + frac_bits, a.ring_bits, a.held))

    def sum_last(self, a: Share) -> Share:
        """Sum over the last axis, which stays with length 1."""
        _plain(a)
        value = no_data((*a.shape[:-1], 1)) if a.value.is_meta else a.value.sum(-1, keepdim=True)
        return self._checked(Share(value, a.frac_bits, a.ring_bits, a.held))

    def sum_rows(self, a: Share, lengths: Sequence[int]) -> Share:
        """Sum of each of the rows that are packed end to end on the last axis: [..., rows, 1]."""
        _plain(a)
        shape = (*a.shape[:-1], len(lengths), 1)
        value = no_data(shape) if a.value.is_meta else sum_rows(a.value, lengths).unsqueeze(-1)
        return self._checked(Share(value, a.frac_bits, a.ring_bits, a.held))

    def scaled(self, a: Share, exponent: int) -> Share:
        """a times 2^exponent: the binary point moves, the ring element stays."""
        return Share(a.value, a.frac_bits - exponent, a.ring_bits, a.held, a.drop)

    def shift_up(self, a: Share, bits: int) -> Share:
        """The same secret with `bits` more fraction bits, which are zero, in a ring as much wider."""
        _plain(a)
        assert a.held is not Held.ADDITIVE or a.ring_bits + bits <= 64
        value = a.value if a.value.is_meta else a.value << bits
        return Share(value, a.frac_bits + bits, a.ring_bits + bits, a.held)

    def map(self, a: Share, arrange: Callable[[torch.Tensor], torch.Tensor]) -> Share:
        """Moves elements about: reshapes, slices, transposes."""
        return Share(arrange(a.value), a.frac_bits, a.ring_bits, a.held, a.drop)

    def concat(self, parts: Sequence[Share], dim: int) -> Share:
        """Shares of one kind, ring and scale end to end."""
        for part in parts[1:]:
            _fit(parts[0], part)
        ring = min(part.ring_bits for part in parts)
        value = end_to_end([part.value for part in parts], dim)
        return Share(value, parts[0].frac_bits, ring, parts[0].held)

    def reduce(self, a: Share, ring_bits: int) -> Share:
        """The same secret in a narrower ring."""
        _plain(a)
        if ring_bits > a.ring_bits:
            raise ConfigError(f"{self.meter.label}: {a.ring_bits} bits do not reduce to {ring_bits}")
        return self._checked(Share(a.value, a.frac_bits, ring_bits, a.held))

    @abstractmethod
    def add_public(self, a: Share, value: int | torch.Tensor) -> Share:
        """a plus public ring elements of a's scale."""

    def add_at_client(self, a: Share, value: torch.Tensor | None) -> Share:
        """An additive a plus ring elements of its scale that the client alone knows; None elsewhere.

        Cost: nothing: the client adds them to its summand. Reveals: nothing.
        """
        assert a.held is Held.ADDITIVE
        return a

    def truncate(self, a: Share, drop: int) -> Share:
        """floor(x / 2^drop), or one more with the probability of what was cut off, in a ring `drop` bits
        narrower. Never in the same ring: there, additive shares would at times be off by all of it.

        Reveals: nothing; what is rounded up is a function of x and of what one party knows (decisions 0010
        and 0016).
        """
        _plain(a)
        if a.held is Held.ADDITIVE and self.exact_truncation:
            raise ConfigError(f"{self.meter.label}: exact plans truncate additive shares by a gate")
        if not 0 <= drop < a.ring_bits:
            raise ConfigError(f"{self.meter.label}: {drop} of {a.ring_bits} bits cannot be dropped")
        if drop == 0:
            return a
        return Share(self._shift(a, drop), a.frac_bits - drop, a.ring_bits - drop, a.held)

    def view(self, a: Share, drop: int = 0) -> Share:
        """A masked value whose readers see floor(x / 2^drop), or one more as in `truncate`, in any ring.

        Needs a bit of slack: |x| < 2^(ring_bits - 2).
        """
        _plain(a)
        assert a.held is Held.MASKED
        return Share(a.value, a.frac_bits - drop, a.ring_bits, a.held, drop)

    def _shift(self, a: Share, drop: int) -> torch.Tensor:
        return shift_right(a.value, drop, a.ring_bits)

    def _checked(self, a: Share) -> Share:
        """The reference looks whether a value still fits its ring."""
        return a


class MaskMachine(Executor):
    """A machine that has the masks of values: what is public leaves them as they are."""

    def add_public(self, a: Share, value: int | torch.Tensor) -> Share:
        return a

    def _shift(self, a: Share, drop: int) -> torch.Tensor:
        """The mask after truncation; that of a server-held value x - a is -a."""
        if a.held is not Held.SERVER_HELD or a.value.is_meta:
            return super()._shift(a, drop)
        return -super()._shift(Share(-a.value, a.frac_bits, a.ring_bits), drop)


def _fit(a: Share, b: Share) -> None:
    _plain(a)
    _plain(b)
    if (a.frac_bits, a.held) != (b.frac_bits, b.held):
        raise ConfigError(f"{a!r} and {b!r} differ in scale or kind")


def _plain(a: Share) -> None:
    if a.drop is not None:
        raise ConfigError(f"{a!r} is a view, for a gate to read")


def in_range(a: Share, slack_bits: int, label: str) -> Share:
    """The share, if the clear secret is below 2^(ring_bits - 1 - slack_bits) in magnitude.

    Raises:
        RangeError: it is not; the message says by how much.
    """
    bit = a.ring_bits == 1  # read from 0, not from -1
    limit = 2 if bit else 1 << (a.ring_bits - 1 - slack_bits)
    if a.value.numel():
        least, most = int(a.value.min()), int(a.value.max())
        if least < (0 if bit else -limit) or most >= limit:
            largest = max(-least, most) / 2.0**a.frac_bits
            raise RangeError(f"{label}: {largest:.6g} does not fit, at most {limit / 2.0**a.frac_bits:.6g}")
    return a
