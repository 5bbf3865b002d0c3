"""The decoder on the ideal functionality: the fixed-point reference, evaluated on shares."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from mpcinfer.backends.fixed import FixedBackend
from mpcinfer.backends.plain import PlainBackend
from protocols.fixed_point import decode
from tests.suites.insecure_ideal.functionality import Functionality

_SHARED = {"matmul": 2, "mul": 2}
"""How many arguments of an operation are shared values; one of all others. The rest is the server's."""


def _ideal(name: str) -> Callable[..., torch.Tensor]:
    """An operation of the reference by the functionality; its result's shape is that in float."""

    def operation(self: InsecureIdealBackend, *arguments: Any) -> torch.Tensor:
        count = _SHARED.get(name, 1)
        shares, others = arguments[:count], arguments[count:]
        dtypes = [torch.int64 if name == "embed" else torch.float32] + [torch.float32] * len(arguments)
        on_shapes = [_shape_of(each, dtype) for each, dtype in zip(arguments, dtypes, strict=False)]
        shape = getattr(PlainBackend(), name)(*on_shapes).shape
        function = getattr(super(InsecureIdealBackend, self), name)
        return self.functionality.evaluate(shape, lambda *values: function(*values, *others), *shares)

    return operation


def _shape_of(argument: object, dtype: torch.dtype) -> object:
    if isinstance(argument, torch.Tensor):
        return torch.empty(argument.shape, dtype=dtype, device="meta")
    return argument


class InsecureIdealBackend(FixedBackend):
    """Values are additive shares; what is not a sum or a change of shape is the functionality's.

    Args:
        client: has the token ids.
    """

    def __init__(self, functionality: Functionality, *, client: bool) -> None:
        super().__init__()
        self.functionality, self._client = functionality, client

    embed = _ideal("embed")
    add_positions = _ideal("add_positions")
    linear = _ideal("linear")
    matmul = _ideal("matmul")
    attention_weights = _ideal("attention_weights")
    add_offset = _ideal("add_offset")
    apply_temperature = _ideal("apply_temperature")
    norm = _ideal("norm")
    activation = _ideal("activation")
    mul = _ideal("mul")
    scale = _ideal("scale")
    rope = _ideal("rope")
    head = _ideal("head")

    @contextmanager
    def span(self, name: str, kind: str = "") -> Generator[None]:
        with super().span(name, kind), self.functionality.meter.span(name, kind):
            yield

    def tokens(self, ids: Sequence[int] | None, count: int) -> torch.Tensor:
        if ids is None:
            return torch.zeros((1, count), dtype=torch.int64)
        return super().tokens(ids, count)

    def add(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a + b

    def open_logits(self, logits: torch.Tensor) -> torch.Tensor | None:
        with self.span("output", "output"):
            opened = self.functionality.open_to_client(logits)
        return None if opened is None else decode(opened, self.frac_bits)
