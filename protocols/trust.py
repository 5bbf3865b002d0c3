"""Whom a protocol, and the randomness that it takes, trusts; and the dealer's name on its errors."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from enum import Enum

from parties.errors import PeerClosed, PeerTimeout


class Security(Enum):
    """Against whom a protocol holds."""

    SEMI_HONEST_DEALER = "semi-honest parties, a dealer that colludes with neither"
    SEMI_HONEST = "semi-honest parties, and nobody else"


class Trust(Enum):
    """Who must be honest for the correlated randomness to hide anything."""

    TEST_ONLY = "the server deals and can decrypt everything"
    TRUSTED_DEALER = "a third party that colludes with neither"
    TWO_PARTY = "nobody: the two parties make it themselves"


@contextmanager
def naming_the_dealer() -> Generator[None]:
    """Says in a failure inside that it was the dealer who failed."""
    try:
        yield
    except PeerClosed as error:
        raise PeerClosed(f"the dealer: {error}") from None
    except PeerTimeout as error:
        raise PeerTimeout(f"the dealer: {error}") from None
