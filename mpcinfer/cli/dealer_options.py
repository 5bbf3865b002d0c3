"""What the command line says about where a party's correlations come from."""

from __future__ import annotations

from pathlib import Path

from mpcinfer.sessions.addresses import Address
from mpcinfer.suites.suite import DEALER, Suite, no_dealer
from parties.errors import ConfigError
from protocols.plan import Plan


def dealer_of(
    suite: Suite,
    plan: Plan,
    *,
    endpoint: str,
    key: Path | None,
    correlations: Path | None,
    insecure_dealer: bool,
) -> Address | None:
    """Where this party's dealer is; None where correlations come from elsewhere.

    Raises:
        ConfigError: nobody says who the dealer is, or the plan has none and something is said of one.
    """
    if DEALER not in suite.helpers:
        given = {
            "--dealer-key": key is not None,
            "--insecure-dealer": insecure_dealer,
        }
        for option in (option for option, is_given in given.items() if is_given):
            raise ConfigError(f"{option}: {no_dealer(plan)}; leave it out")
        return None
    if insecure_dealer or correlations is not None:
        return None
    if key is None:
        raise ConfigError(
            "say who the dealer is: --dealer-key, the dealer's .public file; or --correlations, a folder "
            "that `mpcinfer deal` made"
        )
    return Address.load(endpoint, key)
