"""The suite's reference on one machine: fixed point of 64 bits in the clear, rounded faithfully."""

from __future__ import annotations

import torch

from mpcinfer.backends.fixed import FixedBackend
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.fold import fold
from mpcinfer.models.model import Model
from protocols.additive.primitives import FRAC_BITS


def reference_decoder(model: Model) -> Decoder[torch.Tensor, torch.Tensor]:
    """A model as this suite's plans compute it, but for the stated errors of their protocols.

    Raises:
        RangeError: a weight is too large; later, where a value is.
    """
    config, weights = fold(model.config, model.weights)
    backend = FixedBackend(FRAC_BITS)
    return Decoder(backend, config, backend.load(weights))
