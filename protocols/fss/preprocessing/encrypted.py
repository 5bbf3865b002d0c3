"""Products of the client's masks with the server's weights by encryption: no dealer has a part in them.

For a mask a [rows, inner], of the client's, and a weight W of the server's, the client gets a W - s and the
server s, uniform. The client encrypts a under its own key, the server multiplies (Delphi, USENIX Security
2020; `protocols.rlwe`). A ciphertext holds 32 rows at least. Where a layer needs fewer, the rest are filled
with uniform rows r of the client's, whose products are kept: for a row that is taken from those later the
client sends a - r, and the server adds (a - r) W to its share.
"""

# pyright: reportUnknownMemberType=false

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from parties.errors import RangeError
from parties.link import Link
from parties.meter import CLIENT, SERVER
from parties.randomness import Randomness, SystemRandom
from parties.wire import spec_of
from protocols.fss.preprocessing.matrix import times
from protocols.labels import labelled
from protocols.rlwe.costs import answer_bytes, query_bytes
from protocols.rlwe.matrix_evaluator import evaluator_product
from protocols.rlwe.matrix_holder import holder_product
from protocols.rlwe.parameters import (
    LEAST_ROWS,
    NORM_SLACK,
    RlweParameters,
    largest_norm,
    matrix_parameters,
)
from protocols.rlwe.session_keys import EvaluatorKeys, HolderKeys, KeyCosts
from protocols.rlwe.tiles import MatrixShape
from protocols.tensors import drawn, to_tensor, to_words

MOST_ANSWERS = 1 << 28
"""Encrypted results of a session over which statistical bounds hold, as in the suite `two-party`."""
LARGEST_WEIGHT = 2.0
"""Root mean square of a column's entries, at most, in the mean; of one column `NORM_SLACK` times as much."""
ROWS_KEPT = "linear.rows"
"""Why the client sends a - r."""
_ProductId = tuple[str, bool, int, int, int, int]


@dataclass(frozen=True, slots=True)
class EncryptedProduct:
    """What is multiplied; the same for both parties and where costs are counted.

    Attributes:
        name: of the weight.
        rows: of a.
        inner, columns: of the weight as it is multiplied: of a diagonal both its length.
        frac_bits: of the weight's entries.
        transposed: the weight's transpose is multiplied.
    """

    name: str
    rows: int
    inner: int
    columns: int
    ring_bits: int
    frac_bits: int
    transposed: bool

    @property
    def identity(self) -> _ProductId:
        """Whose rows that were kept can be taken."""
        return self.name, self.transposed, self.ring_bits, self.inner, self.columns, self.frac_bits

    @property
    def parameters(self) -> RlweParameters:
        """Under which it is encrypted.

        Raises:
            ConfigError: a ring too wide for them.
        """
        norm = largest_norm(self.frac_bits, self.inner) * LARGEST_WEIGHT
        return matrix_parameters(self.ring_bits, norm, MOST_ANSWERS)

    def of_rows(self, rows: int) -> MatrixShape:
        """What is encrypted for so many rows."""
        return MatrixShape(1, rows, self.inner, self.columns)


class _RowCounts:
    """How many rows are kept, by product."""

    def __init__(self) -> None:
        self._kept: dict[_ProductId, int] = {}

    def take(self, product: EncryptedProduct) -> tuple[int, int]:
        """Of a product's rows, how many are taken from those that were kept; and how many are made for the
        others: whole ciphertexts' worth."""
        kept = self._kept.get(product.identity, 0)
        taken = min(kept, product.rows)
        made = -(-(product.rows - taken) // LEAST_ROWS) * LEAST_ROWS
        self._kept[product.identity] = kept + made - product.rows
        return taken, made


class EncryptedProducts:
    """One party's side, for a session.

    Args:
        link: to the other party.
        random: this party's own; the system's where None.
    """

    def __init__(self, link: Link, random: Randomness | None = None) -> None:
        assert link.rank is not None
        self._link, self._rank, self._random = link, link.rank, random or SystemRandom()
        self._holder, self._evaluator = HolderKeys(link, self._random), EvaluatorKeys(link)
        self._counts = _RowCounts()
        self._kept: dict[_ProductId, tuple[torch.Tensor, torch.Tensor]] = {}

    def share(self, product: EncryptedProduct, known: torch.Tensor) -> torch.Tensor:
        """This party's share [rows, columns] of a W, modulo 2^ring_bits.

        Args:
            known: a [rows, inner] at the client; at the server the weight, or the diagonal of one.

        Cost: `EncryptedCosts`. Reveals: nothing; see the reasons `rlwe.query`, `rlwe.answer` and
        `linear.rows` in tests/openings.txt.

        Raises:
            RangeError: at the server: a weight so large that products could be wrong.
            MalformedFrame: a coefficient that is not below its prime.
            PeerError: see `Link.recv`.
        """
        taken, made = self._counts.take(product)
        parts = list[torch.Tensor]()
        if taken:
            parts.append(self._of_kept(product, known, taken))
        if made:
            parts.append(self._of_fresh(product, known, taken, made))
        return torch.cat(parts) if parts else torch.zeros((0, product.columns), dtype=torch.int64)

    def _of_kept(self, product: EncryptedProduct, known: torch.Tensor, taken: int) -> torch.Tensor:
        """Shares of rows whose products with uniform rows are there already."""
        rows, shares = self._kept.pop(product.identity)
        if shares.shape[0] > taken:
            self._kept[product.identity] = rows[taken:].clone(), shares[taken:].clone()
        label, bits = labelled(self._link, ROWS_KEPT), product.ring_bits
        if self._rank == CLIENT:
            self._link.send([to_words(known[:taken] - rows[:taken])], bits, label)
            return shares[:taken]
        (array,) = self._link.recv([spec_of(bits, (taken, product.inner))], label)
        differences = to_tensor(array)
        return shares[:taken] + times(differences, known, transposed=product.transposed, ring_bits=bits)

    def _of_fresh(
        self, product: EncryptedProduct, known: torch.Tensor, taken: int, made: int
    ) -> torch.Tensor:
        """Shares of the rows after those; what is made beyond them is kept."""
        wanted = product.rows - taken
        rows, shares = (self._multiplied if self._rank == SERVER else self._encrypted)(
            product, known if self._rank == SERVER else known[taken:], made
        )
        if made > wanted:
            assert product.identity not in self._kept
            self._kept[product.identity] = rows[wanted:].clone(), shares[wanted:].clone()
        return shares[:wanted]

    def _encrypted(
        self, product: EncryptedProduct, a: torch.Tensor, made: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """At the client: a and uniform rows, and its share of their products."""
        more = drawn(self._random, (made - a.shape[0], product.inner), product.ring_bits)
        rows = torch.cat([a, more])
        words = to_words(rows)[None].astype(np.uint64) & np.uint64((1 << product.ring_bits) - 1)
        key = self._holder.of(product.parameters)
        share = holder_product(self._link, key, words, product.columns, self._random)
        return rows, to_tensor(share[0])

    def _multiplied(
        self, product: EncryptedProduct, weight: torch.Tensor, made: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """At the server: its share. There are no rows here."""
        factor = torch.diag(weight) if weight.dim() == 1 else weight.T if product.transposed else weight
        keys = self._evaluator.of(product.parameters)
        right = factor.to(torch.int64).contiguous().numpy()[None]
        share = evaluator_product(self._link, keys, right, made, self._random)
        return torch.zeros((made, 0), dtype=torch.int64), to_tensor(share[0])


class EncryptedCosts:
    """What `EncryptedProducts` sends, without a run.

    Attributes:
        sent: bytes so far to the server and to the client.
    """

    def __init__(self) -> None:
        self._keys, self._counts = KeyCosts(), _RowCounts()
        self.sent = [0, 0]

    def count(self, product: EncryptedProduct) -> tuple[int, int]:
        """Bytes to the server and to the client.

        Raises:
            ConfigError: a ring too wide for encryption.
        """
        parameters, (taken, made) = product.parameters, self._counts.take(product)
        to_server = spec_of(product.ring_bits, (taken, product.inner)).packed_bytes if taken else 0
        to_client = 0
        if made:
            shape = product.of_rows(made)
            to_server += self._keys.of(parameters) + query_bytes(parameters, shape)
            to_client = answer_bytes(parameters, shape)
        self.sent = [self.sent[SERVER] + to_server, self.sent[CLIENT] + to_client]
        return to_server, to_client


def require_norm(name: str, value: torch.Tensor, frac_bits: int) -> None:
    """That products with a weight, or its transpose, are within what `EncryptedProduct.parameters` assumes.

    Args:
        value: in fixed point, a matrix or a diagonal, whose columns have one entry each.

    Raises:
        RangeError: they are not; the server's message alone, the client sees that it stopped.
    """
    if not value.numel():
        return
    squares = value.double().square() / 4.0**frac_bits
    if value.dim() == 1:
        squares = squares[None] / len(value)
    columns = max(float(squares.mean(axis).max()) for axis in range(squares.dim()))
    if columns > (LARGEST_WEIGHT * NORM_SLACK) ** 2 or float(squares.mean()) > LARGEST_WEIGHT**2:
        raise RangeError(
            f"linear=rlwe: {name} has entries of root mean square {float(squares.mean()) ** 0.5:.4g}, at "
            f"most {LARGEST_WEIGHT:g}, in one column {NORM_SLACK * LARGEST_WEIGHT:g}: take --set linear=dealt"
        )
