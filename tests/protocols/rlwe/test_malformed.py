"""Ciphertexts that are none are refused by name, before they are used."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from parties.errors import MalformedFrame, PeerMismatch
from protocols.labels import labelled
from protocols.rlwe.elementwise import (
    answer_spec,
    evaluator_products,
    holder_products,
    receive_share,
)
from protocols.rlwe.kernels.words import PRIME_BITS
from protocols.rlwe.keys import new_secret, receive_keys, send_keys, send_residues
from protocols.rlwe.matrix_evaluator import evaluator_product
from protocols.rlwe.matrix_holder import holder_product
from protocols.rlwe.parameters import matrix_parameters
from protocols.rlwe.reasons import KEYS, QUERY, SLOTS
from protocols.rlwe.slot_parameters import slot_parameters
from tests.protocols.rlwe.sessions import both

P, V = matrix_parameters(20, 100.0), slot_parameters(20)


def too_large(*shape: int) -> Any:
    """Zeros, and the last coefficient is its prime."""
    values = np.zeros(shape, np.uint32)
    values[..., -1, -1] = V.primes[shape[-2] - 1]
    return values


def test_keys() -> None:
    count = 1 + P.packing_levels * P.digits
    with pytest.raises(MalformedFrame, match="below its modulus"):
        both(
            lambda link, _: send_residues(link, bytes(16), too_large(count, len(P.primes), P.degree), KEYS),
            lambda link, _: receive_keys(link, P),
        )


@pytest.mark.parametrize(("p", "run"), [(P, evaluator_product), (V, evaluator_products)])
def test_queries(p: Any, run: Any) -> None:
    def holder(link: Any, stream: Any) -> None:
        send_keys(link, p, stream)
        send_residues(link, bytes(16), too_large(1, len(p.primes), p.degree), QUERY)

    def evaluator(link: Any, stream: Any) -> None:
        keys = receive_keys(link, p)
        if p is V:
            run(link, keys, np.ones(5, np.uint64), stream)
        else:
            run(link, keys, np.ones((1, 3, 4), np.int64), 5, stream)

    with pytest.raises(MalformedFrame, match="below its modulus"):
        both(holder, evaluator)


def test_answers() -> None:
    def evaluator(link: Any, stream: Any) -> None:
        link.send([too_large(*answer_spec(V, 1).shape)], PRIME_BITS, labelled(link, SLOTS))

    with pytest.raises(MalformedFrame, match="below its modulus"):
        both(lambda link, stream: receive_share(link, new_secret(V, stream), 1), evaluator)


def test_parties_that_expect_different_shapes() -> None:
    left = np.zeros((1, 5, 200), np.uint64)
    with pytest.raises(PeerMismatch, match="expected"):
        both(
            lambda link, stream: holder_product(link, send_keys(link, P, stream), left, 4, stream),
            lambda link, stream: evaluator_product(
                link, receive_keys(link, P), np.ones((1, 3, 4), np.int64), 5, stream
            ),
        )
    with pytest.raises(PeerMismatch, match="expected"):
        both(
            lambda link, stream: holder_products(link, send_keys(link, V, stream), left[0, 0], stream),
            lambda link, stream: evaluator_products(
                link, receive_keys(link, V), np.zeros(20000, np.uint64), stream
            ),
        )
