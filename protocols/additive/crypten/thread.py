"""The CrypTen session of the calling thread, so that both parties can be threads of one process."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from parties.errors import ConfigError
from parties.randomness import Randomness

if TYPE_CHECKING:
    from protocols.additive.crypten.communicator import LinkCommunicator
    from protocols.additive.crypten.provider import Provider


@dataclass(frozen=True, slots=True)
class ThreadSession:
    """What CrypTen keeps in module globals, for one thread.

    Attributes:
        generators: `prev` and `next` (shared with the other party), `local` (this party's) and `global`.
    """

    communicator: LinkCommunicator
    provider: Provider
    generators: dict[str, Randomness]


class _Thread(threading.local):
    """The slot for it."""

    _session: ThreadSession | None = None

    @property
    def open(self) -> bool:
        """Whether this thread has a session."""
        return self._session is not None

    @property
    def session(self) -> ThreadSession:
        """This thread's session; raises ConfigError where there is none."""
        if self._session is None:
            raise ConfigError("no CrypTen session is open in this thread")
        return self._session

    def enter(self, session: ThreadSession) -> None:
        """Opens a session."""
        assert self._session is None
        self._session = session

    def leave(self) -> None:
        """Ends the session; safe to repeat."""
        self._session = None


THREAD = _Thread()
