"""Gloo's connections over a relay: parties find each other in a store, which here has the relay's port."""

from __future__ import annotations

import os
import socket
import struct
from typing import Any

import torch.distributed as dist

from bench.peers.inside.party import HOST, Party

_FAMILY = struct.pack("=H", socket.AF_INET)
_HOST = socket.inet_aton(HOST)


_KEPT: list[Any] = []
"""C++ alone refers to them, and without the Python objects their methods are gone."""


class RelayedStore(dist.Store):
    """A store in which the address of a party that listens is that of a relay.

    Of two parties gloo lets the one with the greater address connect. Relays have ports below those that the
    system gives out, so that both parties see the same order with them and without.
    """

    def __init__(self, store: Any, party: Party) -> None:
        super().__init__()
        _KEPT.append(self)
        self._store, self._party, self._own = store, party, 0

    def set(self, key: str, value: bytes | str) -> None:
        data = value.encode() if isinstance(value, str) else bytes(value)
        at = _address(data)
        if at is not None:
            self._own = _port(data, at)
        self._store.set(key, data)

    def get(self, key: str) -> bytes:
        data = bytes(self._store.get(key))
        at = _address(data)
        if at is None or _port(data, at) >= self._own:
            return data
        port = self._party.relayed(_port(data, at))
        return data[: at + 2] + struct.pack("!H", port) + data[at + 4 :]

    def wait(self, keys: list[str], *timeout: Any) -> None:
        self._store.wait(keys, *timeout)

    def add(self, key: str, value: int) -> int:
        return self._store.add(key, value)

    def check(self, keys: list[str]) -> bool:
        return self._store.check(keys)

    def delete_key(self, key: str) -> bool:
        return self._store.delete_key(key)

    def clone(self) -> RelayedStore:
        return RelayedStore(self._store.clone(), self._party)

    def has_extended_api(self) -> bool:
        return False

    def num_keys(self) -> int:
        return self._store.num_keys()


def _address(data: bytes) -> int | None:
    """Where an IPv4 address of this machine stands in what gloo published; None where it does not."""
    at = data.find(_FAMILY)
    while at >= 0:
        if data[at + 4 : at + 8] == _HOST:
            return at
        at = data.find(_FAMILY, at + 1)
    return None


def _port(data: bytes, at: int) -> int:
    return struct.unpack_from("!H", data, at + 2)[0]


def through_relays(party: Party, rendezvous: str) -> None:
    """Has CrypTen's process group meet in such a store."""
    os.environ.update(
        RANK=str(party.rank),
        WORLD_SIZE="2",
        RENDEZVOUS=rendezvous,
        DISTRIBUTED_BACKEND="gloo",
        GLOO_SOCKET_IFNAME="lo",
    )
    original = dist.init_process_group

    def init(**options: Any) -> None:
        port = int(rendezvous.rsplit(":", 1)[1])
        store = dist.TCPStore(HOST, port, 2, party.rank == 0)
        original(
            backend="gloo",
            store=RelayedStore(store, party),
            world_size=2,
            rank=options.get("rank", party.rank),
        )

    dist.init_process_group = init
