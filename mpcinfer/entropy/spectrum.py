"""Eigenspectra of FFN activations: how many directions of the hidden space an FFN uses, before and after its
nonlinearity.

Shape legend: B windows, T tokens, F hidden.

Source: NerVE (arXiv 2603.06922), its four metrics; early enrichment is that of Marbut et al. (arXiv
2212.08172). Of a gated unit the gate is looked at before, and its product after.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast, final

import torch

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.config import ActivationKind, ModelConfig
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.static import static


@dataclass(frozen=True, slots=True)
class Spectrum:
    """The eigenvalues of a covariance, in three numbers; NaN where nothing varies.

    Attributes:
        entropy: spectral entropy -sum p log p of p = eigenvalue / trace, in nats: from 0 for one direction to
            log F for all alike.
        participation: participation ratio, trace^2 / sum of squared eigenvalues, from 1 to F.
        enrichment: early enrichment 2 / F sum_k (p_1 + .. + p_k - k / F) of p from the largest on: from 0
            for all alike to 1 - 1 / F for one direction.
    """

    entropy: float
    participation: float
    enrichment: float


@dataclass(frozen=True, slots=True)
class FfnSpectra:
    """A layer's, before and after the nonlinearity.

    Attributes:
        divergence: Jensen-Shannon divergence of the two p, each from its largest on, in nats: 0 to log 2.
    """

    layer: int
    before: Spectrum
    after: Spectrum
    divergence: float


class Moments:
    """Adds up rows [.., F] for their covariance, in float64."""

    def __init__(self) -> None:
        self._rows = 0
        self._sum = torch.zeros(())
        self._products = torch.zeros(())

    def add(self, x: torch.Tensor) -> None:
        """Counts rows."""
        rows = x.detach().double().flatten(0, -2)
        self._sum = self._sum + rows.sum(0)
        self._products = self._products + rows.T @ rows
        self._rows += len(rows)

    def shares(self) -> torch.Tensor:
        """Eigenvalues over their sum, of the rows so far, at least one; as `shares_of`."""
        mean = self._sum / self._rows
        return shares_of(self._products / self._rows - mean[:, None] * mean)


def shares_of(covariance: torch.Tensor) -> torch.Tensor:
    """Eigenvalues of a covariance [F, F] over their sum, the largest first; NaN where they are all zero.

    Those that rounding leaves below zero count as zero.
    """
    values = cast(torch.Tensor, torch.linalg.eigvalsh(covariance)).clamp_min(0.0).flip(0)  # pyright: ignore
    return values / values.sum()


def spectrum_of(shares: torch.Tensor) -> Spectrum:
    """The numbers of `shares_of`."""
    uniform = torch.arange(1, len(shares) + 1).to(shares) / len(shares)
    return Spectrum(
        entropy=_entropy(shares),
        participation=1.0 / float(shares.square().sum()),
        enrichment=2.0 * float((shares.cumsum(0) - uniform).mean()),
    )


def divergence_of(first: torch.Tensor, second: torch.Tensor) -> float:
    """Jensen-Shannon divergence of two `shares_of`, in nats."""
    return _entropy((first + second) / 2) - (_entropy(first) + _entropy(second)) / 2


def _entropy(shares: torch.Tensor) -> float:
    return 0.0 - float(torch.xlogy(shares, shares).sum())


@final
class _FfnBackend(PlainBackend):
    """Computes what `PlainBackend` does, and counts what goes into FFNs' nonlinearities and comes out."""

    def __init__(self) -> None:
        self.before: dict[int, Moments] = {}
        self.after: dict[int, Moments] = {}

    def activation(self, x: torch.Tensor, kind: ActivationKind) -> torch.Tensor:
        y = super().activation(x, kind)
        self._count(x, y)
        return y

    def gated(self, gate: torch.Tensor, up: torch.Tensor, kind: ActivationKind) -> torch.Tensor:
        y = super().activation(gate, kind) * up
        self._count(gate, y)
        return y

    def _count(self, x: torch.Tensor, y: torch.Tensor) -> None:
        layer = self.site.layer
        if self.site.part == "ffn" and layer is not None:
            self.before.setdefault(layer, Moments()).add(x)
            self.after.setdefault(layer, Moments()).add(y)


@torch.no_grad()
def ffn_spectra(
    config: ModelConfig, weights: Mapping[str, torch.Tensor], batches: Iterable[torch.Tensor]
) -> list[FfnSpectra]:
    """Spectra of every FFN with a nonlinearity over batches of tokens [B, T]; none for models without.

    Cost: 16 F^2 bytes a layer, and an eigendecomposition of [F, F] twice a layer.
    """
    shape, used = static(config, weights)
    backend = _FfnBackend()
    if shape.ffn in ("fused", "none"):
        return []
    decoder = Decoder(backend, shape, used)
    device = weights["embed.tokens"].device
    for inputs in batches:
        decoder.stack(decoder.embedding(inputs.to(device)))
    pairs = {
        layer: (backend.before[layer].shares(), backend.after[layer].shares()) for layer in backend.before
    }
    return [
        FfnSpectra(layer, spectrum_of(before), spectrum_of(after), divergence_of(before, after))
        for layer, (before, after) in sorted(pairs.items())
    ]
