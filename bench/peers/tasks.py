"""The cases: same weights and same inputs for everybody, and what float64 makes of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from bench.block import GPT2_BLOCK
from bench.peers.inside.clear import PROGRAMS
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.folded import folded_config
from mpcinfer.models.variants import variant
from mpcinfer.suites.task import random_weights, residual
from parties.errors import ConfigError

TOKENS = 128
WIDTH, HIDDEN, HEADS = GPT2_BLOCK.width, GPT2_BLOCK.hidden, GPT2_BLOCK.heads
SOFTMAX_ONLY = "SM+ScFuFFN"
"""The variant whose folded blocks have attention as their only nonlinearity."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What goes in.

    Attributes:
        x: the client's.
        weights: the server's, by name; matrices are [in, out].
    """

    x: NDArray[np.float32]
    weights: dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Task:
    """One case.

    Attributes:
        name: of the case, for command lines and records.
        kind: `operation` or `block`.
        shape: of the input.
        title: as tables show it.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    title: str

    @cached_property
    def inputs(self) -> Inputs:
        """Made from fixed seeds."""
        if self.kind == "block":
            return Inputs(residual(GPT2_BLOCK, TOKENS)[0].numpy(), _plain_names(*block_of(self.name)))
        generator = torch.Generator().manual_seed(1)
        # Scores and pre-activations of trained models are larger than a norm's rows.
        spread = 2.0 if self.name in ("softmax", "gelu", "relu") else 1.0
        x = spread * torch.randn(self.shape, generator=generator)
        weights: dict[str, NDArray[np.float32]] = {}
        if self.name == "matmul":
            weights["weight"] = (torch.randn(WIDTH, HIDDEN, generator=generator) / math.sqrt(WIDTH)).numpy()
        return Inputs(x.numpy(), weights)

    @cached_property
    def reference(self) -> NDArray[np.float64]:
        """The result in float64."""
        weights = {name: torch.from_numpy(value).double() for name, value in self.inputs.weights.items()}
        return PROGRAMS[self.name](torch.from_numpy(self.inputs.x).double(), weights).numpy()


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("matmul", "operation", (TOKENS, WIDTH), "matrix product [128, 768] x [768, 3072]"),
        Task("relu", "operation", (TOKENS, HIDDEN), "ReLU [128, 3072]"),
        Task("gelu", "operation", (TOKENS, HIDDEN), "GELU [128, 3072]"),
        Task("softmax", "operation", (HEADS, TOKENS, TOKENS), "causal softmax [12, 128, 128]"),
        Task("layernorm", "operation", (TOKENS, WIDTH), "layer norm [128, 768]"),
        Task("softmax-block", "block", (TOKENS, WIDTH), "block with softmax alone"),
        Task("block", "block", (TOKENS, WIDTH), "GPT-2 block"),
    )
}


def task_named(name: str) -> Task:
    """A case.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in TASKS:
        raise ConfigError(f"no case {name!r}; there are {', '.join(TASKS)}")
    return TASKS[name]


def block_of(name: str) -> tuple[ModelConfig, dict[str, torch.Tensor]]:
    """Shape and weights of a block: the softmax-only one as it is after folding."""
    config = folded_config(variant(SOFTMAX_ONLY, GPT2_BLOCK)) if name == "softmax-block" else GPT2_BLOCK
    return config, random_weights(config)


def _plain_names(config: ModelConfig, weights: dict[str, torch.Tensor]) -> dict[str, NDArray[np.float32]]:
    prefix = "layer0."
    return {
        name.removeprefix(prefix): value.float().numpy()
        for name, value in weights.items()
        if name.startswith(prefix)
    }
