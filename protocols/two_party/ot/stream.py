"""A stream of correlated OTs in one direction, which extends itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from parties.link import Link
from protocols.two_party.ot.extension import ExtensionReceiver, ExtensionSender
from protocols.two_party.ot.schedule import Direct, ExtensionSchedule, Step
from protocols.two_party.ot.silent import SilentKeys, extend_receiver, extend_sender

Words = NDArray[np.uint64]
_ONE = np.uint64(1)


class CotStream:
    """One party's side of the COTs of one direction, each handed out once.

    The sender has `delta` and blocks q, the receiver blocks t = q xor c delta, whose lowest bit is the random
    choice c. Both parties must make the same calls in the same order, also among all else that goes over the
    link: extensions speak over it, under the meter's label.

    Attributes:
        is_sender: this party's role.
        delta: uint64 [2], the sender's secret; None at the receiver.
    """

    def __init__(
        self,
        link: Link,
        base: ExtensionSender | ExtensionReceiver,
        digest: bytes,
        delta: Words | None = None,
    ) -> None:
        self.is_sender, self.delta = delta is not None, delta
        assert isinstance(base, ExtensionSender) == self.is_sender
        self._link, self._base, self._keys = link, base, SilentKeys(digest)
        self._schedule = ExtensionSchedule()
        self._ready: list[Words] = []
        self._seeds = np.empty((0, 2), np.uint64)

    @property
    def available(self) -> int:
        """COTs that can be taken without an extension."""
        return self._schedule.available

    def reserve(self, count: int) -> None:
        """Announces that so many more COTs will be taken, so that extensions have the right size."""
        self._schedule.reserve(count)

    def take(self, count: int, of: int = 0) -> Words:
        """The next blocks: uint64 [count, 2], read-only.

        Args:
            count: how many.
            of: at least so many are taken in this call and those that follow, as if announced.

        Raises:
            PeerError: what the peer sends for an extension is not what is expected.
        """
        for step in self._schedule.take(count, of):
            self._extend(step)
        return self._pop(count)

    def choices(self, blocks: Words) -> NDArray[np.uint8]:
        """The receiver's choice bits of its blocks: uint8 [n], zeros and ones."""
        assert not self.is_sender, "the sender does not know the choices"
        return (blocks[:, 0] & _ONE).astype(np.uint8)

    def _extend(self, step: Step) -> None:
        if isinstance(step, Direct):
            self._ready.append(self._base.extend(self._link, step.count))
            return
        seeds, self._seeds = self._seeds, np.empty((0, 2), np.uint64)
        if not len(seeds):
            seeds = self._pop_newest(step.stage.taken)
        if self.delta is not None:
            made = extend_sender(self._link, self._keys, step.stage, seeds, self.delta)
        else:
            made = extend_receiver(self._link, self._keys, step.stage, seeds)
        self._seeds = made[: step.kept].copy()
        self._ready.append(made[step.kept :])

    def _pop(self, count: int) -> Words:
        parts: list[Words] = []
        while count:
            first = self._ready[0]
            parts.append(first[:count])
            count -= len(parts[-1])
            self._ready[0] = first[len(parts[-1]) :]
            if not len(self._ready[0]):
                self._ready.pop(0)
        blocks = parts[0] if len(parts) == 1 else np.concatenate([np.empty((0, 2), np.uint64), *parts])
        blocks.flags.writeable = False
        return blocks

    def _pop_newest(self, count: int) -> Words:
        newest = self._ready.pop()
        assert len(newest) >= count
        if len(newest) > count:
            self._ready.append(newest[count:])
        return np.ascontiguousarray(newest[:count])
