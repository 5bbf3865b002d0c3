"""The first bytes of a request that the server sees: what the page shows beside what was typed."""

from __future__ import annotations

import threading

from parties.wire import Frame

SEEN_BYTES = 4096


class SeenBytes:
    """Keeps the first payload bytes of online frames since `restart`: tokens under their masks."""

    def __init__(self) -> None:
        self._lock, self._bytes, self._total = threading.Lock(), bytearray(), 0

    def restart(self) -> None:
        """A request begins."""
        with self._lock:
            self._bytes.clear()
            self._total = 0

    def tell(self, frame: Frame) -> None:
        """For `Link.on_sent`; frames that are part of no computation have depth 0."""
        if not frame.depth:
            return
        with self._lock:
            for part in frame.payload:
                room = SEEN_BYTES - len(self._bytes)
                self._total += len(part)
                if room > 0:
                    self._bytes += bytes(part[:room])

    def read(self) -> tuple[bytes, int]:
        """The bytes kept, and how many there were."""
        with self._lock:
            return bytes(self._bytes), self._total
