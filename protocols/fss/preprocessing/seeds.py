"""Seeds of a session: from them each party draws its part of all correlations, and the dealer both parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from parties.errors import CorrelationExhausted
from parties.link import Link
from parties.meter import CLIENT, SERVER, Meter
from parties.randomness import AesCtrStream, Randomness
from parties.wire import Spec
from protocols.fss.preprocessing.matrix import Drawn, Factor
from protocols.kernels.aes import Hash
from protocols.seeding import SEED_BYTES, SEED_LABEL, derive_key, weight_stream

SEEDS = "deal.seeds"
WeightStreams = Callable[[str, tuple[int, ...]], Randomness]
"""By name and shape, what draws the mask of a weight: 64-bit words, of which a layer reads its ring's."""


@dataclass(frozen=True, slots=True)
class RunStreams:
    """What one party draws in one run: for gates, and ahead of time for linear layers."""

    gates: Randomness
    linear: Randomness


@dataclass(slots=True, eq=False)
class PartySeeds:
    """One party's seeds, 16 bytes each.

    Attributes:
        hash: public key of the session's hash; the same at both parties.
        main: of all streams of this party.
        weights: of the weights' masks; the server's alone, empty at the client.
    """

    hash: bytes
    main: bytes = field(repr=False)
    weights: bytes = field(default=b"", repr=False)
    _next: int = 0

    def streams(self, run: int) -> RunStreams:
        """The streams of a run, each run's once: runs are numbered in the order in which they are dealt.

        Raises:
            CorrelationExhausted: the streams of that run, or of a later one, were handed out before.
        """
        if run < self._next:
            raise CorrelationExhausted(f"the randomness of run {run} was used before")
        self._next = run + 1
        return RunStreams(self._stream(run, "gates"), self._stream(run, "linear"))

    def linear_ahead(self, run: int) -> Randomness:
        """What this party will draw for linear layers in a run to come, for whoever holds the seed to compute
        with. Nothing that is drawn here may be sent or opened: the run itself draws it once more."""
        return self._stream(run, "linear")

    def _stream(self, run: int, use: str) -> Randomness:
        return AesCtrStream(derive_key(self.main, f"run {run} {use}"))

    def public_hash(self) -> Hash:
        """The session's hash."""
        return Hash(self.hash)

    def send(self, link: Link) -> None:
        """From the dealer to the party they belong to."""
        seeds = b"".join((self.hash, self.main, self.weights))
        link.send([np.frombuffer(seeds, np.uint8).reshape(-1, SEED_BYTES)], 8, SEEDS)

    @classmethod
    def receive(cls, link: Link, rank: int) -> PartySeeds:
        """A party's own, from the dealer."""
        count = 3 if rank == SERVER else 2
        (seeds,) = link.recv([Spec(8, (count, SEED_BYTES))], SEEDS)
        return cls(*(row.tobytes() for row in seeds))


@dataclass(frozen=True, slots=True, eq=False)
class DealerSeeds:
    """Both parties' seeds."""

    server: PartySeeds
    client: PartySeeds

    @classmethod
    def fresh(cls, randomness: Randomness, weights: bytes | None = None) -> DealerSeeds:
        """New ones; `weights` where the masks of the weights are to stay the same."""
        hash_key, server, client, masks = (randomness.draw_bytes(SEED_BYTES) for _ in range(4))
        return cls(PartySeeds(hash_key, server, weights or masks), PartySeeds(hash_key, client))


def charge_seeds(meter: Meter) -> None:
    """Books the seeds of a session: three to the server, two to the client."""
    with meter.span(SEED_LABEL, SEED_LABEL):
        meter.charge_offline(SERVER, 3 * SEED_BYTES)
        meter.charge_offline(CLIENT, 2 * SEED_BYTES)


def weight_streams(seed: bytes) -> WeightStreams:
    """What draws the masks of the weights, from `PartySeeds.weights` of the server."""
    return lambda name, shape: weight_stream(seed, name, shape)


def drawn_masks(streams: WeightStreams) -> Factor:
    """What the dealer multiplies with in place of a weight: nobody holds the masks."""
    return lambda weight: Drawn(weight.shape, lambda: streams(weight.name, weight.shape))
