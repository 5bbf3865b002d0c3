"""A plan: which protocol computes each operation, and in which ring."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass

from parties.errors import ConfigError

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
"""How the engine `crypten` computes its primitives, by name."""

FREE, FAITHFUL = "free", "faithful"
"""The truncations of engine `fss`: at random, and exact."""

DEFAULT_PLAN = "fss"
"""Of all commands and calls."""

_FIXED = {"name", "engine", "ring_bits", "frac_bits", "fold"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One name an operation; names are those of `protocols.registry`. Its digest is part of the handshake.

    An engine has operations of its own. Where it lacks one, the name is empty; the defaults are those of the
    engine `crypten`.

    Attributes:
        engine: who supplies the primitives: `crypten` or `fss`.
        ring_bits, frac_bits: (engine `crypten`) Z_2^ring_bits with frac_bits fraction bits. The engine `fss`
            has rings and fraction bits of every wire's own, from the model's ranges.
        fold: norm gains and biases are folded into the next weights, in cleartext, by the server.
        linear, comparison: (engine `crypten`) see `LINEAR` and `COMPARISON`.
        truncation: engine `crypten`: see `TRUNCATION`. Engine `fss`: `free`, without a message, up or down at
            random; `faithful` by gates, as the fixed-point reference.
        softmax: (engine `crypten`) in one piece; the engine `fss` has `maximum`, `exponential` and
            `reciprocal` instead.
        power: scores to an even power, where a model's attention has them instead of exp.
        embedding: (engine `fss`) how the client's tokens become rows of the server's table.
    """

    name: str
    engine: str = "crypten"
    ring_bits: int = 64
    frac_bits: int = 16
    fold: bool = True
    linear: str = "session"
    truncation: str = "local"
    comparison: str = "packed"
    softmax: str = "tree"
    gelu: str = "piecewise"
    silu: str = "piecewise"
    relu: str = "compare"
    inverse_sqrt: str = "octaves"
    maximum: str = ""
    exponential: str = ""
    power: str = "squares"
    reciprocal: str = ""
    embedding: str = ""

    @property
    def choices(self) -> dict[str, str]:
        """Operation -> name, for the operations that the engine has."""
        names = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {operation: name for operation, name in names.items() if operation not in _FIXED and name}

    @property
    def faithful(self) -> bool:
        """Whether the engine `fss` truncates exactly."""
        return self.truncation == FAITHFUL

    def digest(self) -> str:
        """Sixteen hex digits that both parties must agree on."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def replace(self, **choices: str) -> Plan:
        """This plan with other protocols for some operations.

        Raises:
            ConfigError: no such operation; the message lists those it has.
        """
        unknown = sorted(set(choices) - set(self.choices))
        if unknown:
            raise ConfigError(
                f"plan {self.name} has no operation {unknown[0]!r}; it has {', '.join(sorted(self.choices))}"
            )
        name = "+".join([self.name, *(f"{key}={value}" for key, value in sorted(choices.items()))])
        return dataclasses.replace(self, **{**choices, "name": name})
