"""What an answer tells its receiver: uniform shares, and noise that is the flood's whatever the weights are.

Each property has a negative control without mask, without flood, or with too small a modulus.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from parties.errors import ConfigError
from parties.randomness import AesCtrStream, InsecureTestRandom
from protocols.rlwe.encoding import encode
from protocols.rlwe.kernels.transforms import to_coefficients, to_points
from protocols.rlwe.keys import SecretKey, key_transform, receive_keys, receive_residues, send_keys
from protocols.rlwe.matrix_evaluator import SlabAnswer, evaluator_product
from protocols.rlwe.matrix_holder import holder_product, send_query
from protocols.rlwe.parameters import (
    RlweParameters,
    deviations,
    flood_bits_for,
    largest_norm,
    matrix_parameters,
    noise_left,
)
from protocols.rlwe.reasons import QUERY
from protocols.rlwe.sampling import errors, flood_limbs, of_limbs, to_residues, uniform_residues
from protocols.rlwe.slot_parameters import slot_noise_left, slot_parameters
from protocols.rlwe.tiles import MatrixShape, Tiles
from tests.protocols.rlwe.sessions import both

BITS, ROWS, INNER, COLUMNS = 37, 64, 64, 24
PARAMETERS = matrix_parameters(BITS, largest_norm(8, INNER))


class Unmasked(SlabAnswer):
    def mask(self, columns: int) -> Any:
        return np.zeros_like(super().mask(columns))


class Dry(SlabAnswer):
    def hiding(self, count: int) -> Any:
        return to_residues(errors(self._stream, count), self._keys.parameters.primes)


def shares(right: Any, p: RlweParameters = PARAMETERS) -> tuple[Any, Any]:
    """Of a product with zeros."""
    left = np.zeros((1, ROWS, INNER), np.uint64)
    client, server, _ = both(
        lambda link, stream: holder_product(link, send_keys(link, p, stream), left, COLUMNS, stream),
        lambda link, stream: evaluator_product(link, receive_keys(link, p), right, ROWS, stream),
    )
    return client, server


def check_uniform(share: Any) -> None:
    """Every bit is set as often as not, within six standard deviations."""
    for bit in range(BITS):
        count = int((share >> np.uint64(bit) & np.uint64(1)).sum())
        assert abs(count - share.size / 2) < 3 * math.sqrt(share.size), f"bit {bit}"


def test_both_shares_are_uniform(monkeypatch: pytest.MonkeyPatch) -> None:
    right = np.full((1, INNER, COLUMNS), 255)
    for share in shares(right):
        check_uniform(share)
    monkeypatch.setattr("protocols.rlwe.matrix_evaluator.SlabAnswer", Unmasked)
    for share in shares(right):
        with pytest.raises(AssertionError, match="bit"):
            check_uniform(share)


def answer_noise(kind: Callable[..., SlabAnswer], right: Any) -> list[int]:
    """The noise of every result of a product, as an integer modulo q, by the holder's key."""
    p = PARAMETERS
    tiles = Tiles(MatrixShape(1, ROWS, INNER, COLUMNS), p.degree)
    left = InsecureTestRandom(1).ring((1, ROWS, INNER), BITS).astype(np.uint64)

    def holder(link: Any, stream: Any) -> SecretKey[RlweParameters]:
        key = send_keys(link, p, stream)
        send_query(link, key, tiles, tiles.laid_left(left, BITS), stream)
        return key

    def evaluator(link: Any, stream: Any) -> tuple[Any, Any, Any]:
        keys = receive_keys(link, p)
        seed, second = receive_residues(link, p, tiles.queries, QUERY)
        first = uniform_residues(AesCtrStream(seed), tiles.queries, p.degree, p.primes)
        answer = kind(keys, tiles, first, second, ROWS, stream)
        mask = answer.mask(COLUMNS)
        return *answer.packed(0, right[0], mask), mask

    key, (first, second, mask), _ = both(holder, evaluator)
    moduli = np.array(p.primes, np.uint64)[:, None]
    points = to_points(key_transform(p), first).astype(np.uint64) * key.points % moduli
    lines = to_coefficients(key_transform(p), points.astype(np.uint32))
    results = (left[0] @ right.astype(np.uint64) - mask) & np.uint64((1 << BITS) - 1)
    placed = lines.reshape(len(p.primes), tiles.outer, tiles.width)[:, :ROWS, :COLUMNS]
    rest = (
        (placed.astype(np.uint64) + second).reshape(len(p.primes), -1)
        + moduli
        - encode(p, results.reshape(-1))
    )
    return [whole(column % moduli[:, 0], p.primes) for column in rest.T]


def whole(residues: Any, primes: tuple[int, ...]) -> int:
    """The integer between -q / 2 and q / 2."""
    modulus = math.prod(primes)
    parts = [modulus // p for p in primes]
    total = sum(int(r) * part * pow(part, -1, p) for r, part, p in zip(residues, parts, primes, strict=True))
    return (total + modulus // 2) % modulus - modulus // 2


def test_noise_is_the_floods_whatever_the_weights() -> None:
    """1536 numbers: their standard deviation is 2^b / 2 to within 10 %, six of its own deviations."""
    for weight in (0, 255):
        right = np.full((1, INNER, COLUMNS), weight)
        noise = answer_noise(SlabAnswer, right)
        flood = 2**PARAMETERS.flood_bits
        spread = math.sqrt(sum((x / flood) ** 2 for x in noise) / len(noise))
        assert abs(spread - 0.5) < 0.05
        assert max(map(abs, noise)) < 1.5 * flood * (1 + 2**-20)
        room = PARAMETERS.modulus / 2 ** (BITS + 1)
        assert max(map(abs, noise)) / room < 1 - noise_left(PARAMETERS)
        dry = answer_noise(Dry, right)
        assert max(map(abs, dry)) < flood / 2**20


def test_too_small_a_modulus_is_wrong_and_said_to_be() -> None:
    assert noise_left(PARAMETERS) >= 0
    small = dataclasses.replace(PARAMETERS, primes=PARAMETERS.primes[:-1])
    assert noise_left(small) < 0
    client, server = shares(np.full((1, INNER, COLUMNS), 255), small)
    assert ((client + server) & np.uint64((1 << BITS) - 1)).any()


@pytest.mark.parametrize("bits", range(1, 49))
def test_parameters_leave_room_and_are_secure(bits: int) -> None:
    for norm in (largest_norm(16, 3072), largest_norm(bits - 1, 128)):
        p = matrix_parameters(bits, norm)
        assert noise_left(p) >= 0
        assert p.modulus.bit_length() <= {4096: 109, 8192: 218}[p.degree]
    slots = slot_parameters(bits)
    assert slot_noise_left(slots) >= 0
    assert slots.modulus.bit_length() <= 438
    assert slots.slot_modulus > 3 * 2**slots.mask_bits + 2 ** (2 * bits - 1)
    assert not set(slots.primes) & set(slots.slot_primes)
    assert all(p % (2 * slots.degree) == 1 for p in slots.slot_primes)


def test_less_than_128_bits_of_security_is_refused() -> None:
    five = matrix_parameters(BITS, largest_norm(36, 64)).primes[:5]
    with pytest.raises(ConfigError, match="allows 109"):
        dataclasses.replace(PARAMETERS, primes=five)
    with pytest.raises(ConfigError, match="degree 2048"):
        dataclasses.replace(PARAMETERS, degree=2048)


def test_the_floods_fisher_information() -> None:
    """Of three uniform numbers below W: the sum of (sqrt p(x + 1) - sqrt p(x))^2 is 4.562 / (4 W^2)."""
    values = 1 << 10
    one = np.ones(values)
    weights = np.convolve(np.convolve(one, one), one) / values**3
    roots = np.sqrt(np.concatenate([[0], weights, [0]]))
    assert 4 * values**2 * np.square(np.diff(roots)).sum() == pytest.approx(4.562, rel=2e-2)
    # So that a shift by d in n answers is within sqrt(4.562 n) d / 2^(b + 1) = 2^-40:
    bits = flood_bits_for(1000.0, 1 << 20)
    assert (
        math.sqrt(4.562 * 2**20) * 1000 / 2 ** (bits + 1)
        <= 2**-40
        < math.sqrt(4.562 * 2**20) * 1000 / 2**bits
    )
    assert math.erfc(deviations(1 << 20) / math.sqrt(2)) * 2**20 < 2**-40


def test_floods_add_three_uniform_numbers() -> None:
    limbs = flood_limbs(InsecureTestRandom(2), (4096,), 61)
    numbers = [int(low) + (int(high) << 40) for low, high in zip(*limbs, strict=True)]
    assert np.mean(numbers) / 2**61 == pytest.approx(1.5, abs=6 * 0.5 / 64)
    assert np.std([x / 2**61 for x in numbers]) == pytest.approx(0.5, rel=0.1)
    prime = PARAMETERS.primes[0]
    assert of_limbs(limbs, (prime,))[0].tolist() == [x % prime for x in numbers]
