"""What everything registered for the FSS suite declares."""

from __future__ import annotations

from abc import ABC
from typing import ClassVar

from protocols.trust import Security


class FssProtocol(ABC):  # noqa: B024 - what it declares has defaults
    """Anything registered for the FSS suite.

    Attributes:
        based_on: gates or functions that compute it, whose documentation has costs and sources.
        reveals: what somebody learns by design, for everybody who chooses it to read; empty where nothing is.
        exact_form: the protocol to take in its place where truncation is exact, if this one rounds by masks.
        polynomial: it is additions and products alone, truncation aside.
    """

    security: ClassVar[Security] = Security.SEMI_HONEST_DEALER
    based_on: ClassVar[tuple[object, ...]] = ()
    reveals: ClassVar[str] = ""
    exact_form: ClassVar[str] = ""
    polynomial: ClassVar[bool] = False
