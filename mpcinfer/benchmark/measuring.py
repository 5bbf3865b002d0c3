"""Measures how fast this machine computes, for `mpcinfer.benchmark.rates`, and keeps it."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import platform
from collections.abc import Callable
from pathlib import Path

from mpcinfer.benchmark.passes import measure
from mpcinfer.benchmark.rates import Rate, Rates, fitted
from mpcinfer.roles.together import private
from mpcinfer.suites.registry import SUITES
from mpcinfer.suites.suite import DEALER
from parties.errors import ConfigError
from parties.kernel_cache import cache_root, own_folder

TOKENS, NEW_TOKENS, REPEAT = 32, 4, 3
_FOLDER = "rates"
Tell = Callable[[str], None]


def measured_rates(model: str, tell: Tell, *, again: bool = False) -> Rates:
    """This machine's rates on a model: as they were measured before, or now.

    Args:
        model: a name or a path; its weights are loaded by a server process.
        tell: is told what is being measured.
        again: what was kept is not used.

    Raises:
        ConfigError: no such model, or it has no weights.
        PeerError: a process died or fell silent.
    """
    path = _place(model)
    if path is not None and not again:
        with contextlib.suppress(ConfigError):
            return Rates.read(path)
    rates = measure_rates(model, tell)
    if path is not None:
        with contextlib.suppress(OSError):
            path.write_text(json.dumps(rates.to_json()), encoding="utf-8")
    return rates


def measure_rates(model: str, tell: Tell, repeat: int = REPEAT) -> Rates:
    """Runs a loopback session under the first plan of each suite that has a dealer.

    Raises:
        ConfigError: no such model, or it has no weights, or no suite can run it; the message says why.
        PeerError: a process died or fell silent.
    """
    suites: dict[str, dict[str, Rate]] = {}
    for name, suite in SUITES.items():
        if DEALER not in suite.helpers:
            continue
        plan = next(iter(suite.plans))
        tell(f"measuring {plan} on {model}: {repeat} answers to {TOKENS} tokens, on this machine")
        with private(model, plan=plan, timeout_s=600.0) as client:
            measure(client, TOKENS, 2, 1)  # nobody's first answer is as fast as those after it
            prompts, singles = measure(client, TOKENS, NEW_TOKENS, repeat)
        suites[name] = fitted(prompts.bill(), singles.bill())
    return Rates(
        model=model,
        tokens=TOKENS,
        machine=f"{platform.machine()}, {platform.node()}",
        measured=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        suites=suites,
    )


def _place(model: str) -> Path | None:
    """Where a model's rates are kept; None where nothing can be."""
    key = hashlib.sha256(json.dumps([model, platform.node(), platform.machine()]).encode()).hexdigest()[:16]
    try:
        return own_folder(own_folder(cache_root()) / _FOLDER) / f"{key}.json"
    except (ConfigError, OSError):
        return None
