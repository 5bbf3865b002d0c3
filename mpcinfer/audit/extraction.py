"""What a client that sees activations learns of the server's weights: the other direction.

A layer is Y = X W for inputs X that the client knows. Where it sees Y, that is a linear system; where it sees
the entries of each row of Y under a fresh secret permutation, it is one as well, once rows are aligned.
Published attacks align them by assignment (arXiv 2605.04901); for inputs that differ little, order of size
does it, which is the optimal assignment of numbers on a line.
"""

from __future__ import annotations

import torch

from mpcinfer.audit.algebra import gaussian, least_squares

_STEP = 1e-4
RIGHT = 1e-3
"""A number of a matrix whose entries are of order 1 / sqrt(D) counts as found below this error."""


def from_outputs(inputs: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
    """The matrix [D, M] that gave outputs [N, M] of inputs [N, D], by least squares; exact from N = D on."""
    return least_squares(inputs, outputs)


def from_permuted_outputs(
    layer: torch.Tensor, generator: torch.Generator, noise: float = 0.0
) -> torch.Tensor:
    """The columns of a matrix [D, M], in some order, from outputs whose entries come in fresh random orders.

    The client asks for the output of one input, and of D others that differ from it by 1e-4 in one entry.

    Args:
        layer: the secret; it is used to answer and for nothing else.
        noise: standard deviation of what is added to every entry of an answer.
    """

    def answer(x: torch.Tensor) -> torch.Tensor:
        row = x @ layer
        row = row + noise * gaussian(row.shape, generator)
        return row[torch.randperm(row.numel(), generator=generator)].sort().values

    width = layer.shape[0]
    base = gaussian((width,), generator)
    first = answer(base)
    steps = _STEP * torch.eye(width, dtype=layer.dtype)
    return torch.stack([(answer(base + step) - first) / _STEP for step in steps])


def weights_found(found: torch.Tensor, layer: torch.Tensor) -> float:
    """The share of a matrix's columns that are among those found, each entry to within `RIGHT`."""
    apart = (layer.T[:, None] - found.T[None]).abs().amax(-1)
    return float((apart.amin(-1) < RIGHT).double().mean())
