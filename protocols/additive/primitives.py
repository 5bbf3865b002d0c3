"""How the suite `crypten` computes its primitives, by name."""

from __future__ import annotations

from parties.errors import ConfigError

FRAC_BITS = 16
"""Fraction bits of all values; rings have 64 bits."""

LINEAR = {
    "session": "Masked weights are opened once a session; then one message a layer, to the server alone.",
    "beaver": "Beaver's product, opened on every call.",
}
TRUNCATION = {
    "local": "Each party divides its share; wrong with probability |value| / 2^32 at 16 fraction bits.",
    "exact": "A masked value is opened and divided; it cannot fail.",
}
COMPARISON = {
    "packed": "Single bits are sent, only as many as a public bound leaves open.",
    "words": "CrypTen's own, on 64-bit words.",
}


_KNOWN = {"linear": LINEAR, "truncation": TRUNCATION, "comparison": COMPARISON}


def check_primitives(**choices: str) -> None:
    """Raises ConfigError where a choice, by what it is a choice of, is none of the above."""
    for name, choice in choices.items():
        if choice not in _KNOWN[name]:
            raise ConfigError(f"{name} is {' or '.join(map(repr, _KNOWN[name]))}, not {choice!r}")
