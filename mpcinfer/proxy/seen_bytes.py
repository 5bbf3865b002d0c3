"""The first bytes of a request that the server sees: what the page shows beside what was typed."""

from __future__ import annotations

import threading

from parties.wire import Frame

SEEN_BYTES = 4096


class SeenBytes:
    """Keeps the first payload bytes of frames of the computation since `restart`: tokens under their masks,
    and what is sent ahead of them."""

    def __init__(self) -> None:
        self._lock, self._bytes = threading.Lock(), bytearray()

    def restart(self) -> None:
        """A request begins."""
        with self._lock:
            self._bytes.clear()

    def tell(self, frame: Frame) -> None:
        """For `Link.on_sent`; frames that are part of no computation have depth 0."""
        if not frame.depth:
            return
        with self._lock:
            for part in frame.payload:
                room = SEEN_BYTES - len(self._bytes)
                if room > 0:
                    self._bytes += bytes(part[:room])

    def read(self) -> bytes:
        """The bytes, `SEEN_BYTES` at most."""
        with self._lock:
            return bytes(self._bytes)
