"""The plans of the suite `fss`, as names alone: reading them loads no protocol."""

from __future__ import annotations

from protocols.plan import Plan

NAME = "fss"
PROBABILISTIC, EXACT = "free", "faithful"
"""Truncation at random, and exact."""

_CHOICES = {
    "truncation": PROBABILISTIC,
    "linear": "dealt",
    "embedding": "private",
    "gelu": "lines",
    "silu": "fine-lines",
    "relu": "lookup",
    "maximum": "histogram",
    "exponential": "split",
    "power": "squares",
    "reciprocal": "octaves",
    "inverse_sqrt": "octaves",
}
_EXACT = {"truncation": EXACT, "gelu": "lookup", "silu": "fine", "exponential": "lookup"}
_POLYNOMIAL = {
    "gelu": "polynomial16",
    "silu": "polynomial16",
    "relu": "polynomial16",
    "reciprocal": "goldschmidt",
    "inverse_sqrt": "goldschmidt",
}
PLANS = {
    "fss": Plan(name="fss", suite=NAME, choices=_CHOICES),
    "fss-faithful": Plan(name="fss-faithful", suite=NAME, choices={**_CHOICES, **_EXACT}),
    "fss-poly": Plan(name="fss-poly", suite=NAME, choices={**_CHOICES, **_POLYNOMIAL}),
}
"""`fss` is the suite of masked values and function keys; `fss-faithful` rounds as the fixed-point reference
does, bit by bit; `fss-poly` is additions and products alone, without a function key, for models without
softmax."""


def is_faithful(plan: Plan) -> bool:
    """Whether a plan truncates exactly, by gates."""
    return plan.choices["truncation"] == EXACT
