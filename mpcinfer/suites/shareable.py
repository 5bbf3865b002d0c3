"""What all sessions of a server can read in one memory: tensors, and what says which is which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True, eq=False)
class Shareable:
    """A suite's form of a model's weights, as `Suite.share` makes and `Suite.with_shared` reads it.

    Attributes:
        document: plain values, as in messages; for the suite alone to read.
        tensors: by names that the document has; nobody writes into them.
    """

    document: Mapping[str, Any]
    tensors: Mapping[str, torch.Tensor]
