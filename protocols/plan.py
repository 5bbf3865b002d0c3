"""A plan: which protocol computes each operation, and in which ring."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass

from parties.errors import ConfigError

LINEAR = ("session", "beaver")
TRUNCATION = ("local", "exact")
COMPARISON = ("packed", "words")
"""How an engine computes its primitives; `Plan` says what each means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One name an operation; names are those of `protocols.registry`. Its digest is part of the handshake.

    Attributes:
        engine: who supplies the primitives.
        ring_bits, frac_bits: Z_2^ring_bits with frac_bits fraction bits.
        linear: `session` opens masked weights once a session; `beaver` on every call.
        truncation: `local` divides each share, and fails for an element with probability |value| / 2^32 at 16
            fraction bits; `exact` cannot fail, and costs a round and 8 bytes an element each way.
        comparison: `packed` sends single bits, only as many as a public bound leaves open; `words` is
            CrypTen's own, on 64-bit words.
        faithful: (engine `fss`) truncations are exact, by gates; otherwise free, and round up or down at random.
        fold: norm gains and biases are folded into the next weights, in cleartext, by the server.
    """

    name: str
    engine: str = "crypten"
    ring_bits: int = 64
    frac_bits: int = 16
    linear: str = "session"
    truncation: str = "local"
    comparison: str = "packed"
    fold: bool = True
    faithful: bool = False
    softmax: str = "tree"
    gelu: str = "piecewise"
    silu: str = "piecewise"
    relu: str = "compare"
    inverse_sqrt: str = "octaves"

    def digest(self) -> str:
        """Sixteen hex digits that both parties must agree on."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def replace(self, **choices: str) -> Plan:
        """This plan with other protocols for some operations.

        Raises:
            ConfigError: no such operation.
        """
        fixed = {"name", "engine", "ring_bits", "frac_bits", "fold", "faithful"}
        fields = {field.name for field in dataclasses.fields(self)} - fixed
        unknown = sorted(set(choices) - fields)
        if unknown:
            raise ConfigError(f"no operation {unknown[0]!r} in a plan; there are {', '.join(sorted(fields))}")
        name = "+".join([self.name, *(f"{key}={value}" for key, value in sorted(choices.items()))])
        return dataclasses.replace(self, **{**choices, "name": name})
