"""When a stream of correlated OTs is extended, and by what: integers alone, the same for both parties.

Both parties, and whoever counts costs, make the same calls; so they come to the same steps without a message.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocols.two_party.ot.extension import extension_bytes, padded
from protocols.two_party.ot.stages import STAGES, Stage


@dataclass(frozen=True, slots=True)
class Direct:
    """An extension of base OTs.

    Attributes:
        count: COTs that it makes.
    """

    count: int

    @property
    def bytes_to_sender(self) -> int:
        """Payload; nothing goes the other way."""
        return extension_bytes(self.count)

    @property
    def bytes_to_receiver(self) -> int:
        """Nothing."""
        return 0


@dataclass(frozen=True, slots=True)
class Silent:
    """A silent extension, which takes its seeds from the newest COTs.

    Attributes:
        stage: its size.
        kept: COTs that it puts aside for the next one.
    """

    stage: Stage
    kept: int

    @property
    def bytes_to_sender(self) -> int:
        """Nothing."""
        return 0

    @property
    def bytes_to_receiver(self) -> int:
        """Payload; nothing goes the other way."""
        return self.stage.sent_bytes


Step = Direct | Silent


class ExtensionSchedule:
    """How many COTs are there, how many are announced, and what is to be done when some are taken.

    The first steps depend on how many are wanted: few come from base OTs directly, at 127 bits each; more
    from silent stages, up to the largest, which puts aside what its next extension takes.
    """

    def __init__(self) -> None:
        self.available = self.announced = self.seeds = 0

    def reserve(self, count: int) -> None:
        """Announces that so many more will be taken."""
        assert count >= 0
        self.announced += count

    def take(self, count: int, of: int = 0) -> list[Step]:
        """The steps before `count` can be taken, in order; the caller performs them.

        Args:
            count: taken now.
            of: at least so many are taken in this call and those that follow.
        """
        steps: list[Step] = []
        while self.available < count:
            steps += self._extend(max(count, of, self.announced) - self.available)
        self.available -= count
        self.announced = max(0, self.announced - count)
        return steps

    def _extend(self, missing: int) -> list[Step]:
        last = STAGES[-1]
        if self.seeds:
            self.available += last.made - last.taken
            return [Silent(last, last.taken)]
        first = STAGES[0]
        if missing <= first.taken:
            self.available += padded(missing)
            return [Direct(padded(missing))]
        steps: list[Step] = [Direct(padded(first.taken))]
        self.available += padded(first.taken)
        for stage in STAGES:
            kept = last.taken if stage is last else 0
            steps.append(Silent(stage, kept))
            self.available += stage.made - stage.taken - kept
            self.seeds = kept
            if self.available >= missing:
                break
        return steps
