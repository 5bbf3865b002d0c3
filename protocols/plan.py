"""A plan: which protocol of which suite computes each operation."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from parties.errors import ConfigError

DEFAULT_PLAN = "fss"
"""Of all commands and calls."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One name an operation; names are those that its suite has registered.

    Its digest is part of the handshake.

    Attributes:
        suite: whose operations these are.
        choices: operation -> protocol, for every operation that the suite has.
        fold: norm gains and biases are folded into the next weights, in cleartext, by the server.
        chunk: keys and values are kept as a state, into which so many tokens move at once; 0 for as they are.
    """

    name: str
    suite: str
    choices: Mapping[str, str] = field(hash=False)
    fold: bool = True
    chunk: int = 0

    def digest(self) -> str:
        """Sixteen hex digits that both parties must agree on."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """All fields as plain values; `from_json` reads them back."""
        said = {"name": self.name, "suite": self.suite, "choices": dict(self.choices), "fold": self.fold}
        return {**said, "chunk": self.chunk} if self.chunk else said

    @staticmethod
    def from_json(value: object) -> Plan:
        """The plan of `to_json`, of whatever suite; see `Suite.check`.

        Raises:
            ConfigError: fields are missing, unknown or of another type.
        """
        fields = cast(dict[str, Any], value) if isinstance(value, dict) else {}
        types = {"name": str, "suite": str, "choices": dict, "fold": bool}
        sound = set(fields) - {"chunk"} == set(types) and all(
            isinstance(fields[key], types[key]) for key in types
        )
        sound = sound and (type(fields.get("chunk", 1)) is int and fields.get("chunk", 1) > 0)
        if not sound or not all(isinstance(word, str) for pair in fields["choices"].items() for word in pair):
            raise ConfigError("no plan: it has a name, a suite, choices and whether weights are folded")
        return Plan(**fields)

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
        return dataclasses.replace(self, name=name, choices={**self.choices, **choices})


def check_choices(plan: Plan, suite: str, operations: Mapping[str, Mapping[str, object]]) -> None:
    """That a plan is for a suite, and names one of its protocols for each of its operations and no others.

    Raises:
        ConfigError: the message lists what there is.
    """
    if plan.suite != suite:
        raise ConfigError(f"plan {plan.name} is for the suite {plan.suite}, not {suite}")
    for operation, name in plan.choices.items():
        if operation not in operations:
            raise ConfigError(f"suite {suite} has no {operation}; it has {', '.join(sorted(operations))}")
        if name not in operations[operation]:
            raise ConfigError(f"{operation} has no protocol {name!r}; {suggest(name, operations[operation])}")
    missing = sorted(set(operations) - set(plan.choices))
    if missing:
        raise ConfigError(f"plan {plan.name} names no protocol for {', '.join(missing)}")


def disclosures_of(plan: Plan, operations: Mapping[str, Mapping[str, object]]) -> list[str]:
    """What a plan's choices give away beyond what every run does: a sentence each, from their `reveals`."""
    said = [
        (operation, name, getattr(operations[operation][name], "reveals", ""))
        for operation, name in plan.choices.items()
    ]
    return [f"{operation}={name} {reveals}" for operation, name, reveals in said if reveals]


def suggest(name: str, known: Mapping[str, object]) -> str:
    """What was meant, perhaps, and all that there is."""
    near = difflib.get_close_matches(name, known, n=1)
    question = f"did you mean {near[0]!r}? " if near else ""
    return f"{question}there are {', '.join(sorted(known))}"
