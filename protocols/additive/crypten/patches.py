"""What is changed in CrypTen, once a process, and why. Every change has a test in test_defects.py.

communicator    per thread, on a `Link`, instead of a process group of torch.distributed
generators      per thread, AES-128 streams, instead of mt19937
cfg             per thread (it is mutated while CrypTen computes), and without OmegaConf's cost per look-up
provider        per thread, from the session; never the trusted first party
init            refused outside of a session: it would choose gloo and the first party as dealer
decode          exact: CrypTen's is too low by 1.0 for a fraction |x| / 2^16 of negative values
encode          raises RangeError instead of saturating at 2^47 and beyond
_A2B            without the RuntimeError handler that re-runs it with other messages
autograd        off
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any, NoReturn

import torch

from parties.errors import ConfigError, InsecureRefused, RangeError
from parties.randomness import Randomness
from protocols.additive.correlations import words
from protocols.additive.crypten.settings import Settings
from protocols.additive.crypten.thread import THREAD

_RNG_USERS = (
    "common.rng",
    "mpc.primitives.arithmetic",
    "mpc.primitives.binary",
    "mpc.provider.tfp_provider",
    "mpc.provider.ttp_provider",
)


def apply(crypten: Any) -> None:
    """Changes a freshly imported CrypTen."""
    _patch_settings()
    _patch_randomness(crypten)
    _patch_session(crypten)
    _patch_encoder()
    _patch_conversion(crypten)
    crypten.CrypTensor.AUTOGRAD_ENABLED = False


def _module(name: str) -> Any:
    return importlib.import_module(f"crypten.{name}")


def _patch_settings() -> None:
    config, omegaconf = _module("config.config"), importlib.import_module("omegaconf")
    cfg = _module("config").cfg
    settings = Settings(omegaconf.OmegaConf.to_container(cfg.config))
    del cfg.__dict__["config"]

    def override(self: object, values: Mapping[str, object]) -> AbstractContextManager[None]:
        return settings.override(values)

    def replace(self: object, value: SimpleNamespace) -> None:
        settings.current = value

    def assign(self: object, name: str, value: object) -> None:
        settings.set(name, value)

    config.CrypTenConfig.config = property(lambda self: settings.current, replace)
    config.CrypTenConfig.temp_override = override
    config.CrypTenConfig.__setitem__ = assign


def _patch_randomness(crypten: Any) -> None:
    for name in _RNG_USERS:
        module = _module(name)
        if hasattr(module, "generate_random_ring_element"):
            module.generate_random_ring_element = ring_elements
        if hasattr(module, "generate_kbit_random_tensor"):
            module.generate_kbit_random_tensor = bit_words
    crypten.generators = _Generators()


def ring_elements(
    size: Sequence[int], ring_size: int = 1 << 64, generator: Randomness | None = None, device: object = None
) -> torch.Tensor:
    """Uniform elements of Z_2^64, from an AES stream."""
    if ring_size != 1 << 64:
        raise ConfigError(f"random elements of Z_2^64 only, not of a ring of {ring_size}")
    return words(generator or THREAD.session.generators["local"], tuple(size))


def bit_words(
    size: Sequence[int],
    bitlength: int | None = None,
    generator: Randomness | None = None,
    device: object = None,
) -> torch.Tensor:
    """Uniform words of `bitlength` bits (64 where None), from an AES stream."""
    return words(generator or THREAD.session.generators["local"], tuple(size), bitlength or 64)


class _Generators:
    """`crypten.generators`: the calling thread's streams, whatever the device."""

    def __getitem__(self, name: str) -> _OnEveryDevice:
        return _OnEveryDevice(THREAD.session.generators[name])

    def keys(self) -> list[str]:
        return list(THREAD.session.generators)


class _OnEveryDevice:
    def __init__(self, stream: Randomness) -> None:
        self._stream = stream

    def __getitem__(self, device: object) -> Randomness:
        return self._stream


class _Communicators:
    """Stands where CrypTen expects its communicator class: the calling thread's communicator."""

    @staticmethod
    def is_initialized() -> bool:
        return THREAD.open

    @staticmethod
    def get() -> Any:
        return THREAD.session.communicator

    @staticmethod
    def initialize(*args: object, **kwargs: object) -> NoReturn:
        raise InsecureRefused(
            "CrypTen runs only inside a CrypTenSession, which brings a dealer and a channel"
        )

    @staticmethod
    def shutdown() -> None:
        """The session ends by itself."""


def _patch_session(crypten: Any) -> None:
    _module("communicator").DistributedCommunicator = _Communicators
    _module("communicator").InProcessCommunicator = _Communicators
    crypten.mpc.get_default_provider = lambda: THREAD.session.provider
    crypten.init_thread = _Communicators.initialize


def _patch_encoder() -> None:
    encoder = _module("encoder").FixedPointEncoder
    encode = encoder.encode

    def checked(self: Any, x: Any, device: object = None) -> torch.Tensor:
        if self._scale > 1:
            largest = _largest(x) * self._scale
            if not largest < 1 << 62:
                raise RangeError(
                    f"magnitude {largest:.3g} at {self._precision_bits} fraction bits, limit 2^62"
                )
        return encode(self, x, device)

    def decode(self: Any, tensor: torch.Tensor | None) -> torch.Tensor | None:
        return None if tensor is None else tensor.to(torch.float64) / self._scale

    encoder.encode, encoder.decode = checked, decode


def _largest(x: Any) -> float:
    """Largest magnitude of what CrypTen encodes; infinite where there is an entry that is not a number."""
    if isinstance(x, int | float):
        return float(abs(x)) if math.isfinite(x) else math.inf
    tensor = x if isinstance(x, torch.Tensor) else torch.as_tensor(x)
    if not tensor.numel():
        return 0.0
    low, high = torch.aminmax(tensor.to(torch.float64))
    largest = max(-low.item(), high.item())
    return math.inf if math.isnan(largest) else largest


def _patch_conversion(crypten: Any) -> None:
    """A2B as CrypTen's first attempt does it, without the second one."""
    converters, binary = _module("mpc.primitives.converters"), _module("mpc.primitives.binary")

    def to_binary(arithmetic: Any) -> Any:
        shares = [binary.BinarySharedTensor(arithmetic.share, src=rank) for rank in range(2)]
        result = binary.BinarySharedTensor.stack(shares).sum(dim=0)
        result.encoder = arithmetic.encoder
        return result

    converters._A2B = to_binary
