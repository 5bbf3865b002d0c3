"""Bytes on the wire of RLWE products, in closed form; payload, as the meter counts it."""

from __future__ import annotations

from parties.randomness import KEY_BYTES
from parties.wire import spec_of
from protocols.rlwe.elementwise import answer_spec, chunks
from protocols.rlwe.kernels.words import PRIME_BITS
from protocols.rlwe.parameters import RingParameters, RlweParameters
from protocols.rlwe.slot_parameters import SlotParameters
from protocols.rlwe.tiles import MatrixShape, Tiles
from protocols.rlwe.wide import answer_specs


def polynomial_bytes(parameters: RingParameters, count: int) -> int:
    """A seed and halves of `count` ciphertexts: ceil(27 L N count / 8) + 16."""
    shape = (count, len(parameters.primes), parameters.degree)
    return KEY_BYTES + spec_of(PRIME_BITS, shape).packed_bytes


def key_bytes(parameters: RingParameters) -> int:
    """From the holder to the evaluator, once a session: 1 + D log2(N / 32) ciphertexts, D digits.

    For products of vectors it is one.
    """
    return polynomial_bytes(parameters, 1 + parameters.packing_levels * parameters.digits)


def query_bytes(parameters: RlweParameters, shape: MatrixShape) -> int:
    """From the holder to the evaluator: a ciphertext for M rows and K = N / M columns of the left factor."""
    return polynomial_bytes(parameters, Tiles(shape, parameters.degree).queries)


def answer_bytes(parameters: RlweParameters, shape: MatrixShape) -> int:
    """From the evaluator to the holder: a first half for M rows and K columns of the result, and second_bits
    for each number of the result."""
    tiles = Tiles(shape, parameters.degree)
    slabs = [answer_specs(parameters, tiles, bottom - top) for top, bottom in tiles.slabs]
    return shape.batch * sum(spec.packed_bytes for slab in slabs for spec in slab)


def vector_query_bytes(parameters: SlotParameters, count: int) -> int:
    """From the holder to the evaluator, for `count` products of numbers: a ciphertext for N numbers."""
    return sum(polynomial_bytes(parameters, size) for size in chunks(parameters, count))


def vector_answer_bytes(parameters: SlotParameters, count: int) -> int:
    """From the evaluator to the holder: both halves modulo the primes that are left."""
    return sum(answer_spec(parameters, size).packed_bytes for size in chunks(parameters, count))
