"""The plans of the suite `crypten`, as names alone: reading them loads no protocol."""

from __future__ import annotations

from protocols.plan import Plan

NAME = "crypten"

_CHOICES = {
    "linear": "session",
    "truncation": "local",
    "comparison": "packed",
    "softmax": "tree",
    "gelu": "piecewise",
    "silu": "piecewise",
    "relu": "compare",
    "inverse_sqrt": "octaves",
    "power": "squares",
}
_STOCK = {
    "linear": "beaver",
    "comparison": "words",
    "softmax": "stock",
    "gelu": "stock",
    "silu": "stock",
    "inverse_sqrt": "stock",
}
_POLYNOMIAL = {
    "gelu": "polynomial16",
    "silu": "polynomial16",
    "relu": "polynomial16",
    "inverse_sqrt": "goldschmidt",
    "power": "goldschmidt",
}
PLANS = {
    "crypten": Plan(name="crypten", suite=NAME, choices=_CHOICES),
    "crypten-stock": Plan(name="crypten-stock", suite=NAME, choices={**_CHOICES, **_STOCK}, fold=False),
    "poly": Plan(name="poly", suite=NAME, choices={**_CHOICES, **_POLYNOMIAL}),
}
"""`crypten` has our compositions on CrypTen's primitives; `crypten-stock` has the library's own, and opens
its weights on every call, as its users' code does; `poly` is additions and products alone, for models without
softmax."""
