"""The plans of the suite `two-party`, as names alone: reading them loads no protocol."""

from __future__ import annotations

from protocols.plan import Plan

NAME = "two-party"

_CHOICES = {
    "linear": "rlwe",
    "products": "transfer",
    "truncation": "wrap",
    "comparison": "digits",
    "softmax": "lines",
    "gelu": "lines",
    "silu": "lines",
    "relu": "compare",
    "inverse_sqrt": "lines",
    "power": "squares",
}
PLANS = {NAME: Plan(name=NAME, suite=NAME, choices=_CHOICES)}
