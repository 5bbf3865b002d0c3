"""Keys and values of a public prefix: the float model, run over it in the clear, once.

Shape legend: H_kv heads of keys and values, m tokens of the prefix, K head width.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.batch import SINGLE, Batch
from mpcinfer.models.bounds import Seen
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder, KVCache
from mpcinfer.models.static import static
from parties.errors import ConfigError, RangeError


@dataclass(frozen=True, slots=True, eq=False)
class PrefixRun:
    """What later tokens see of a prefix.

    Attributes:
        keys, values: [H_kv, m, K] a layer, float64: keys normalised and turned, as they are multiplied with
            queries.
    """

    keys: Sequence[torch.Tensor]
    values: Sequence[torch.Tensor]

    @property
    def tokens(self) -> int:
        """m."""
        return self.keys[0].shape[-2]


PrefixSource = Callable[[], PrefixRun]
"""Gives the run of a server's prefix, made when it is first asked for."""


def require_prefix_possible(config: ModelConfig, batch: Batch = SINGLE) -> None:
    """Raises ConfigError where keys and values are not all that later tokens see of a prefix, and where
    padding, which comes first, would be in its place."""
    if batch.padded:
        raise ConfigError(
            f"public prefix: prompts are padded at their start, where the prefix is; {batch.advice}"
        )
    if not config.causal:
        raise ConfigError("public prefix: every token of this model sees all others, so nothing comes first")
    if config.attention == "gaussian":
        raise ConfigError(
            "public prefix: attention=gaussian reads keys with columns beside them, which are made of "
            "shares alone; take softmax, power or relu"
        )


def run_prefix(
    config: ModelConfig,
    weights: Mapping[str, torch.Tensor],
    ids: Sequence[int],
    ranges: Mapping[str, float],
) -> PrefixRun:
    """Runs the blocks over a prefix in float64, whose roundings no encoding sees.

    Args:
        weights: as they are trained.
        ids: 1 to `config.context` - 1 tokens.
        ranges: calibrated, which keys and values must not leave.

    Raises:
        ConfigError: see `require_prefix_possible`.
        RangeError: a key or a value is larger than calibration allows for; nothing was sent yet.

    Cost: a pass in the clear at the server, without a head. Nothing is revealed.
    """
    require_prefix_possible(config)
    with torch.no_grad():
        shape, floats = static(config, weights)
        decoder = Decoder(PlainBackend(), shape, _Wide(floats))
        cache: KVCache[torch.Tensor] = KVCache()
        decoder.stack(decoder.embedding(decoder.backend.tokens(ids, len(ids))), cache=cache)
    run = PrefixRun([k[0] for k in cache.keys], [v[0] for v in cache.values])
    for layer in range(config.layers):
        _require_in_range(run, layer, config, ranges)
    return run


def _require_in_range(run: PrefixRun, layer: int, config: ModelConfig, ranges: Mapping[str, float]) -> None:
    """Whether a layer's keys and values are no larger than those that rings are made for."""
    seen, attention = Seen(ranges), f"layer{layer}.attn"
    values = seen.largest(f"{attention}.qkv/linear", 0.0)
    keys = seen.largest(f"{attention}/rope", 0.0) if config.rope(layer) is not None else values
    checked = {"values": (run.values[layer], values)}
    if config.rope(layer) is not None or not config.qk_norm:
        checked["keys"] = (run.keys[layer], keys)
    for name, (tensor, allowed) in checked.items():
        largest = float(tensor.abs().max())
        if not largest <= allowed:
            raise RangeError(
                f"public prefix: {name} of {attention} reach {largest:.4g}, calibration allows for "
                f"{allowed:.4g}: calibrate on texts that begin with it, `mpcinfer calibrate`"
            )


class OnePrefixRun:
    """The run of one prefix, made by whoever asks first and kept for all sessions of a process.

    Args:
        make: runs it.
    """

    def __init__(self, make: PrefixSource) -> None:
        self._make, self._lock = make, threading.Lock()
        self._made: PrefixRun | None = None

    def __call__(self) -> PrefixRun:
        """The run; errors are those of making it."""
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made


class _Wide(Mapping[str, torch.Tensor]):
    """Weights in float64, each as it is read, so that there are never all of them."""

    def __init__(self, weights: Mapping[str, torch.Tensor]) -> None:
        self._weights = weights

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._weights[name].double()

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)
