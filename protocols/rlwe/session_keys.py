"""Keys of a session: made and sent when they are first needed, for all products under the same parameters."""

from __future__ import annotations

import dataclasses

from parties.link import Link
from parties.randomness import Randomness
from protocols.rlwe.costs import key_bytes
from protocols.rlwe.keys import EvaluationKeys, SecretKey, receive_keys, send_keys
from protocols.rlwe.parameters import RlweParameters

_KeyId = tuple[int, tuple[int, ...], int]


def _key_id(parameters: RlweParameters) -> _KeyId:
    """Parameters that differ in nothing else share a key."""
    return parameters.degree, parameters.primes, parameters.digits


class HolderKeys:
    """The party that encrypts.

    Args:
        link: to the evaluator.
        random: this party's own.
    """

    def __init__(self, link: Link, random: Randomness) -> None:
        self._link, self._random = link, random
        self._keys: dict[_KeyId, SecretKey[RlweParameters]] = {}

    def of(self, parameters: RlweParameters) -> SecretKey[RlweParameters]:
        """The key; the first time, what belongs to it is sent to the evaluator."""
        identity = _key_id(parameters)
        if identity not in self._keys:
            self._keys[identity] = send_keys(self._link, parameters, self._random)
        return dataclasses.replace(self._keys[identity], parameters=parameters)


class EvaluatorKeys:
    """The party that multiplies.

    Args:
        link: to the holder.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._keys: dict[_KeyId, EvaluationKeys[RlweParameters]] = {}

    def of(self, parameters: RlweParameters) -> EvaluationKeys[RlweParameters]:
        """What the holder sent the first time.

        Raises:
            MalformedFrame: a coefficient that is not below its prime.
            PeerError: see `Link.recv`.
        """
        identity = _key_id(parameters)
        if identity not in self._keys:
            self._keys[identity] = receive_keys(self._link, parameters)
        return dataclasses.replace(self._keys[identity], parameters=parameters)


class KeyCosts:
    """What the holder sends of keys, without a run."""

    def __init__(self) -> None:
        self._sent: set[_KeyId] = set()

    def of(self, parameters: RlweParameters) -> int:
        """Bytes; none where these keys were sent before."""
        identity = _key_id(parameters)
        if identity in self._sent:
            return 0
        self._sent.add(identity)
        return key_bytes(parameters)
