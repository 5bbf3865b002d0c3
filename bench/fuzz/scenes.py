"""Every exchange in which a party, or a dealer, reads what another says: who is attacked, and who speaks.

A scene runs once with an honest speaker, whose messages are kept; then the same reader gets them again with
something wrong in them. So readers draw nothing that a later message would depend on: their randomness is
fixed, and the session's id is agreed before the scene.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.fuzz.channels import Said
from bench.fuzz.mutations import Message
from parties.link import Link
from parties.local import local_pair
from parties.meter import CLIENT, SERVER, Meter
from parties.trace import Trace

SESSION = b"a fuzzed session"
Links = Sequence[Link]
Side = Callable[[Links], object]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One exchange.

    Attributes:
        name: who reads what.
        reader: is attacked; gets its links, one for every rank in `ranks`.
        speaker: is honest, at the other ends.
        ranks: of the reader, on each link; None on a link to or from a dealer.
        fresh: nothing was agreed before it: it is a handshake, or comes before one.
        weight: how many frames it gets, against the other scenes.
    """

    name: str
    reader: Side
    speaker: Side
    ranks: tuple[int | None, ...] = (SERVER,)
    fresh: bool = False
    weight: float = 1.0

    def recorded(self) -> list[list[Message]]:
        """What the speaker says on each link.

        Raises:
            BaseException: whatever either of them raised.
        """
        pairs = [local_pair(60.0) for _ in self.ranks]
        taps = [Trace(mine, keep_cache=True) for mine, _ in pairs]
        theirs = [None if rank is None else 1 - rank for rank in self.ranks]
        errors = list[BaseException]()

        def speak() -> None:
            links = self._links([other for _, other in pairs], theirs)
            try:
                self.speaker(links)
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=speak, daemon=True)
        thread.start()
        self.reader(self._links(taps, self.ranks))
        thread.join()
        for error in errors:
            raise error
        return [tap.received for tap in taps]

    def read(self, streams: Sequence[Sequence[Message]]) -> object:
        """The reader with these streams, a link each; raises what it raises."""
        return self.reader(self._links([Said(stream) for stream in streams], self.ranks))

    def _links(self, channels: Sequence[Said | Trace], ranks: Sequence[int | None]) -> Links:
        links = [Link(channel, Meter(), rank) for channel, rank in zip(channels, ranks, strict=True)]
        for link in links:
            link.session = b"" if self.fresh else SESSION
        return links


BOTH = (SERVER, CLIENT)
