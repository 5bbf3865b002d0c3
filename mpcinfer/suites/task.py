"""A part of a model that is run by itself, to be measured: one operation's protocol, or blocks.

Its numbers are no secret: weights and inputs come from fixed seeds, and whoever starts it starts all parties.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpcinfer.models.config import ModelConfig, weight_shapes
from mpcinfer.suites.entry import CORRELATIONS, SAMPLE
from parties.bill import Bill, BillRow
from protocols.plan import Plan

if TYPE_CHECKING:
    import torch

    from mpcinfer.sessions.addresses import Address
    from parties.keys import KeyPair

_LAYER = "layer"
_INPUT_SEED, _WEIGHT_SEED = 1, 0
_GAINS = ("norm.weight", "norm1.weight", "norm2.weight", ".gain", ".alpha", ".beta")
"""What multiplies, and is around 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is run.

    Attributes:
        plan: every party's.
        config: the shape: an operation's sample has its first block's formats. Norms are not folded.
        tokens: of one pass from the start.
        operation: a field of the plan; empty for all blocks of the shape.
    """

    plan: Plan
    config: ModelConfig
    tokens: int
    operation: str = ""

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "plan": self.plan.to_json(),
            "config": self.config.to_json(),
            "tokens": self.tokens,
            "operation": self.operation,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Task:
        """The task of `to_json`."""
        return cls(
            plan=Plan.from_json(document["plan"]),
            config=ModelConfig.from_json(document["config"]),
            tokens=document["tokens"],
            operation=document["operation"],
        )

    def measured(self, bill: Bill) -> Bill:
        """The rows of a bill that are the task's own: without its input, its output and the setup."""
        first = [(row, row.label.split(".")[0]) for row in bill.rows]
        own = SAMPLE if self.operation else _LAYER
        rows = [row for row, name in first if name.startswith(own) or name == CORRELATIONS]
        return Bill(rows=rows, notes=bill.notes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How the parties of a task find one another; made afresh for every run.

    Attributes:
        keys: this party's, for connections to a dealer.
        dealer: where correlations come from while the task runs; None where there is no dealer.
        folder: where a dealer that ends before the parties begin leaves them.
        seed: what dealer and parties draw randomness from where a suite deals ahead. All have it, so that
            nothing is hidden from anybody: a task is measured, its numbers are not secret.
        timeout_s: longest silence of a peer.
    """

    keys: KeyPair | None = None
    dealer: Address | None = None
    folder: Path = field(default_factory=Path)
    seed: bytes = bytes(12)
    timeout_s: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """What a party has of a task when it is over.

    Attributes:
        bill: everything, timed.
        output: the result in float64 at the client; None at the server.
        expected: likewise in float64, without privacy.
    """

    bill: Bill
    output: torch.Tensor | None = None
    expected: torch.Tensor | None = None

    @property
    def error(self) -> dict[str, float]:
        """Largest and mean absolute difference, where there is a result."""
        if self.output is None or self.expected is None:
            return {}
        off = (self.output.double() - self.expected.double()).abs()
        return {"max": float(off.max()), "mean": float(off.mean())}


COSTS = (
    "rounds",
    "online_bytes_to_server",
    "online_bytes_to_client",
    "offline_bytes_to_server",
    "offline_bytes_to_client",
)
"""What a measured bill must have as the counted one has it, to the byte."""


def differences(measured: BillRow, counted: BillRow) -> list[str]:
    """What is not as counted, in words."""
    pairs = [(name, getattr(measured, name), getattr(counted, name)) for name in COSTS]
    return [f"{name}: {got:,} measured, {want:,} counted" for name, got, want in pairs if got != want]


Draw = Callable[[tuple[int, ...]], "torch.Tensor"]
"""A shape -> numbers of it in float64, the same for everybody who draws."""


def normal(scale: float) -> Draw:
    """Normal numbers."""

    def draw(shape: tuple[int, ...]) -> torch.Tensor:
        import torch

        return scale * torch.randn(shape, generator=_generator(_INPUT_SEED), dtype=torch.float64)

    return draw


def log_uniform(low: float, high: float) -> Draw:
    """Positive numbers of all orders of magnitude between two."""

    def draw(shape: tuple[int, ...]) -> torch.Tensor:
        import torch

        exponents = torch.rand(shape, generator=_generator(_INPUT_SEED), dtype=torch.float64)
        return low * (high / low) ** exponents

    return draw


def random_weights(config: ModelConfig) -> dict[str, torch.Tensor]:
    """Random weights of the size that a trained model's have, in float32, by name."""
    import torch

    generator, weights = _generator(_WEIGHT_SEED), dict[str, torch.Tensor]()
    for name, shape in weight_shapes(config).items():
        noise = torch.randn(shape, generator=generator)
        gain = name.endswith(_GAINS)
        weights[name] = 1 + 0.1 * noise if gain else noise * (shape[0] ** -0.5 if len(shape) == 2 else 0.02)
    return weights


def residual(config: ModelConfig, tokens: int) -> torch.Tensor:
    """The input of blocks: a residual stream [1, T, D] of unit variance, in float32."""
    import torch

    return torch.randn(1, tokens, config.width, generator=_generator(_INPUT_SEED))


def blocks_in_float(config: ModelConfig, x: torch.Tensor) -> torch.Tensor:
    """What blocks with `random_weights` make of a residual stream, in float64."""
    import torch

    from mpcinfer.backends.plain import PlainBackend
    from mpcinfer.models.decoder import Decoder
    from mpcinfer.models.static import static

    config, weights = static(config, random_weights(config))
    with torch.no_grad():
        doubled = {name: weight.double() for name, weight in weights.items()}
        return Decoder(PlainBackend(), config, doubled).stack(x.double())


def _generator(seed: int) -> torch.Generator:
    import torch

    return torch.Generator().manual_seed(seed)
