"""Correlations from a folder that both parties filled together: which bundle is next, and its use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch

from parties.errors import ConfigError, CorrelationExhausted
from parties.link import Link
from parties.meter import CLIENT, SERVER
from protocols.arithmetic.shapes import Shape
from protocols.one_time import agree_next
from protocols.trust import Trust
from protocols.two_party.bundle_store import Bundle, KeptFolder, WeightDigest
from protocols.two_party.correlations import Correlations, Parts, Request
from protocols.two_party.source import offline


class KeptSource(Correlations):
    """Hands out the correlations of bundles: of one a conversation, in order. Nothing is sent for them.

    Args:
        link: to the other party, to agree on the next bundle.
        folder: of this party; closed with the source.

    Raises:
        ConfigError: the folder is the other party's.
    """

    trust: ClassVar[Trust] = Trust.TWO_PARTY

    def __init__(self, link: Link, folder: KeptFolder) -> None:
        if folder.manifest.rank != link.rank:
            raise ConfigError(f"{folder.folder} has the other party's correlations")
        self._link, self.folder = link, folder
        self._digest, self._used = WeightDigest(), 0
        self._bundle: Bundle | None = None

    def hold(self, name: str, weight: torch.Tensor | None, shape: Shape) -> None:
        self._digest.add(name, weight, shape)

    def announce(self, requests: Iterable[Request]) -> None:
        """Nothing is made."""

    def make_all(self) -> None:
        """Everything is there."""

    def give_up(self) -> None:
        """The rest of a bundle whose passes were asked for and not run is lost."""
        self._close_bundle()

    def check(self, start: int, lengths: Sequence[int], rows: int) -> None:
        """Raises CorrelationExhausted where the folder has nothing for passes of these lengths."""
        folder, manifest = self.folder, self.folder.manifest
        first = self._used if start else 0
        if not start:
            folder.require(folder.next)
        elif self._bundle is None:
            raise CorrelationExhausted(f"{folder.folder}: no conversation has begun")
        follows = start == (folder.ends[first - 1] if first else 0)
        if rows != 1 or not follows or list(lengths) != list(manifest.lengths[first : first + len(lengths)]):
            prompt, *answer = manifest.lengths
            raise CorrelationExhausted(
                f"{folder.folder} is for prompts of {prompt} tokens and {len(answer) + 1} new ones, not for "
                f"{', '.join(map(str, lengths))} tokens from {start} on; for others: {manifest.command}"
            )

    def begin(self, start: int, lengths: Sequence[int], rows: int) -> None:
        """Passes that come next. Where a conversation starts, both parties say which bundle is their next;
        what making it sent is charged.

        Raises:
            CorrelationExhausted: see `check`.
            ConfigError: the server has other weights than those that the folder was made with.
            PeerMismatch: see `agree_next`.
        """
        self.check(start, lengths, rows)
        if not start:
            self._require_weights()
            self._close_bundle()
            self._bundle, self._used = self.folder.open(agree_next(self._link, self.folder)), 0
            meter = self._link.meter
            for charge in self._bundle.charges:
                with offline(meter, charge.kind):
                    meter.charge_offline(SERVER, charge.to_server)
                    meter.charge_offline(CLIENT, charge.to_client)
                    meter.charge_offline_rounds(charge.rounds)
        self._used += len(lengths)

    def take(self, request: Request) -> Parts:
        if self._bundle is None:
            raise CorrelationExhausted(f"{self.folder.folder}: no conversation has begun")
        return self._bundle.read(request)

    def close(self) -> None:
        """Safe to repeat."""
        self._close_bundle()
        self.folder.close()

    def _require_weights(self) -> None:
        if self.folder.manifest.weights not in ("", self._digest.hex):
            raise ConfigError(
                f"{self.folder.folder} was made with other weights; for these: {self.folder.manifest.command}"
            )

    def _close_bundle(self) -> None:
        if self._bundle is not None:
            self._bundle.close()
            self._bundle = None
