"""How deep frames between two parties are, without a run."""

from __future__ import annotations

from parties.meter import CLIENT, SERVER


class Flights:
    """Both parties' ends of a link: what each has received, and so how deep what it sends next is.

    A frame's depth is 1 + the largest depth that its sender had received, as `Link` gives it.

    Attributes:
        deepest: of all frames so far: rounds.
    """

    def __init__(self) -> None:
        self._received = [0, 0]
        self.deepest = 0

    def send(self, receiver: int) -> int:
        """The depth of a frame to `receiver` (0 server, 1 client), which is still on its way."""
        depth = self._received[1 - receiver] + 1
        self.deepest = max(self.deepest, depth)
        return depth

    def arrive(self, receiver: int, depth: int) -> None:
        """The receiver reads a frame."""
        self._received[receiver] = max(self._received[receiver], depth)

    def message(self, receiver: int) -> int:
        """A frame that is read before its receiver sends anything else; its depth."""
        depth = self.send(receiver)
        self.arrive(receiver, depth)
        return depth

    def exchange(self) -> None:
        """Both parties send, then both read."""
        depths = [self.send(receiver) for receiver in (SERVER, CLIENT)]
        for receiver, depth in zip((SERVER, CLIENT), depths, strict=True):
            self.arrive(receiver, depth)

    def answered(self, holder: int, count: int) -> None:
        """So many queries of a holder's, each answered; the next is sent before an answer is awaited."""
        waiting = 0
        for _ in range(count):
            self.message(1 - holder)
            answer = self.send(holder)
            self.arrive(holder, waiting)
            waiting = answer
        self.arrive(holder, waiting)

    def answered_both_ways(self, count: int) -> None:
        """So many queries of each party's, each answered by the other.

        Both send their first. Then, as often as there are queries: both read the other's, answer it, send
        their next one, and read the answer to their own.
        """
        if count:
            self.exchange()
        for _ in range(count):
            self.exchange()  # the next query is sent with the answer: it is as deep
