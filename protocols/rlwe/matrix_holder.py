"""The party that encrypts: its left factors, and its share of the products."""

from __future__ import annotations

import math

import numpy as np

from parties.link import Link
from parties.randomness import KEY_BYTES, AesCtrStream, Randomness
from parties.wire import RingArray
from protocols.labels import labelled
from protocols.rlwe.encoding import encode
from protocols.rlwe.kernels.residues import multiply_points
from protocols.rlwe.kernels.transforms import (
    Residues,
    Words,
    to_coefficients,
    to_points,
    transform_of,
)
from protocols.rlwe.keys import SecretKey, key_transform, send_residues
from protocols.rlwe.parameters import MOST_WIDTH, RlweParameters
from protocols.rlwe.reasons import ANSWER, QUERY
from protocols.rlwe.sampling import errors, to_residues, uniform_residues
from protocols.rlwe.tiles import MatrixShape, Tiles
from protocols.rlwe.wide import answer_specs, halves, rounded_sum, specs_of

_LIFTED = 3
"""Primes whose product exceeds any coefficient of an answer's first half times the secret."""


def holder_product(
    link: Link, key: SecretKey[RlweParameters], left: Words, columns: int, stream: Randomness
) -> Words:
    """The holder's share of left times the evaluator's right factor, modulo 2^k.

    The other party calls `matrix_evaluator.evaluator_product`. One message each way and slab of rows.
    Reveals nothing: the evaluator sees encryptions alone.

    Args:
        key: from `keys.send_keys`.
        left: [batch, rows, inner] modulo 2^k.
        columns: of the right factor.
        stream: of this party alone.

    Returns:
        [batch, rows, columns] modulo 2^k.

    Raises:
        PeerError: see `Link.recv`.
    """
    batch, rows, inner = left.shape
    shape = MatrixShape(batch, rows, inner, columns)
    send_left(link, key, left, shape, stream)
    return receive_share(link, key, shape)


def send_left(
    link: Link, key: SecretKey[RlweParameters], left: Words, shape: MatrixShape, stream: Randomness
) -> None:
    """The first half of `holder_product`: other messages may be sent before `receive_share`."""
    tiles = Tiles(shape, key.parameters.degree)
    send_query(link, key, tiles, tiles.laid_left(left, key.parameters.ring_bits), stream)


def receive_share(link: Link, key: SecretKey[RlweParameters], shape: MatrixShape) -> Words:
    """The second half of `holder_product`."""
    p = key.parameters
    tiles = Tiles(shape, p.degree)
    out = np.empty((shape.batch, shape.rows, shape.columns), np.uint64)
    for matrix in out:
        for top, bottom in tiles.slabs:
            arrays = link.recv(answer_specs(p, tiles, bottom - top), labelled(link, ANSWER))
            count = len(specs_of(p.first_bits, ()))
            matrix[top:bottom] = decrypted(key, tiles, arrays[:count], arrays[count:])
    return out


def send_query(
    link: Link, key: SecretKey[RlweParameters], tiles: Tiles, numbers: Words, stream: Randomness
) -> None:
    """Encryptions of polynomials [queries, N] modulo 2^k: a seed and second halves, as coefficients.

    The seed gives the first halves at their points, in the order of the transform of the tiles' width.
    """
    p = key.parameters
    transform = transform_of(p.degree, tiles.width, p.primes)
    secret = to_points(transform, to_residues(key.secret, p.primes)).astype(np.uint64)
    seed = stream.draw_bytes(KEY_BYTES)
    first = uniform_residues(AesCtrStream(seed), tiles.queries, p.degree, p.primes)
    moduli = np.array(p.primes, np.uint64)[:, None]
    second = np.empty_like(first)
    for index, values in enumerate(first):
        product = to_coefficients(transform, (values * secret % moduli).astype(np.uint32))
        noise = to_residues(errors(stream, p.degree), p.primes)
        message = encode(p, numbers[index])
        second[index] = (message.astype(np.uint64) + noise + (moduli - product)) % moduli
    send_residues(link, seed, second, QUERY)


def decrypted(
    key: SecretKey[RlweParameters], tiles: Tiles, first: list[RingArray], second: list[RingArray]
) -> Words:
    """Results [rows, columns] of one slab's answer."""
    p, (rows, columns) = key.parameters, second[0].shape

    def lines(words: Words) -> Words:
        products = times_secret(key, words).reshape(len(words), tiles.outer, tiles.width)
        return products.swapaxes(0, 1).reshape(tiles.outer, -1)[:rows, :columns]

    if p.first_bits > MOST_WIDTH:
        low, high = halves(first)
        return rounded_sum(p, (lines(low), lines(high)), halves(second))
    phase = (second[0].astype(np.uint64) << np.uint64(p.first_bits - p.second_bits)) + lines(
        first[0].astype(np.uint64)
    )
    half = np.uint64(1 << (p.first_bits - p.ring_bits - 1))
    return ((phase + half) >> np.uint64(p.first_bits - p.ring_bits)) & np.uint64((1 << p.ring_bits) - 1)


def times_secret(key: SecretKey[RlweParameters], first: Words) -> Words:
    """Polynomials [B, N] below 2^57 times the secret, exact, modulo 2^64."""
    primes = key.parameters.primes[:_LIFTED]
    transform = key_transform(key.parameters, _LIFTED)
    moduli = np.array(primes, np.uint64)[:, None]
    points = to_points(transform, (first[:, None, :] % moduli).astype(np.uint32))
    secret = key.points[:_LIFTED]
    multiply_points(points, secret, transform.primes, transform.folds, transform.reciprocals)
    return _lifted(to_coefficients(transform, points), primes)


def _lifted(values: Residues, primes: tuple[int, ...]) -> Words:
    """Integers modulo 2^64 from remainders [B, 3, N], taken between -p q r / 2 and p q r / 2 (Garner)."""
    p, q, r = (np.uint64(prime) for prime in primes)
    product = np.uint64(math.prod(primes) % (1 << 64))
    a, b, c = (values[:, j].astype(np.uint64) for j in range(_LIFTED))
    second = (b + q - a % q) % q * np.uint64(pow(primes[0], -1, primes[1])) % q
    so_far = (a + p * second) % r
    third = (c + r - so_far) % r * np.uint64(pow(primes[0] * primes[1], -1, primes[2])) % r
    whole = a + p * second + p * q * third
    return whole - np.where(third >= r // np.uint64(2), product, np.uint64(0))
