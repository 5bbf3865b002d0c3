"""One CrypTen session in one thread: communicator, randomness, dealer and configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from parties.errors import ConfigError
from parties.link import Link
from parties.meter import SERVER
from parties.randomness import AesCtrStream, Randomness, SystemRandom
from protocols.additive.crypten.communicator import LinkCommunicator
from protocols.additive.crypten.compat import import_crypten
from protocols.additive.crypten.provider import Provider
from protocols.additive.crypten.thread import THREAD, ThreadSession
from protocols.additive.source import (
    CorrelationSource,
    DealerSource,
    InsecureServerDealer,
    InsecureServerSource,
)

Keys = Callable[[str], bytes]
"""Gives a 16-byte key that both parties share, from the handshake, for a purpose."""


class CrypTenSession:
    """Everything CrypTen needs, for the calling thread; a context manager. Sessions may follow each other.

    Args:
        link: to the other party, with its rank.
        dealer: link to the dealer, or the explicit wish for an insecure run without one.
        keys: 16-byte keys shared with the other party, by purpose; each purpose is used once a session.
        frac_bits: fraction bits of CrypTen's own encoder, 1 to 22.

    Raises:
        ConfigError: CrypTen is missing; or this thread already has a session.
        PeerClosed, PeerTimeout: the dealer is gone or silent.

    Cost: one 16-byte seed from the dealer to each party (offline, label `dealer`); no message between the
    parties.
    """

    def __init__(self, link: Link, dealer: Link | InsecureServerDealer, keys: Keys, frac_bits: int) -> None:
        if link.rank is None:
            raise ConfigError("a party's link needs its rank")
        if not 1 <= frac_bits <= 22:
            raise ConfigError(f"CrypTen's approximations need 1 to 22 fraction bits, not {frac_bits}")
        self.link, self.rank, self.frac_bits = link, link.rank, frac_bits
        self._dealer, self._keys = dealer, keys
        self.crypten: Any = import_crypten()
        self.communicator = LinkCommunicator(link, self.rank)
        self._source: CorrelationSource | None = None

    @property
    def source(self) -> CorrelationSource:
        """Where correlations come from, while the session is open."""
        if self._source is None:
            raise ConfigError("the CrypTen session is not open")
        return self._source

    def __enter__(self) -> CrypTenSession:
        if THREAD.open:
            raise ConfigError("a CrypTen session is already open in this thread")
        meter = self.link.meter
        if isinstance(self._dealer, InsecureServerDealer):
            seed = self._keys("crypten insecure dealer")
            self._source = InsecureServerSource(self.rank, seed, meter)
        else:
            self._source = DealerSource(self.rank, self._dealer, meter)
        primitives = self.crypten.mpc.primitives
        self.provider = Provider(
            self._source, self.communicator, primitives.ArithmeticSharedTensor, primitives.BinarySharedTensor
        )
        self.zero = AesCtrStream(self._keys("crypten zero sharing"))
        first, second = (self._keys(f"crypten pairwise {rank}") for rank in range(2))
        mine, theirs = (first, second) if self.rank == SERVER else (second, first)
        generators: dict[str, Randomness] = {
            "prev": AesCtrStream(theirs),
            "next": AesCtrStream(mine),
            "local": SystemRandom(),
            "global": AesCtrStream(self._keys("crypten global")),
        }
        THREAD.enter(ThreadSession(self.communicator, self.provider, generators))
        self.crypten.cfg["encoder.precision_bits"] = self.frac_bits
        return self

    def __exit__(self, *exception: object) -> None:
        THREAD.leave()
        if self._source is not None:
            self._source.close()
            self._source = None
