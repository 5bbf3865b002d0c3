"""Who is measured: ours and the peers, with what each asks one to trust."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bench.peers import ours_additive, ours_fss, ours_two_party
from bench.peers.drive import Measured, Peer
from bench.peers.network import free_port
from bench.peers.tasks import Task
from mpcinfer.benchmark.network import Network

_LIMIT_S = 900.0
_DEALER = "semi-honest, with a dealer that colludes with neither party"
_NOBODY_ELSE = "semi-honest, two parties, no dealer"


class System(ABC):
    """One column of the comparison.

    Attributes:
        name: in records.
        title: in tables.
        trust: who must be trusted, in words; short: the same in tables.
        plan: of ours.
    """

    name: str
    title: str
    trust: str
    short: str
    plan: str = ""

    @abstractmethod
    def run(self, task: Task, network: Network, repeat: int) -> Measured:
        """Measures a case. Raises PeerFailed where it cannot."""

    def reference(self, task: Task) -> NDArray[np.float64]:
        """What its result is compared with."""
        return task.reference


@dataclass(frozen=True)
class Foreign(System):
    """A peer in an environment of its own."""

    name: str
    title: str
    environment: str
    module: str
    trust: str
    short: str
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    warm_ups: int = 1
    plan: ClassVar[str] = ""

    def run(self, task: Task, network: Network, repeat: int) -> Measured:
        store = free_port()
        options = {"store": store, "uncounted": [store], **self.options}
        peer = Peer(system=self.name, environment=self.environment, module=self.module, options=options)
        return peer.run(task, network, repeat, warm_ups=self.warm_ups, limit_s=_LIMIT_S)


class Fss(System):
    """Ours with function secret sharing, dealt ahead."""

    name, title, plan = "mpcinfer-fss", "mpcinfer, `fss`", "fss"
    trust, short = _DEALER, "dealer"

    def run(self, task: Task, network: Network, repeat: int) -> Measured:
        return ours_fss.measure(task, network, repeat)

    def reference(self, task: Task) -> NDArray[np.float64]:
        """A block with layer norms is centred here: rows have no mean, which norms do not see."""
        y = task.reference
        return y - y.mean(-1, keepdims=True) if task.name == "block" else y


class Additive(System):
    """Our compositions on CrypTen's primitives, the dealer live."""

    name, title, plan = "mpcinfer-crypten", "mpcinfer, `crypten`", "crypten"
    trust, short = _DEALER, "dealer"

    def run(self, task: Task, network: Network, repeat: int) -> Measured:
        return ours_additive.measure(task, network, repeat)


class TwoParty(System):
    """Ours without a dealer."""

    name, title, plan = "mpcinfer-two-party", "mpcinfer, `two-party`", "two-party"
    trust, short = _NOBODY_ELSE, "two parties"

    def run(self, task: Task, network: Network, repeat: int) -> Measured:
        return ours_two_party.measure(task, network, repeat)


_PARTY_DEALS = "semi-honest, and INSECURE as run: the server makes the correlations (trusted first party)"
SYSTEMS: dict[str, System] = {
    system.name: system
    for system in (
        Fss(),
        Additive(),
        TwoParty(),
        Foreign("crypten", "CrypTen 0.4.1", "crypten", "run_crypten", _PARTY_DEALS, "server deals: insecure"),
        Foreign(
            "spu-semi2k",
            "SPU 0.9.5, semi2k",
            "spu",
            "run_spu",
            _PARTY_DEALS,
            "server deals: insecure",
            {"protocol": "semi2k"},
        ),
        Foreign(
            "spu-cheetah",
            "SPU 0.9.5, cheetah",
            "spu",
            "run_spu",
            _NOBODY_ELSE,
            "two parties",
            {"protocol": "cheetah"},
            warm_ups=0,
        ),
        Foreign(
            "clear-torch",
            "in the clear, torch",
            "crypten",
            "run_torch",
            "the server sees the input",
            "no privacy",
        ),
    )
}
BY_DEFAULT = tuple(name for name in SYSTEMS if name not in ("spu-cheetah", "mpcinfer-two-party"))
