"""Dealing bundles to disk in other processes, on other machines where there are such; written down here.

Both seeds of a bundle and all of its correlations leave the process that dealt them: whoever reads them on
their way can decrypt what is computed with them.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpcinfer.suites.fss.dealing import ModelDealer, Writers
from mpcinfer.suites.fss.program import Program
from mpcinfer.suites.requests import Elsewhere
from parties.meter import CLIENT, SERVER
from parties.randomness import SystemRandom
from protocols.fss.executors.dealing import Writer
from protocols.fss.preprocessing.bundle_store import BundleWriter
from protocols.fss.preprocessing.seeds import DealerSeeds, PartySeeds
from protocols.fss.preprocessing.source import RunShape
from protocols.fss.preprocessing.transport import Dealt, Part

Piece = tuple[str, Any]
"""`server`, `client` or `linear` and bytes; `pass` and its three sizes; `seeds`, at last, and what each party
has: hash and main seed."""

_PIECE_BYTES = 1 << 23
_AHEAD = 2  # pieces that are dealt and not taken yet
_SLOTS = {"server": (SERVER, Part.GATES), "client": (CLIENT, Part.GATES), "linear": (SERVER, Part.LINEAR)}


def deal_elsewhere(
    elsewhere: Elsewhere,
    program: Program,
    lengths: Sequence[int],
    weights: Sequence[bytes],
    folders: Sequence[Path],
    on_progress: Callable[[int, int, int], None] | None,
) -> None:
    """Deals bundles, each in a task of its own, into the parties' folders.

    Args:
        lengths: tokens of each pass of a bundle.
        weights: of each bundle, the seed of the weights' masks.
        folders: the server's and the client's; here.
        on_progress: as in `Ahead`.

    Raises:
        ConfigError: the disk is full, or a task did not end well.
    """
    done, size, of = 0, 0, len(weights) * len(lengths)
    jobs = [(program.to_document(), list(lengths), seed) for seed in weights]
    with ExitStack() as stack:
        bundles = [stack.enter_context(closing(_Bundle(folders, index))) for index in range(len(jobs))]
        for index, (what, data) in elsewhere.run(dealt_pieces, jobs):
            bundles[index].take(what, data)
            done += what == "pass"
            size += len(data) if what in _SLOTS else 0
            if on_progress is not None:
                on_progress(done, of, size)


def dealt_pieces(
    document: dict[str, Any], lengths: Sequence[int], weights: bytes
) -> Generator[Piece, None, None]:
    """One bundle, dealt with fresh seeds, piece by piece; of at most a few pieces is there more in memory
    than was taken.

    Args:
        document: of the program.
        weights: the seed of the weights' masks.
    """
    pieces: queue.Queue[Piece | BaseException | None] = queue.Queue(_AHEAD)
    given_up = threading.Event()

    def put(piece: Piece | BaseException | None) -> None:
        while not given_up.is_set():
            try:
                return pieces.put(piece, timeout=0.5)
            except queue.Full:
                continue
        raise _GivenUpError

    def deal() -> None:
        try:
            _deal(Program.from_document(document), lengths, weights, put)
            put(None)
        except _GivenUpError:
            pass
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=deal, daemon=True)
    thread.start()
    try:
        while (piece := pieces.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece
    finally:
        given_up.set()
        thread.join()


class _GivenUpError(Exception):
    """Nobody takes pieces any more."""


def _deal(program: Program, lengths: Sequence[int], weights: bytes, put: Callable[[Piece], None]) -> None:
    seeds = DealerSeeds.fresh(SystemRandom(), weights)
    dealer = ModelDealer(program, seeds)
    buffers = {what: bytearray() for what in _SLOTS}

    def writer(what: str) -> Writer:
        def write(data: NDArray[np.uint8]) -> None:
            buffers[what] += data.reshape(-1).data
            if len(buffers[what]) >= _PIECE_BYTES:
                flush(what)

        return write

    def flush(what: str) -> None:
        put((what, bytes(buffers[what])))
        buffers[what].clear()

    writers = Writers(**{what: writer(what) for what in _SLOTS})
    for number, (end, tokens) in enumerate(zip(accumulate(lengths), lengths, strict=True)):
        dealt = dealer.deal(number, RunShape(end - tokens, tokens), writers)
        for what in _SLOTS:
            flush(what)
        put(("pass", (dealt.server, dealt.client, dealt.linear)))
    put(("seeds", [(own.hash, own.main) for own in (seeds.server, seeds.client)]))


class _Bundle:
    """Both parties' parts of one bundle; files are there from its first piece on."""

    def __init__(self, folders: Sequence[Path], index: int) -> None:
        self._folders, self._index = folders, index
        self._writers: list[BundleWriter] = []
        self._slots: dict[str, Writer] = {}
        self._dealt: list[Dealt] = []

    def take(self, what: str, data: Any) -> None:
        """A piece, in the order in which they were dealt."""
        if not self._writers:
            self._writers = [BundleWriter(folder, self._index) for folder in self._folders]
            self._slots = {name: self._writers[rank].writer(part) for name, (rank, part) in _SLOTS.items()}
        if what in self._slots:
            self._slots[what](np.frombuffer(data, np.uint8))
        elif what == "pass":
            self._dealt.append(Dealt(*data))
        else:
            for writer, (public, main) in zip(self._writers, data, strict=True):
                writer.end(PartySeeds(public, main), self._dealt)

    def close(self) -> None:
        """Safe to repeat."""
        for writer in self._writers:
            writer.close()
