"""Bits of a DPF differ at alpha alone, and both implementations make and read the same keys."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from parties.errors import RangeError
from parties.randomness import InsecureTestRandom
from protocols.kernels.aes import Hash
from protocols.kernels.dpf import DpfKeys, expand_all, generate, prefix_parity, window_lookup
from protocols.kernels.processor import VARIABLE, aes_registers
from protocols.kernels.window_table import WindowTable
from tests.protocols.kernels.slow import slow_bits, slow_keys

Words = NDArray[np.uint64]

HASH = Hash(bytes(range(16)))
COUNTS = [0, 1, 15, 16, 63, 64, 65, 200]
WINDOWS = {7: [1, 2, 127, 128], 8: [1, 2, 127, 128, 129, 255, 256], 9: [130, 257, 512], 10: [514, 1024]}

needs_aes = pytest.mark.skipif(aes_registers() is None, reason="no AES instructions to compile for")


@pytest.fixture(params=[pytest.param("", id="compiled", marks=needs_aes), "openssl"])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs a test on both implementations."""
    monkeypatch.setenv(VARIABLE, request.param)
    return request.param


def points(seed: int, bits: int, *shape: int) -> Words:
    return InsecureTestRandom(seed).uint64(shape) >> np.uint64(64 - bits)


def roots(count: int, seed: int = 7) -> Words:
    return InsecureTestRandom(seed).uint64((2, count, 2))


def every(bits: int) -> Words:
    return np.arange(1 << bits, dtype=np.uint64)


def table(size: int, bound_bits: int) -> NDArray[np.int64]:
    """Entries that differ and are not 0, of both signs."""
    values = InsecureTestRandom(size).uint64((size,)).view(np.int64) >> (64 - bound_bits)
    return values * 2 + 1


def integer(block: Words) -> int:
    return int(block[0]) | int(block[1]) << 64


@pytest.mark.parametrize("bits", range(1, 11))
def test_keys_and_bits_are_those_of_the_definition(implementation: str, bits: int) -> None:
    alpha, pair = points(bits, bits, 3), roots(3)
    keys, signs = generate(alpha, bits, pair, HASH)
    shares = [expand_all(rank, keys, pair[rank], HASH) for rank in (0, 1)]
    for i in range(3):
        ends = (integer(pair[0, i]), integer(pair[1, i]))
        words, sign = slow_keys(HASH.key, int(alpha[i]), bits, ends)
        assert [integer(block) for block in keys.blocks[:, i]] == words
        assert signs[i] == sign
        for rank in (0, 1):
            assert shares[rank][i].tolist() == slow_bits(HASH.key, rank, bits, words, ends[rank])


@pytest.mark.parametrize("bits", range(1, 11))
def test_bits_differ_at_alpha_alone(implementation: str, bits: int) -> None:
    """Every alpha and every point."""
    alpha = every(bits)
    pair = roots(alpha.size)
    keys, signs = generate(alpha, bits, pair, HASH)
    mine, theirs = (expand_all(rank, keys, pair[rank], HASH) for rank in (0, 1))
    assert np.array_equal(mine ^ theirs, np.eye(1 << bits, dtype=np.uint8))
    assert np.array_equal(signs, np.where(np.diagonal(mine) == 1, 1, -1))


@pytest.mark.parametrize("bits", range(1, 11))
def test_prefix_parities_compare(implementation: str, bits: int) -> None:
    """Every alpha and every point."""
    alpha = every(bits)
    pair, x = roots(alpha.size), np.repeat(every(bits)[:, None], alpha.size, 1)
    keys, _ = generate(alpha, bits, pair, HASH)
    shares = [prefix_parity(rank, keys, pair[rank], x, HASH) for rank in (0, 1)]
    assert max(int(share.max()) for share in shares) <= 1
    assert np.array_equal(shares[0] ^ shares[1], alpha <= x)


@pytest.mark.parametrize("bits", range(1, 11))
def test_windows_give_the_entry_at_alpha(implementation: str, bits: int) -> None:
    """Every alpha and every first point."""
    alpha, first = np.repeat(every(bits), 1 << bits), np.tile(every(bits), 1 << bits)
    pair = roots(alpha.size)
    keys, signs = generate(alpha, bits, pair, HASH)
    distance = ((alpha - first) & np.uint64((1 << bits) - 1)).astype(np.int64)
    for window in WINDOWS.get(bits, [1, 1 << (bits - 1), 1 << bits]):
        entries = table(window, 12)
        sums = [window_lookup(rank, keys, pair[rank], first, WindowTable(entries), HASH) for rank in (0, 1)]
        found = np.where(distance < window, entries[np.minimum(distance, window - 1)], 0)
        assert np.array_equal(sums[0] - sums[1], signs * found)


@pytest.mark.parametrize("bound_bits", [8, 30, 40, 63])
def test_sums_are_those_of_the_bits(implementation: str, bound_bits: int) -> None:
    """One party's own sum, in 32 and in 64 bits, modulo 2^64."""
    bits, window, count = 9, 300, 70
    pair, first, entries = roots(count), points(5, 64, count), table(window, bound_bits)
    keys, _ = generate(points(4, bits, count), bits, pair, HASH)
    shares = expand_all(1, keys, pair[1], HASH).astype(np.int64)
    places = (first[:, None].astype(np.int64) + np.arange(window)) % (1 << bits)
    expected = np.take_along_axis(shares, places, 1) @ entries
    assert np.array_equal(window_lookup(1, keys, pair[1], first, WindowTable(entries), HASH), expected)


@pytest.mark.parametrize("bits", [14, 16, 23, 31, 32, 33, 40, 63, 64])
def test_larger_domains(implementation: str, bits: int) -> None:
    count = 150
    alpha, pair = points(bits, bits, count), roots(count)
    keys, signs = generate(alpha, bits, pair, HASH)
    largest = np.uint64(2**bits - 1)
    x = np.concatenate([points(1, bits, 3, count), [alpha, alpha - 1 & largest, alpha + 1 & largest]])
    x = np.concatenate([x, [np.zeros_like(alpha), np.full_like(alpha, largest)]])
    shares = [prefix_parity(rank, keys, pair[rank], x, HASH) for rank in (0, 1)]
    assert np.array_equal(shares[0] ^ shares[1], alpha <= x)
    if bits <= 32:
        entries = table(512, 12)
        distance = points(2, 10, count).astype(np.int64) - 256
        first = alpha - distance.view(np.uint64)
        sums = [window_lookup(rank, keys, pair[rank], first, WindowTable(entries), HASH) for rank in (0, 1)]
        found = np.where((distance >= 0) & (distance < 512), entries[np.clip(distance, 0, 511)], 0)
        assert np.array_equal(sums[0] - sums[1], signs * found)


@needs_aes
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(("bits", "window"), [(3, 5), (7, 100), (9, 512), (14, 512), (16, 1000)])
def test_both_implementations_are_equal_bit_for_bit(
    count: int, bits: int, window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    alpha, pair, x = points(1, bits, count), roots(count), points(2, bits, 2, count)
    entries, results = table(window, 20), list[list[NDArray[np.generic]]]()
    for setting in ("", "openssl"):
        monkeypatch.setenv(VARIABLE, setting)
        keys, signs = generate(alpha, bits, pair, HASH)
        results.append([keys.blocks, signs])
        for rank in (0, 1):
            results[-1].append(prefix_parity(rank, keys, pair[rank], x, HASH))
            results[-1].append(window_lookup(rank, keys, pair[rank], x[0], WindowTable(entries), HASH))
            results[-1].append(expand_all(rank, keys, pair[rank], HASH))
    for compiled, openssl in zip(*results, strict=True):
        assert np.array_equal(compiled, openssl)


@pytest.mark.parametrize("bits", [6, 9])
def test_one_party_sees_fair_coins(bits: int) -> None:
    """Every bit of the correction words, of the leaves and of the signs, whatever alpha is.

    Of N fair coins the number of heads is off by less than 5 sqrt(N) / 2 with probability 1 - 6e-7 each; the
    randomness is fixed, so this either holds or does not.
    """
    count, alpha = 4096, 37
    keys, signs = generate(np.full(count, alpha, np.uint64), bits, roots(count), HASH)
    heads = [np.unpackbits(keys.blocks.view(np.uint8), axis=2).sum(1), (signs == 1).sum()]
    for rank in (0, 1):
        heads.append(expand_all(rank, keys, roots(count)[rank], HASH).sum(0, dtype=np.int64))
    for tally in heads:
        assert np.abs(tally - count / 2).max() < 5 * count**0.5 / 2


@needs_aes
def test_a_flipped_correction_word_is_noticed() -> None:
    """The comparison above would fail on wrong keys."""
    bits, count = 12, 256
    alpha, pair, x = points(1, bits, count), roots(count), points(2, bits, 1, count)
    keys, _ = generate(alpha, bits, pair, HASH)
    for level in range(len(keys.blocks)):
        wrong = keys.blocks.copy()
        wrong[level] ^= np.uint64(1 << 40)
        shares = [prefix_parity(r, DpfKeys(bits, wrong), pair[r], x, HASH) for r in (0, 1)]
        assert not np.array_equal(shares[0] ^ shares[1], alpha <= x)


def test_words_are_the_keys_without_a_copy() -> None:
    keys, _ = generate(points(1, 20, 30), 20, roots(30), HASH)
    back = DpfKeys.from_words(20, 30, keys.words)
    assert keys.words.nbytes == DpfKeys.key_bytes(20, 30) == 16 * 14 * 30
    assert np.shares_memory(back.blocks, keys.blocks)
    assert back.cw.shape == (13, 30, 2)
    assert np.array_equal(back.blocks[-1], keys.leaf)
    assert DpfKeys.key_bytes(5, 10) == 160


def test_read_only_and_strided_arrays_are_read(implementation: str) -> None:
    bits, count = 10, 100
    alpha, pair, x = points(1, bits, count), roots(count), points(2, bits, count, 2)
    keys, _ = generate(alpha, bits, pair, HASH)
    received = np.frombuffer(keys.words.tobytes(), np.uint64)
    read_only = DpfKeys.from_words(bits, count, received)
    for rank in (0, 1):
        expected = prefix_parity(rank, keys, pair[rank].copy(), np.ascontiguousarray(x.T), HASH)
        assert np.array_equal(prefix_parity(rank, read_only, pair[rank], x.T, HASH), expected)
    assert pair.flags.writeable
    assert alpha.flags.writeable


def test_what_does_not_fit_is_refused(implementation: str) -> None:
    alpha, pair = points(1, 9, 4), roots(4)
    keys, _ = generate(alpha, 9, pair, HASH)
    entries = table(16, 8)
    with pytest.raises(RangeError, match=r"below 2\^8"):
        generate(alpha | np.uint64(256), 8, pair, HASH)
    with pytest.raises(RangeError, match="1 to 64 bits, got 65"):
        generate(alpha, 65, pair, HASH)
    with pytest.raises(RangeError, match=r"expected shape \(2, 4, 2\), got \(2, 3, 2\)"):
        generate(alpha, 9, pair[:, :3], HASH)
    with pytest.raises(RangeError, match=r"below 2\^9"):
        prefix_parity(0, keys, pair[0], alpha[None] + np.uint64(512), HASH)
    with pytest.raises(RangeError, match=r"points: expected shape \(1, 4\), got \(1, 3\)"):
        prefix_parity(0, keys, pair[0], alpha[None, :3], HASH)
    with pytest.raises(RangeError, match="rank 0 or 1, got 2"):
        prefix_parity(2, keys, pair[0], alpha[None], HASH)
    with pytest.raises(RangeError, match="roots: expected"):
        window_lookup(0, keys, pair[0, :3], alpha, WindowTable(entries), HASH)
    with pytest.raises(RangeError, match="first points: expected"):
        window_lookup(0, keys, pair[0], alpha[:3], WindowTable(entries), HASH)
    with pytest.raises(RangeError, match=r"got shape \(0,\)"):
        WindowTable(entries[:0])
    with pytest.raises(RangeError, match=r"1 to 2\^9 entries, got 513"):
        window_lookup(0, keys, pair[0], alpha, WindowTable(table(513, 8)), HASH)
    with pytest.raises(RangeError, match="4 rows below 1"):
        window_lookup(0, keys, pair[0], alpha, WindowTable(entries), HASH, np.ones(4, np.int64))
    with pytest.raises(RangeError, match="4 rows below 1, got shape"):
        window_lookup(0, keys, pair[0], alpha, WindowTable(entries), HASH, np.zeros(3, np.int64))
    with pytest.raises(RangeError, match=r"expected shape \(24,\), got \(22,\)"):
        DpfKeys.from_words(9, 4, keys.words[:-2])
    with pytest.raises(RangeError, match="correction words: expected shape"):
        DpfKeys(10, keys.blocks)
