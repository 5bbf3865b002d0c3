"""The plans of the suite `two-party`, as names alone: reading them loads no protocol."""

from __future__ import annotations

from pathlib import Path

from protocols.plan import Plan

NAME = "two-party"
_RLWE = Path(__file__).parents[1] / "rlwe"
KERNEL_SOURCES = (_RLWE, _RLWE / "kernels")
"""Folders with kernels of the suite's own, beside those that it shares."""

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
