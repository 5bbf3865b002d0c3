"""Noise on shared gradients: clipping, the Gaussian mechanism, and what it guarantees over many steps."""

from __future__ import annotations

import importlib
import importlib.util
import math
import shlex
import sys
import warnings
from typing import Any

import torch

from mpcinfer.audit.algebra import gaussian, length
from parties.errors import ConfigError

DELTA = 1e-5


def clipped(gradient: torch.Tensor, bound: float) -> torch.Tensor:
    """A gradient [..., P] of length at most `bound` > 0, in its own direction."""
    return gradient * (bound / length(gradient).clamp_min(bound))[..., None]


def noised(
    gradient: torch.Tensor, bound: float, multiplier: float, generator: torch.Generator
) -> torch.Tensor:
    """A clipped gradient [..., P] plus N(0, (multiplier bound)^2) on every entry.

    To measure with: noise that is to protect somebody comes from a generator that nobody can predict.
    """
    return clipped(gradient, bound) + multiplier * bound * gaussian(gradient.shape, generator)


def gaussian_multiplier(epsilon: float, delta: float = DELTA) -> float:
    """The noise multiplier that makes one release (epsilon, delta) private.

    sqrt(2 ln(1.25 / delta)) / epsilon: 4.84 for an epsilon of 1.

    Raises:
        ConfigError: an epsilon above 1, for which the formula does not hold, or none above 0.

    Source: Dwork and Roth 2014, theorem A.1.
    """
    if not 0.0 < epsilon <= 1.0:
        raise ConfigError(
            f"epsilon {epsilon:g}: the Gaussian mechanism's formula holds above 0 and up to 1; "
            "of more ask the accountant"
        )
    return math.sqrt(2.0 * math.log(1.25 / delta)) / epsilon


def has_accountant() -> bool:
    """Whether opacus, which has the accountant, is installed."""
    return importlib.util.find_spec("opacus") is not None


def require_accountant() -> None:
    """Raises ConfigError where it is not."""
    if not has_accountant():
        raise ConfigError(
            "what noise guarantees is counted by opacus: "
            f"{shlex.quote(sys.executable)} -m pip install 'mpcinfer[audit]', or leave it uncounted with "
            "--no-accountant"
        )


def epsilon_spent(multiplier: float, steps: int, *, sample_rate: float = 1.0, delta: float = DELTA) -> float:
    """The epsilon of so many noised releases, by Renyi differential privacy.

    Args:
        multiplier: noise on an entry over the clipping bound; above 0.
        sample_rate: the part of all contributors that each step takes, at random.

    Raises:
        ConfigError: opacus is missing.
    """
    require_accountant()
    accountants: Any = importlib.import_module("opacus.accountants")
    accountant = accountants.RDPAccountant()
    accountant.history = [(multiplier, sample_rate, steps)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of bounds that could be tighter where there is hardly any noise
        return float(accountant.get_epsilon(delta=delta))
