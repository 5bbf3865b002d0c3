"""The dealer's program: answers the server's requests for correlated randomness, and nothing else.

The dealer sees shapes, weight names and the order of operations: never a share, never an opened value. It
must not collude with either party. Messages, all on the dealer's own links:

    dealer -> server, client   `seed`       16 bytes each, fresh for every session
    server -> dealer           `requests`   {"requests": [...]}, {"received": bytes} or {"end": true}
    dealer -> server           the kind     the server's shares of the results, a frame a request, in order
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from parties.errors import PeerMismatch
from parties.link import Link
from parties.randomness import Randomness, SystemRandom
from protocols.additive.correlations import ELEMENT_BYTES, Request, Stream, corrections
from protocols.arithmetic.shapes import Shape
from protocols.seeding import SEED_BYTES
from protocols.tensors import to_wire

WINDOW_BYTES = 1 << 26
"""How much the dealer sends ahead of what the server says it has received."""
MASK_CACHE_BYTES = 1 << 31
"""Weight masks beyond this are derived afresh for every use instead of kept."""
MAX_WAITING = 1 << 20
MAX_REQUESTS_BYTES = 1 << 24
SEED, REQUESTS = "seed", "requests"


@dataclass(slots=True, kw_only=True)
class Dealt:
    """What a dealer handed out in one session."""

    correlations: int = 0
    bytes_to_server: int = 0


def serve_dealer(
    server: Link, client: Link, *, randomness: Randomness | None = None, window_bytes: int = WINDOW_BYTES
) -> Dealt:
    """Serves one session; returns when the server ends it.

    Args:
        server, client: links to the two parties, with no rank: nothing is charged here.
        randomness: makes the two seeds; the operating system's where None.
        window_bytes: bound on what is sent and not yet received; a single larger answer goes alone.

    Raises:
        PeerMismatch: a request of unknown kind, impossible shapes or over the size limits.
        PeerClosed, PeerTimeout: the server went away or said nothing before the channel's deadline.
    """
    return _Session(server, client, randomness or SystemRandom(), window_bytes).run()


class _Session:
    """The state of one session: both seeds, what is waiting, what is under way."""

    def __init__(self, server: Link, client: Link, randomness: Randomness, window_bytes: int) -> None:
        self._link, self._window_bytes = server, window_bytes
        seeds = randomness.draw_bytes(SEED_BYTES), randomness.draw_bytes(SEED_BYTES)
        for link, seed in zip((server, client), seeds, strict=True):
            link.send([np.frombuffer(seed, np.uint8)], 8, SEED)
        self._streams = Stream(seeds[0]), Stream(seeds[1])
        self._masks: dict[str, torch.Tensor] = {}
        self._shapes: dict[str, Shape] = {}
        self._waiting: deque[Request] = deque()
        self._received = 0
        self._dealt = Dealt()

    def run(self) -> Dealt:
        while True:
            while self._waiting and self._fits(self._waiting[0]):
                self._answer(self._waiting.popleft())
            document = self._link.recv_document(REQUESTS, MAX_REQUESTS_BYTES)
            if document == {"end": True}:
                return self._dealt
            self._hear(document)

    def _hear(self, document: dict[str, Any]) -> None:
        """Takes new requests or an acknowledgement."""
        match document:
            case {"requests": list()} if len(document) == 1:
                items = cast(list[object], document["requests"])
                self._waiting.extend(Request.from_plain(item) for item in items)
                if len(self._waiting) > MAX_WAITING:
                    raise PeerMismatch(f"over {MAX_WAITING} requests are waiting")
            case {"received": int() as total} if len(document) == 1:
                sent = self._dealt.bytes_to_server
                if not self._received <= total <= sent:
                    raise PeerMismatch(f"received {total} bytes after {self._received}, of {sent} sent")
                self._received = total
            case _:
                raise PeerMismatch("expected requests, an acknowledgement or the end")

    def _fits(self, request: Request) -> bool:
        under_way = self._dealt.bytes_to_server - self._received
        return under_way == 0 or under_way + request.offline_bytes_to_server <= self._window_bytes

    def _answer(self, request: Request) -> None:
        server, client = self._streams
        shares = corrections(request, server.masks(request), client, self._mask)
        widths = [spec.bits for spec in request.result_specs]
        self._link.send([to_wire(share) for share in shares], widths, str(request.kind))
        self._dealt.correlations += 1
        self._dealt.bytes_to_server += request.offline_bytes_to_server

    def _mask(self, name: str, shape: Shape) -> torch.Tensor:
        """A weight's mask; the first request fixes the weight's shape."""
        if self._shapes.setdefault(name, shape) != shape:
            raise PeerMismatch(f"weight {name!r} had shape {list(self._shapes[name])}, now {list(shape)}")
        mask = self._masks.get(name)
        if mask is None:
            mask = self._streams[0].weight_mask(name, shape)
            kept = sum(ELEMENT_BYTES * known.numel() for known in self._masks.values())
            if kept + ELEMENT_BYTES * math.prod(shape) <= MASK_CACHE_BYTES:
                self._masks[name] = mask
        return mask
