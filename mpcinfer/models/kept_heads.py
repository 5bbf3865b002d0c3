"""Attention of a layer some of whose heads are dropped: those are left out before anything is sent for them.

The matrix before still makes the queries, keys and values of dropped heads; nobody looks at them, and the
matrix after reads public zeros in their place. A head of keys that no query reads any more is left out, too.
"""

from __future__ import annotations

from dataclasses import dataclass

from mpcinfer.backends.base import Backend, TensorT, WeightT
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.patterns import kept_heads


@dataclass(frozen=True, slots=True)
class KeptHeads:
    """Which heads of a layer see keys.

    Attributes:
        heads, group: heads of queries, and how many of them read one head of keys.
        numbers: of those that see keys.
    """

    heads: int
    group: int
    numbers: tuple[int, ...]

    @classmethod
    def of(cls, config: ModelConfig, layer: int) -> KeptHeads:
        """A layer's."""
        numbers = kept_heads(config.patterns, layer, config.heads)
        return cls(config.heads, config.heads // config.kv_heads, numbers)

    @property
    def dropped(self) -> bool:
        """Whether any is."""
        return len(self.numbers) < self.heads

    @property
    def key_heads(self) -> tuple[int, ...]:
        """Heads of keys that any of them reads."""
        return tuple(sorted({number // self.group for number in self.numbers}))

    def of_inputs(
        self, backend: Backend[TensorT, WeightT], q: TensorT, k: TensorT, v: TensorT
    ) -> tuple[TensorT, TensorT, TensorT]:
        """Queries [B, H, T, K], keys and values [B, H_kv, T, K], those that are left."""
        keys = self.key_heads
        return backend.take_heads(q, self.numbers), backend.take_heads(k, keys), backend.take_heads(v, keys)

    def of_keys(self, backend: Backend[TensorT, WeightT], x: TensorT) -> TensorT:
        """Keys or values that are left, for every head of queries that is."""
        for_each = {sum(n // self.group == head for n in self.numbers) for head in self.key_heads}
        if len(for_each) == 1:
            return backend.repeat_heads(x, for_each.pop())
        place = {head: i for i, head in enumerate(self.key_heads)}
        return backend.take_heads(x, [place[number // self.group] for number in self.numbers])

    def of_numbers(self, backend: Backend[TensorT, WeightT], weight: WeightT | None) -> WeightT | None:
        """A weight of a number a head, those that are left."""
        return weight if weight is None or not self.dropped else backend.take_rows(weight, self.numbers)

    def placed(self, backend: Backend[TensorT, WeightT], mixed: TensorT) -> TensorT:
        """Outputs of all heads, [B, H, T, K], zeros where one is dropped."""
        return backend.place_heads(mixed, self.numbers, self.heads) if self.dropped else mixed
