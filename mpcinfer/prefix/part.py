"""What one party has of a prefix in a private run: its summands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mpcinfer.models.attention_state import FeatureMap
from mpcinfer.models.public import PublicModel
from mpcinfer.prefix.adapter import PrefixAdapter, require_shapes, state_shape

PAIR_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PrefixPart:
    """Summands of every layer's states; both parties' add up to the states.

    Who owns the prefix has all of it, and the other party zeros; of a third party's each has a uniform share.
    Where both own one, both are seen: sums over keys add up.

    Attributes:
        features: public, the same at both parties.
        sums: [1, H, R, K + 1] a layer, int64 with `sum_frac` fraction bits (`prefix_formats`).
        beside: [1, H, 1, 1] a layer, with `BESIDE_FRAC`; empty for features of softmax.
        pair: names the two shares of one split; empty where it was not split.
    """

    features: FeatureMap
    sums: Sequence[torch.Tensor]
    beside: Sequence[torch.Tensor] = ()
    pair: str = ""

    @staticmethod
    def none(features: FeatureMap, public: PublicModel) -> PrefixPart:
        """Of a party that has nothing of it.

        Raises:
            ConfigError: such features are not for the model's attention.
        """
        shape, layers = state_shape(public.config, features), public.config.layers
        beside = (*shape[:2], 1, 1) if features == "pairs" else None
        return PrefixPart(
            features=features,
            sums=[torch.zeros(shape, dtype=torch.int64)] * layers,
            beside=[] if beside is None else [torch.zeros(beside, dtype=torch.int64)] * layers,
        )

    @staticmethod
    def owned(adapter: PrefixAdapter, public: PublicModel) -> PrefixPart:
        """Of the party that has all of it.

        Raises:
            ConfigError: the adapter is not for the model.
            RangeError: private runs do not hold it.
        """
        adapter.require_for(public)
        sums, beside = adapter.fixed()
        beside = beside or list(PrefixPart.none(adapter.features, public).beside)
        return PrefixPart(features=adapter.features, sums=sums, beside=beside)

    def require_for(self, public: PublicModel) -> None:
        """Raises ConfigError where the shapes are not those of a model."""
        shape = state_shape(public.config, self.features)
        require_shapes(tuple(self.sums), tuple(self.beside), self.features, shape, public.config.layers)

    @property
    def agreement(self) -> str:
        """What both parties must say of it in the handshake."""
        return f", prefix {self.features}" + (f" of split {self.pair}" if self.pair else "")


def agreement_of(part: PrefixPart | None) -> str:
    """The same; of no prefix, nothing."""
    return "" if part is None else part.agreement
