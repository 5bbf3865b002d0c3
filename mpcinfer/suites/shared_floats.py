"""Float weights for all sessions of a server, each in the narrowest type that holds it exactly.

Files of 16 bits become float32 when they are loaded; here they are 16 bits again, and are widened as they are
read. A weight with any entry that 16 bits do not hold stays as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import torch

from mpcinfer.models.prefix_run import PrefixRun
from mpcinfer.sessions.session_config import SessionConfig
from mpcinfer.suites.shareable import Shareable
from parties.errors import ConfigError

_NARROW = (torch.bfloat16, torch.float16)
_KINDS = {str(kind).removeprefix("torch."): kind for kind in (torch.float32, torch.float64)}
_KEYS, _VALUES = "prefix.keys.", "prefix.values."


def share_floats(session_config: SessionConfig) -> Shareable:
    """A server's weights, and keys and values of its public prefix where it has one.

    Raises:
        ConfigError: there are no weights, or some of another type than float32 and float64.
    """
    if session_config.weights is None:
        raise ConfigError("weights are shared by whoever has them: this configuration is a client's")
    kinds, tensors = dict[str, str](), dict[str, torch.Tensor]()
    for name, weight in session_config.weights.items():
        kind = str(weight.dtype).removeprefix("torch.")
        if kind not in _KINDS:
            raise ConfigError(f"weight {name}: expected float32 or float64, got {kind}")
        kinds[name], tensors[name] = kind, narrowest(weight)
    layers = 0
    if session_config.prefix_run is not None:
        run = session_config.prefix_run()
        layers = len(run.keys)
        tensors |= {f"{_KEYS}{layer}": each for layer, each in enumerate(run.keys)}
        tensors |= {f"{_VALUES}{layer}": each for layer, each in enumerate(run.values)}
    return Shareable({"weights": kinds, "prefix_layers": layers}, tensors)


def narrowest(weight: torch.Tensor) -> torch.Tensor:
    """The same numbers, to the last bit, in 16 bits where these hold all of them; or the weight itself."""
    if weight.dtype != torch.float32:
        return weight
    weight = weight.detach().contiguous()
    for kind in _NARROW:
        narrow = weight.to(kind)
        if torch.equal(narrow.to(torch.float32).view(torch.int32), weight.view(torch.int32)):
            return narrow
    return weight


def with_floats(session_config: SessionConfig, shared: Shareable) -> SessionConfig:
    """A session's configuration, with what `share_floats` made.

    Raises:
        ConfigError: that describes something else.
    """
    try:
        kinds = {str(name): _KINDS[kind] for name, kind in shared.document["weights"].items()}
        layers = range(int(shared.document["prefix_layers"]))
        weights = Widened({name: shared.tensors[name] for name in kinds}, kinds)
        keys = [shared.tensors[f"{_KEYS}{layer}"] for layer in layers]
        values = [shared.tensors[f"{_VALUES}{layer}"] for layer in layers]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"shared weights: no description of float weights: {error!r}") from None
    if keys:
        run = PrefixRun(keys, values)
        session_config = dataclasses.replace(session_config, prefix_run=lambda: run)
    return dataclasses.replace(session_config, weights=weights)


class Widened(Mapping[str, torch.Tensor]):
    """Weights in the types that they had, each made when it is read and kept by nobody here.

    Args:
        stored: in types that hold them exactly.
        kinds: the types that they had.
    """

    def __init__(self, stored: Mapping[str, torch.Tensor], kinds: Mapping[str, torch.dtype]) -> None:
        self._stored, self._kinds = stored, kinds

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._stored[name].to(self._kinds[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)
