"""Fitting an adapter to a given prefix: exactly for power 2, by least squares for softmax."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch

from mpcinfer.backends.feature_maps import features_of, pairs_of_keys
from mpcinfer.models.attention_state import FeatureMap, check_features
from mpcinfer.models.config import AttentionForm
from mpcinfer.models.model import Model
from mpcinfer.models.public import PublicModel
from mpcinfer.prefix.adapter import PrefixAdapter, model_digest
from mpcinfer.prefix.measure import measured_over
from mpcinfer.prefix.teacher import Seen, prefix_keys, require_prefixable, run_teacher
from parties.errors import ConfigError

RIDGES = (1e-6, 1e-4, 1e-3, 1e-2, 1e-1)
"""Of the least squares, as parts of the features' mean square; of these, and of no state at all, each head
has the one that is nearest on windows that were not fitted to."""
_STEPS = 400
"""Of the projected gradient that keeps z from being negative."""
Window = Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fit:
    """An adapter, and how near it is.

    Attributes:
        errors: a layer each: how far attention's outputs are from those over the prefix's keys, on queries
            that were not fitted to, over how far they are without the prefix: 1 is ignoring it, 0 is exact.
    """

    adapter: PrefixAdapter
    errors: tuple[float, ...]


def fit_prefix(
    model: Model,
    ids: Sequence[int],
    windows: Sequence[Window],
    features: FeatureMap,
    on_progress: Callable[[int, int], None] | None = None,
) -> Fit:
    """An adapter of a prefix.

    Power 2 (``pairs``): sum_j phi(k_j) [v_j, 1] in closed form, and epsilon times the number of tokens; it is
    exact. Softmax: Z and z such that phi(q) Z and phi(q) z are near sum_j exp(q k_j) v_j and sum_j exp(q k_j)
    over queries of other texts that see the prefix, each weighed by one over its row's whole sum, and z not
    negative. Of four windows two are fitted to, one picks the ridge, and the last says how near it came.

    Args:
        ids: the prefix's tokens.
        windows: other texts' tokens, each at most the model's context, four at least.
        on_progress: is told how many layers are done, of how many.

    Raises:
        ConfigError: features for another attention, a model without prefixes, no tokens, too few windows, or
            keys that exp does not hold.
    """
    check_features(features, model.config.attention, model.config.power)
    require_prefixable(model)
    if len(windows) < 4:
        raise ConfigError("a fit wants four windows of other text at least: more --queries")
    keys, form = prefix_keys(model, ids), model.config.form
    runs = [run_teacher(model, window, keys) for window in windows]
    sums, beside, errors = list[torch.Tensor](), list[torch.Tensor](), list[float]()
    for layer, (k, v) in enumerate(keys):
        rows = [run[layer] for run in runs]
        if features == "pairs":
            state, more = pairs_state(k, v, form, rows[0])
            beside.append(more)
        else:
            state = fitted_state(k, v, rows[::4] + rows[1::4], rows[2::4], features)
            errors.append(relative_error(k, v, rows[3::4], features, state))
        sums.append(state)
        if on_progress is not None:
            on_progress(layer + 1, len(keys))
    adapter = PrefixAdapter(
        features=features,
        sums=tuple(sums),
        beside=tuple(beside),
        model=model_digest(PublicModel.of(model)),
        made_by="fit",
    )
    return Fit(adapter=measured_over(adapter, model, windows), errors=tuple(errors) or (0.0,) * len(sums))


def pairs_state(
    k: torch.Tensor, v: torch.Tensor, form: AttentionForm, seen: Seen
) -> tuple[torch.Tensor, torch.Tensor]:
    """sum_j phi(k_j) [v_j, 1] over keys [1, H, m, K], and epsilon times m.

    Args:
        seen: for the heads' offsets and epsilons.
    """
    heads, count = k.shape[1], k.shape[-2]
    if seen.offset is not None or form.shift:
        own = torch.zeros(heads).to(k) if seen.offset is None else seen.offset
        k = torch.cat([k, (own + form.shift)[:, None, None].expand(1, heads, count, 1)], -1)
    epsilon = torch.full((heads,), form.epsilon).to(k) if seen.epsilon is None else seen.epsilon
    sums = pairs_of_keys(k).transpose(-1, -2) @ torch.cat([v, torch.ones_like(v[..., :1])], -1)
    return sums, (epsilon * count)[None, :, None, None]


def fitted_state(
    k: torch.Tensor, v: torch.Tensor, rows: Sequence[Seen], picking: Sequence[Seen], features: FeatureMap
) -> torch.Tensor:
    """[1, H, R, K + 1] from queries of some windows, with ridges that others pick."""
    phi = torch.cat([features_of(each.q, features) for each in rows], -2)[0]
    targets = torch.cat([_targets(each.q, k, v) for each in rows], -2)[0]
    whole = torch.cat([_own_sums(each) for each in rows], -2)[0] + targets[..., -1:]
    if not bool(targets.isfinite().all()):
        raise ConfigError("scores of the prefix's keys are too large for exp: it cannot be fitted")
    left, right = phi / whole, targets / whole
    gram = left.transpose(-1, -2) @ left
    size = gram.diagonal(dim1=-2, dim2=-1).mean(-1)[:, None, None]
    moments, unit = left.transpose(-1, -2) @ right, torch.eye(gram.shape[-1]).to(gram)
    best = torch.zeros_like(moments)[None]
    nearest = head_errors(k, v, picking, features, best)[0]
    for ridge in RIDGES:
        ridged = gram + ridge * size * unit
        solved = cast(torch.Tensor, torch.linalg.solve(ridged, moments))  # pyright: ignore
        last = _not_negative(ridged, moments[..., -1:], solved[..., -1:].clamp_min(0.0))
        state = torch.cat([solved[..., :-1], last], -1)[None]
        off = head_errors(k, v, picking, features, state)[0]
        best = torch.where((off < nearest)[None, :, None, None], state, best)
        nearest = torch.minimum(off, nearest)
    return best


def _not_negative(gram: torch.Tensor, moments: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """The least squares' solution among those that are not negative, by accelerated projected gradients."""
    largest = cast(torch.Tensor, torch.linalg.matrix_norm(gram, 2))  # pyright: ignore
    step = 1.0 / largest[:, None, None]
    before, ahead = z, z
    for i in range(_STEPS):
        z = (ahead - step * (gram @ ahead - moments)).clamp_min(0.0)
        ahead, before = z + i / (i + 3) * (z - before), z
    return z


def relative_error(
    k: torch.Tensor, v: torch.Tensor, rows: Sequence[Seen], features: FeatureMap, state: torch.Tensor
) -> float:
    off, far = (float(each.sum()) for each in head_errors(k, v, rows, features, state))
    return (off / far) ** 0.5 if far else 0.0


def head_errors(
    k: torch.Tensor, v: torch.Tensor, rows: Sequence[Seen], features: FeatureMap, state: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Squares, a head each, of how far outputs with a state are from those over its keys, and of how far
    those without both are."""
    off = far = torch.zeros(k.shape[1], dtype=k.dtype)
    for each in rows:
        own, values = _own_sums(each), _own_mix(each)
        true, fitted = _targets(each.q, k, v), features_of(each.q, features) @ state
        outputs = [(values + x[..., :-1]) / (own + x[..., -1:]) for x in (true, fitted)]
        off = off + (outputs[1] - outputs[0]).square().sum((0, -1, -2))
        far = far + (values / own - outputs[0]).square().sum((0, -1, -2))
    return off, far


def _targets(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """sum_j exp(q k_j) [v_j, 1], [1, H, T, K + 1]."""
    return torch.exp(q @ k.transpose(-1, -2)) @ torch.cat([v, torch.ones_like(v[..., :1])], -1)


def _own_weights(seen: Seen) -> torch.Tensor:
    """exp of scores of the keys up to each query's own."""
    scores = seen.q @ seen.k.transpose(-1, -2)
    return torch.exp(scores).tril()


def _own_sums(seen: Seen) -> torch.Tensor:
    return _own_weights(seen).sum(-1, keepdim=True)


def _own_mix(seen: Seen) -> torch.Tensor:
    return _own_weights(seen) @ seen.v
