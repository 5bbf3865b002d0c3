"""The party that multiplies what the other encrypted by its own right factors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np

from parties.errors import RangeError
from parties.link import Link
from parties.randomness import AesCtrStream, Randomness
from protocols.kernels.parallel import Job, in_turns
from protocols.labels import labelled
from protocols.rlwe.encoding import encode
from protocols.rlwe.kernels.column_products import column_products
from protocols.rlwe.kernels.refreshing import add_zeros, dot_rows, joined
from protocols.rlwe.kernels.transforms import (
    Residues,
    Transform,
    Words,
    to_coefficients,
    to_points,
    transform_of,
)
from protocols.rlwe.keys import EvaluationKeys, key_transform, receive_residues
from protocols.rlwe.packing import pack_answers
from protocols.rlwe.parameters import NORM_SLACK, RlweParameters
from protocols.rlwe.reasons import ANSWER, QUERY
from protocols.rlwe.sampling import errors, flood, ternary, to_residues, uniform_residues
from protocols.rlwe.tiles import Integers, MatrixShape, Tiles
from protocols.rlwe.wide import answer_specs, scaled, specs_of


@dataclass(frozen=True, eq=False)
class RightFactor:
    """What the evaluator multiplies by.

    Attributes:
        keys: from `keys.receive_keys`.
        right: [batch, inner, columns], signed.
        rows: of the left factor.
    """

    keys: EvaluationKeys[RlweParameters]
    right: Integers
    rows: int


def evaluator_product(
    link: Link, keys: EvaluationKeys[RlweParameters], right: Integers, rows: int, stream: Randomness
) -> Words:
    """The evaluator's share [batch, rows, columns] of one product: see `products_together`."""
    return products_together(link, [RightFactor(keys, right, rows)], stream)[0]


def products_together(link: Link, factors: Iterable[RightFactor], stream: Randomness) -> list[Words]:
    """The evaluator's shares, uniform, of the holder's left factors times right ones, modulo 2^k each.

    All queries are received before any answer is sent. The other party calls `matrix_holder.send_left` for
    each, then `receive_share`. Reveals nothing of the factors but their shapes: see `parameters`.

    Args:
        factors: the next is asked for when the query before was received.
        stream: of this party alone.

    Returns:
        [batch, rows, columns] modulo 2^k each.

    Raises:
        RangeError: columns larger than the parameters allow.
        MalformedFrame: a coefficient that is not below its prime.
        PeerError: see `Link.recv`.
    """
    evaluations = [Evaluation(link, factor, stream) for factor in factors]
    in_turns([job for evaluation in evaluations for job in evaluation.jobs])
    for evaluation in evaluations:
        evaluation.send(link)
    return [evaluation.share for evaluation in evaluations]


class Evaluation:
    """One product: receives the query.

    Attributes:
        share: [batch, rows, columns], once all jobs were run.
        jobs: a packed answer each.
    """

    def __init__(self, link: Link, factor: RightFactor, stream: Randomness) -> None:
        keys, right, p = factor.keys, factor.right, factor.keys.parameters
        check_norm(right, p)
        batch, inner, columns = right.shape
        self._tiles = tiles = Tiles(MatrixShape(batch, factor.rows, inner, columns), p.degree)
        seed, second = receive_residues(link, p, tiles.queries, QUERY)
        first = AesCtrStream(seed)
        self.share = np.empty((batch, factor.rows, columns), np.uint64)
        self.jobs: list[Job] = []
        self._answers: list[SlabAnswer] = []
        for index in range(batch):
            for top, bottom in tiles.slabs:
                start = len(self._answers) * tiles.parts
                halves = uniform_residues(first, tiles.parts, p.degree, p.primes)
                part = second[start : start + tiles.parts]
                answer = SlabAnswer(keys, tiles, halves, part, bottom - top, stream)
                self._answers.append(answer)
                rows = self.share[index, top:bottom]
                self.jobs += [
                    partial(answer.answer_group, group, right[index], rows)
                    for group in range(len(tiles.groups))
                ]

    def send(self, link: Link) -> None:
        """The answers, once all jobs were run."""
        for answer in self._answers:
            bits = [spec.bits for spec in answer_specs(answer.parameters, self._tiles, answer.rows)]
            link.send([*answer.first, *answer.second], bits, labelled(link, ANSWER))


def check_norm(right: Integers, parameters: RlweParameters) -> None:
    """Refuses factors whose products could be wrong, or whose noise the flood could not hide."""
    squares = np.square(right.astype(np.float64)).sum(-2)
    most = parameters.weight_norm**2 * (1 + 1e-9)
    if squares.mean() > most or squares.max() > most * NORM_SLACK**2:
        raise RangeError(
            f"columns exceed the norm {parameters.weight_norm:g} that RLWE parameters were made for"
        )


def _arrays(bits: int, shape: tuple[int, ...]) -> list[Words]:
    """For coefficients of so many bits."""
    return [np.empty(shape, np.uint64) for _ in specs_of(bits, shape)]


class SlabAnswer:
    """One slab of rows times a right factor.

    Attributes:
        rows: of the slab.
        first, second: what is sent, once all groups were answered: arrays of `wide.specs_of`.
    """

    def __init__(
        self,
        keys: EvaluationKeys[RlweParameters],
        tiles: Tiles,
        first: Residues,
        second: Residues,
        rows: int,
        stream: Randomness,
    ) -> None:
        p = keys.parameters
        self._keys, self._tiles, self.rows, self._stream = keys, tiles, rows, stream
        self._transform = transform_of(p.degree, tiles.width, p.primes)
        layout = (tiles.parts, len(p.primes), tiles.width, tiles.outer)
        self._first = np.ascontiguousarray(first.reshape(layout).swapaxes(0, 1))
        self._dots = np.ascontiguousarray(dot_rows(self._transform, second).reshape(layout).swapaxes(0, 1))
        self._zero = zero_points(keys, self._transform)
        self.first = _arrays(p.first_bits, (len(tiles.groups), p.degree))
        self.second = _arrays(p.second_bits, (rows, tiles.shape.columns))

    @property
    def parameters(self) -> RlweParameters:
        return self._keys.parameters

    def answer_group(self, group: int, right: Integers, share: Words) -> None:
        """Fills the answer of a group of columns, and this party's share [rows, columns] of it."""
        p, (left, end) = self._keys.parameters, self._tiles.groups[group]
        mask = self.mask(end - left)
        first, second = self.packed(group, right, mask)
        share[:, left:end] = mask
        for array, words in zip(self.first, scaled(p, first, p.first_bits), strict=True):
            array[group] = words
        for array, words in zip(self.second, scaled(p, second, p.second_bits), strict=True):
            array[:, left:end] = words

    def mask(self, columns: int) -> Words:
        """This party's uniform share of so many columns."""
        shape = (self.rows, columns)
        return self._stream.ring(shape, self._keys.parameters.ring_bits).astype(np.uint64)

    def hiding(self, count: int) -> Residues:
        """Errors and a flood for so many results, modulo each prime: [L, count]."""
        p = self._keys.parameters
        noise = to_residues(errors(self._stream, count), p.primes).astype(np.uint64)
        noise += flood(self._stream, (count,), p.flood_bits, p.primes)
        return (noise % np.array(p.primes, np.uint64)[:, None]).astype(np.uint32)

    def packed(self, group: int, right: Integers, mask: Words) -> tuple[Residues, Residues]:
        """A group's answer modulo q: first half [L, N], and of the second results [L, rows, columns]."""
        p, t, tiles = self._keys.parameters, self._transform, self._tiles
        left, end = tiles.groups[group]
        weights = tiles.laid_columns(right[:, left:end], p.primes)
        count, columns = len(p.primes), end - left
        first = np.empty((count, columns, tiles.width, tiles.outer), np.uint32)
        dots = np.empty((count, columns, tiles.outer), np.uint32)
        for j in range(count):
            column_products(
                self._first[j], self._dots[j], weights[j],
                t.primes[j], t.folds[j], t.reciprocals[j], t.points[j], first[j], dots[j],
            )  # fmt: skip
        leaves = np.zeros((tiles.width, count, p.degree), np.uint32)
        random, noise = (
            draw(self._stream, columns * p.degree).reshape(columns, -1) for draw in (ternary, errors)
        )
        add_zeros(t, self._zero, first, dots, random, noise, leaves)
        second = joined(t, dots)[:, : self.rows]
        packed = pack_answers(self._keys, leaves, columns)
        sums = packed[1].reshape(count, tiles.outer, tiles.width)[:, : self.rows, :columns]
        total = (second.astype(np.uint64) + sums).reshape(count, -1) + self.hiding(mask.size)
        moduli = np.array(p.primes, np.uint64)[:, None]
        total += moduli - encode(p, mask.reshape(-1))
        return packed[0], (total % moduli).astype(np.uint32).reshape(second.shape)


@lru_cache(maxsize=8)
def zero_points(keys: EvaluationKeys[RlweParameters], transform: Transform) -> Residues:
    """The encryption of zero in the order of another transform."""
    return to_points(transform, to_coefficients(key_transform(keys.parameters), keys.zero))
