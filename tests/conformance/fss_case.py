"""A gate in a small program, with inputs for the checks of `fss_suite`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch

from protocols.fss.executors.gate import Gate
from protocols.share import Held
from tests.protocols.fss.harness import Program, Secret, Weight

Shape = tuple[int, ...]
Choice = Literal["spread", "least", "middle", "most"]
"""Secrets all over the domain, edges included; or all the same, at one end of it or in the middle."""


@dataclass(frozen=True)
class Domain:
    """An input: low <= secret < high, how it is held, and in what ring.

    Attributes:
        at_client: additive shares of which the server's is zero.
    """

    low: int
    high: int
    ring_bits: int
    frac_bits: int = 0
    held: Held = Held.MASKED
    at_client: bool = False

    def secret(self, shape: Shape, choice: Choice) -> Secret:
        match choice:
            case "least":
                value = torch.full(shape, self.low)
            case "middle":
                value = torch.full(shape, (self.low + self.high) // 2)
            case "most":
                value = torch.full(shape, self.high - 1)
            case "spread":
                count, span = math.prod(shape), self.high - self.low
                steps = torch.arange(count) * max(1, span * 5 // 13) % span
                value = (self.low + steps).reshape(shape)
                if count > 1:
                    value.view(-1)[-1] = self.high - 1
        return Secret(value, self.frac_bits, self.ring_bits, self.held, value if self.at_client else None)


@dataclass(frozen=True, eq=False)
class Case:
    """A gate in a small program.

    Attributes:
        gate: the class that is under test.
        program: on shares of the domains.
        domains: one an input.
        shapes: of the inputs, for bills and results; each entry has one shape an input.
        many: shapes of the inputs with which at least 2,048 elements are opened, for statistics.
        weights: of the server.
        tolerance: units of the last place that a result may be off beyond what its masks explain.
        every_mask: the first domain is small enough to try all its secrets under all masks.
    """

    name: str
    gate: type[Gate]
    program: Program
    domains: tuple[Domain, ...]
    shapes: tuple[tuple[Shape, ...], ...]
    many: tuple[Shape, ...]
    weights: tuple[Weight, ...] = ()
    every_mask: bool = False
    tolerance: int = 0

    def __str__(self) -> str:
        return self.name

    def secrets(self, shapes: tuple[Shape, ...], choice: Choice) -> list[Secret]:
        pairs = zip(self.domains, shapes, strict=True)
        return [domain.secret(shape, choice) for domain, shape in pairs]


SMALL: tuple[tuple[Shape, ...], ...] = (((3,),), ((1,),), ((2, 5),))
MANY: tuple[Shape, ...] = ((2048,),)


def elementwise(
    name: str,
    gate: Gate,
    program: Program,
    *domains: Domain,
    every_mask: bool = False,
    tolerance: int = 0,
) -> Case:
    """A gate that takes inputs of one shape."""
    count = len(domains)
    shapes = tuple(shape * count for shape in SMALL)
    many = MANY * count
    return Case(name, type(gate), program, domains, shapes, many, (), every_mask, tolerance)


def direct(gate: Gate) -> Program:
    """The gate alone."""
    return lambda executor, *inputs: executor.apply(gate, *inputs)


def additive(bits: int) -> Domain:
    return Domain(-(1 << (bits - 1)), 1 << (bits - 1), bits, 2, Held.ADDITIVE)
