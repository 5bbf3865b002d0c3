"""CrypTen's communicator on a `Link`: every opening is one labelled, metered frame each way, and justified.

CrypTen opens values with `all_reduce` and `reduce`. Here an opening must name its reason: the correlation
that masks it, which the provider sets and the opening spends, or a reason from `opening`. An opening
without one is refused. Errors are never RuntimeErrors: CrypTen swallows those in one place.
"""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, cast

import numpy as np
import torch

from parties.errors import ConfigError, CorrelationExhausted
from parties.link import Link
from parties.meter import Meter
from parties.wire import RingArray, Spec
from protocols.tensors import to_tensor, to_words

WORLD_SIZE = 2


class LinkCommunicator:
    """What CrypTen calls, for two parties.

    Args:
        link: to the other party; its meter is charged, its rank is this party's.
    """

    BYTES_PER_ELEMENT = 8

    def __init__(self, link: Link, rank: int) -> None:
        self.link, self.rank = link, rank
        self.meter: Meter = link.meter
        self._reason: str | None = None
        self._name = f"rank{rank}"

    # -- why a value may be opened ------------------------------------------------------------------------

    def mask(self, reason: str) -> None:
        """A fresh correlation is about to mask the next opening, and only that one.

        Raises:
            CorrelationExhausted: the one before was never spent.
        """
        if self._reason is not None:
            raise CorrelationExhausted(f"{self._where(reason)}: the mask of {self._reason!r} was not spent")
        self._reason = reason

    @contextmanager
    def opening(self, reason: str) -> Generator[None]:
        """Allows one opening of what is meant to be seen, such as the output."""
        self.mask(reason)
        try:
            yield
        finally:
            self._reason = None

    def spend(self) -> str:
        """The label of the next opening's frame: the current span, a slash, the reason.

        Raises:
            CorrelationExhausted: no fresh correlation masks the value, so opening it would reveal it.
        """
        reason, self._reason = self._reason, None
        if reason is None:
            raise CorrelationExhausted(f"{self.meter.label}: refused to open a value that nothing masks")
        return self._where(reason)

    def _where(self, reason: str) -> str:
        return f"{self.meter.label}/{reason}"

    # -- openings -----------------------------------------------------------------------------------------

    def all_reduce(self, input: Any, op: object = None, batched: bool = False) -> Any:
        """Sum (or XOR) of both parties' tensors, at both. One round."""
        label = self.spend()
        mine: Sequence[torch.Tensor] = input if batched else [input]
        theirs = self.exchange(mine, label)
        combined = [_combine(a, b, op) for a, b in zip(mine, theirs, strict=True)]
        return combined if batched else combined[0]

    def reduce(self, input: Any, dst: int, op: object = None, batched: bool = False) -> Any:
        """Sum (or XOR) of both parties' tensors, at `dst`; None at the other. One message, one way."""
        label = self.spend()
        mine: Sequence[torch.Tensor] = input if batched else [input]
        if self.rank != dst:
            self.send_tensors(mine, label)
            return None
        theirs = self.recv_tensors(mine, label)
        combined = [_combine(a, b, op) for a, b in zip(mine, theirs, strict=True)]
        return combined if batched else combined[0]

    def open_sum(self, mine: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Sums of both parties' int64 tensors, at both, in fresh memory. One round."""
        theirs = self.exchange(mine, self.spend())
        return [a.add_(b) for a, b in zip(theirs, mine, strict=True)]

    def sum_at(self, receiver: int, mine: torch.Tensor) -> torch.Tensor | None:
        """The sum of both parties' int64 tensors at `receiver` alone, None at the other. One message."""
        label = self.spend()
        if self.rank != receiver:
            self.send_tensors([mine], label)
            return None
        [theirs] = self.recv_tensors([mine], label)
        return theirs.add_(mine)

    def open_xor(self, mine: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """XOR of both parties' int64 tensors, at both, in fresh memory. One round."""
        theirs = self.exchange(mine, self.spend())
        return [a.bitwise_xor_(b) for a, b in zip(theirs, mine, strict=True)]

    def exchange(self, tensors: Sequence[torch.Tensor], label: str) -> list[torch.Tensor]:
        """Sends int64 tensors and receives the peer's of the same shapes: one round."""
        words = [to_words(tensor) for tensor in tensors]
        return [to_tensor(array) for array in self.link.exchange(words, 64, label)]

    # -- what is no opening -------------------------------------------------------------------------------

    def send_tensors(self, tensors: Sequence[torch.Tensor], label: str) -> None:
        """Sends tensors of any type of 1 to 8 bytes an element."""
        arrays = [_raw(tensor) for tensor in tensors]
        self.link.send(arrays, [8 * array.itemsize for array in arrays], label)

    def recv_tensors(self, like: Sequence[torch.Tensor], label: str) -> list[torch.Tensor]:
        """Receives tensors of the same types and shapes as those given."""
        specs = [Spec(8 * tensor.element_size(), tuple(tensor.shape)) for tensor in like]
        arrays = self.link.recv(specs, label)
        return [_from_raw(array, tensor.dtype) for array, tensor in zip(arrays, like, strict=True)]

    def broadcast(self, input: Any, src: int, group: object = None, batched: bool = False) -> Any:
        """Overwrites `input` at the other party with the tensors of `src`. One message, one way."""
        tensors: Sequence[torch.Tensor] = input if batched else [input]
        label = self._where("broadcast")
        if self.rank == src:
            self.send_tensors(tensors, label)
        else:
            for tensor, value in zip(tensors, self.recv_tensors(tensors, label), strict=True):
                tensor.data.copy_(value)
        return input

    def send(self, tensor: torch.Tensor, dst: int) -> None:
        """Sends a tensor to the other party."""
        self._check_peer(dst)
        self.send_tensors([tensor], self._where("send"))

    def recv(self, tensor: torch.Tensor, src: int | None = None) -> torch.Tensor:
        """A tensor like the one given, from the other party."""
        self._check_peer(src)
        return self.recv_tensors([tensor], self._where("send"))[0]

    def isend(self, tensor: torch.Tensor, dst: int) -> _Done:
        """`send`, which never blocks."""
        self.send(tensor, dst)
        return _Done()

    def irecv(self, tensor: torch.Tensor, src: int | None = None) -> _Done:
        """`recv` into the tensor given; complete on return."""
        tensor.data.copy_(self.recv(tensor, src))
        return _Done()

    def gather(self, tensor: torch.Tensor, dst: int) -> list[torch.Tensor | None]:
        """Both parties' tensors, in order of rank, at `dst`; [None] at the other."""
        label = self._where("gather")
        if self.rank != dst:
            self.send_tensors([tensor], label)
            return [None]
        theirs = self.recv_tensors([tensor], label)[0]
        return [tensor.clone(), theirs] if self.rank == 0 else [theirs, tensor.clone()]

    def all_gather(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """Both parties' tensors, in order of rank, at both."""
        label = self._where("gather")
        self.send_tensors([tensor], label)
        theirs = self.recv_tensors([tensor], label)[0]
        return [tensor.clone(), theirs] if self.rank == 0 else [theirs, tensor.clone()]

    def scatter(
        self, scatter_list: Sequence[torch.Tensor], src: int, size: object = None, device: object = None
    ) -> torch.Tensor:
        """One int64 tensor of `src`'s list for each party."""
        label = self._where("scatter")
        if self.rank == src:
            self.send_tensors([scatter_list[1 - self.rank]], label)
            return scatter_list[self.rank]
        shape: Any = scatter_list[self.rank].shape if size is None else size
        return self.recv_tensors([torch.empty(shape, dtype=torch.int64)], label)[0]

    def barrier(self) -> None:
        """Both parties reach this point."""
        self.link.exchange([np.zeros(0, np.uint8)], 8, self._where("barrier"))

    def broadcast_obj(self, obj: object, src: int, group: object = None) -> object:
        """A plain value from `src` at both. Shapes, numbers and texts, as msgpack: never pickle."""
        if self.rank == src:
            self.send_obj(obj, 1 - src)
            return obj
        return self.recv_obj(src)

    def send_obj(self, obj: object, dst: int, group: object = None) -> None:
        """Sends a plain value as msgpack.

        Raises:
            ConfigError: a value that only pickle could carry, which is never used.
        """
        self._check_peer(dst)
        size = isinstance(obj, torch.Size)
        document = {"size": size, "value": list(obj) if size else obj}
        try:
            self.link.send_document(document, self._where("object"))
        except TypeError:
            raise ConfigError(f"a {type(obj).__name__} cannot be sent: objects are never pickled") from None

    def recv_obj(self, src: int, group: object = None) -> object:
        """A plain value from the other party."""
        self._check_peer(src)
        document = self.link.recv_document(self._where("object"))
        value = document.get("value")
        return torch.Size(cast(list[int], value)) if document.get("size") is True else value

    # -- who is here --------------------------------------------------------------------------------------

    def get_world_size(self) -> int:
        """Two."""
        return WORLD_SIZE

    def get_rank(self) -> int:
        """0 server, 1 client."""
        return self.rank

    def set_name(self, name: str) -> None:
        """Names this party."""
        assert isinstance(name, str), f"improper name of rank {self.rank}"
        self._name = name

    def get_name(self) -> str:
        """This party's name."""
        return self._name

    def get_ttp_rank(self) -> NoReturn:
        """The dealer has no rank: it is reached over a link of its own."""
        raise ConfigError("the dealer is no member of CrypTen's world")

    def _check_peer(self, rank: int | None) -> None:
        if rank not in (None, 1 - self.rank):
            raise ConfigError(f"rank {self.rank} talks to rank {1 - self.rank} only, not to {rank}")


class _Done:
    """A transfer that is complete."""

    def wait(self) -> None:
        """Nothing to wait for."""


def _combine(mine: torch.Tensor, theirs: torch.Tensor, op: object) -> torch.Tensor:
    """Adds or XORs into the received tensor, which is fresh memory."""
    if op is None or op == torch.distributed.ReduceOp.SUM:
        return theirs.add_(mine)
    if op == torch.distributed.ReduceOp.BXOR:
        return theirs.bitwise_xor_(mine)
    raise ConfigError(f"no such reduction between parties: {op}")


_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def _raw(tensor: torch.Tensor) -> RingArray:
    array: Any = tensor.detach().contiguous().numpy()
    return array.view(_UNSIGNED[array.itemsize])


def _from_raw(array: RingArray, dtype: torch.dtype) -> torch.Tensor:
    return torch.from_numpy(array.view(torch.empty(0, dtype=dtype).numpy().dtype))
