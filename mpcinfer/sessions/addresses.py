"""Who a party is, and where it finds the others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from parties.keys import KeyPair, load_public, load_secret


@dataclass(frozen=True, slots=True)
class Identity:
    """A listening party: its own keys and the one peer that may connect."""

    keys: KeyPair
    peer: str

    @classmethod
    def load(cls, own: Path, peer: Path) -> Identity:
        """From a .secret and a .public file; raises ConfigError where one cannot be used."""
        return cls(load_secret(own), load_public(peer))


@dataclass(frozen=True, slots=True)
class Address:
    """A party that listens: where, and its public key."""

    endpoint: str
    public_key: str

    @classmethod
    def load(cls, endpoint: str, key: Path) -> Address:
        """With the key from a .public file; raises ConfigError where it cannot be used."""
        return cls(endpoint, load_public(key))
