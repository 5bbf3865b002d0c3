"""Shares of an incremental DPF add up to 1 on alpha's path and to 0 elsewhere, on both implementations."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from parties.errors import RangeError
from parties.randomness import InsecureTestRandom
from protocols.kernels.aes import Hash
from protocols.kernels.idpf import IdpfKeys, generate, line_lookup, prefix_sum, range_lookup
from protocols.kernels.lines import Lines
from protocols.kernels.processor import VARIABLE, aes_registers
from tests.protocols.kernels.slow import LOW, VALUE, slow_hash

Words = NDArray[np.uint64]
Entries = NDArray[np.int64]

HASH = Hash(bytes(range(16)))
COUNTS = [0, 1, 15, 16, 63, 64, 65, 200]

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


def all_depths(bits: int) -> tuple[int, ...]:
    return tuple(range(1, bits + 1))


def table(size: int) -> Entries:
    """Entries that use all 64 bits."""
    return InsecureTestRandom(size).uint64((size,)).view(np.int64)


def expected_lookup(
    alpha: Words, bits: int, depth: int, first: Words, count: Entries | int, entries: Entries
) -> Entries:
    """The entry's sums as the definition reads, a place of the range at a time."""
    prefix = alpha >> np.uint64(bits - depth)
    sums = np.zeros(alpha.shape, np.int64)
    for j, entry in enumerate(entries):
        place = (first + np.uint64(j)) & (np.uint64(LOW) >> np.uint64(64 - depth))
        sums += np.where((place == prefix) & (j < np.asarray(count)), entry, 0)
    return sums


def looked_up(
    keys: IdpfKeys, pair: Words, depth: int, first: Words, count: Entries | int, entries: Entries
) -> Entries:
    shares = [range_lookup(rank, keys, pair[rank], depth, first, count, entries, HASH) for rank in (0, 1)]
    return shares[0] + shares[1]


def slow_share(rank: int, keys: IdpfKeys, root: int, i: int, depth: int, prefix: int) -> int:
    """Party `rank`'s share of key i at one node, from the definition."""
    node = root & ~1 | rank
    for level in range(depth):
        word = int(keys.cw[level, i, 0]) | int(keys.cw[level, i, 1]) << 64
        left = slow_hash(HASH.key, node) ^ (word if node & 1 else 0)
        node = left ^ (node if prefix >> (depth - 1 - level) & 1 else 0)
    value = int(keys.values_at(depth)[0, i]) if node & 1 else 0
    share = (slow_hash(HASH.key, node ^ VALUE) & LOW) + value
    return (-share if rank else share) & LOW


def test_shares_are_those_of_the_definition(implementation: str) -> None:
    bits, depths = 7, (2, 5, 7)
    alpha, pair = points(1, bits, 3), roots(3)
    keys = generate(alpha, bits, depths, pair, HASH)
    one = np.ones(1, np.int64)
    for depth in depths:
        for prefix in range(1 << depth):
            first = np.full(3, prefix, np.uint64)
            for rank in (0, 1):
                shares = range_lookup(rank, keys, pair[rank], depth, first, 1, one, HASH)
                ends = [int(low) | int(high) << 64 for low, high in pair[rank]]
                slow = [slow_share(rank, keys, ends[i], i, depth, prefix) for i in range(3)]
                assert shares.view(np.uint64).tolist() == slow


@pytest.mark.parametrize("bits", [1, 2, 5, 8, 10])
def test_nodes_of_every_depth(implementation: str, bits: int) -> None:
    """Every alpha and every node of every depth: 1 on the path, 0 elsewhere."""
    alpha, pair, one = every(bits), roots(1 << bits), np.ones(1, np.int64)
    keys = generate(alpha, bits, all_depths(bits), pair, HASH)
    step = 1 if implementation != "openssl" or bits < 10 else 97
    for depth in range(1, bits + 1):
        for prefix in range(0, 1 << depth, step):
            first = np.full(alpha.size, prefix, np.uint64)
            found = looked_up(keys, pair, depth, first, 1, one)
            assert np.array_equal(found, alpha >> np.uint64(bits - depth) == prefix)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 8, 9, 31])
def test_ranges_from_every_node(implementation: str, length: int) -> None:
    """Every alpha and every first node, ranges of every length, also longer than the depth has nodes."""
    bits, entries = 6, table(length)
    alpha = np.repeat(every(bits), 1 << bits)
    first, pair = np.tile(every(bits), 1 << bits), roots(1 << 2 * bits)
    keys = generate(alpha, bits, all_depths(bits), pair, HASH)
    counts = (points(2, 32, alpha.size) % np.uint64(length + 1)).astype(np.int64)
    for depth in range(1, bits + 1):
        for count in (counts, length, 0):
            expected = expected_lookup(alpha, bits, depth, first, count, entries)
            assert np.array_equal(looked_up(keys, pair, depth, first, count, entries), expected)


@pytest.mark.parametrize(("bits", "depths"), [(28, (13, 20, 28)), (41, (3, 33)), (56, (30, 56)), (64, (64,))])
@pytest.mark.parametrize("length", [1, 100, 128, 255])
def test_ranges_in_larger_domains(
    implementation: str, bits: int, depths: tuple[int, ...], length: int
) -> None:
    """Ranges around alpha's prefix, some of which come round to 0."""
    count = 70
    alpha, pair, entries = points(bits, bits, count), roots(count), table(length)
    alpha[:2] = 0, np.uint64(LOW) >> np.uint64(64 - bits)
    keys = generate(alpha, bits, depths, pair, HASH)
    assert keys.cw.shape == (depths[-1], count, 2)
    before = points(3, 32, count) % np.uint64(length + 3)
    counts = (points(4, 32, count) % np.uint64(length + 1)).astype(np.int64)
    counts[0] = length
    for depth in depths:
        first = (alpha >> np.uint64(bits - depth)) - before
        expected = expected_lookup(alpha, bits, depth, first, counts, entries)
        assert expected.any() or length == 1
        assert np.array_equal(looked_up(keys, pair, depth, first, counts, entries), expected)


def expected_on_lines(alpha: Words, bits: int, lines: Lines, payload: Words) -> Entries:
    """The sum as the definition reads, range by range and place by place."""
    sums = np.zeros(alpha.shape, np.int64)
    for row, depth in enumerate(lines.depths.tolist()):
        prefix, second = alpha >> np.uint64(bits - depth), payload[row].view(np.int64)
        for j, (value, slope) in enumerate(zip(lines.values[row], lines.slopes[row], strict=True)):
            place = (lines.first[row] + np.uint64(j)) & (np.uint64(LOW) >> np.uint64(64 - depth))
            read = value + slope * (lines.places[row] - second)
            sums += np.where((place == prefix) & (j < lines.counts[row]), read, 0)
    return sums


@pytest.mark.parametrize("count", [1, 2, 9, 32, 33, 64, 130])
@pytest.mark.parametrize("width", [1, 3, 66, 140])
def test_lines(implementation: str, count: int, width: int) -> None:
    """Ranges of several depths around alpha's prefixes, with payloads, values and slopes of all 64 bits."""
    bits, depths = 29, (5, 17, 29)
    alpha, pair, payload = points(1, bits, count), roots(count), points(2, 64, len(depths), count)
    keys = generate(alpha, bits, depths, pair, HASH, payload)
    before = points(3, 32, len(depths), count) % np.uint64(width + 3)
    lines = Lines(
        np.array(depths, np.int64),
        np.stack([alpha >> np.uint64(bits - depth) for depth in depths]) - before,
        (points(6, 32, len(depths), count) % np.uint64(width + 1)).astype(np.int64),
        points(9, 64, len(depths), count).view(np.int64),
        *(table(size)[: len(depths) * width].reshape(len(depths), width) for size in (500, 900)),
    )
    shares = [line_lookup(rank, keys, pair[rank], lines, HASH) for rank in (0, 1)]
    expected = expected_on_lines(alpha, bits, lines, payload)
    assert np.array_equal(shares[0] + shares[1], expected)
    assert expected.any() or count < 9 or width == 1


@needs_aes
def test_both_implementations_agree_on_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    count, bits, depths = 70, 20, (6, 20)
    alpha, pair, payload = points(1, bits, count), roots(count), points(2, 64, 2, count)
    lines = Lines(
        np.array(depths, np.int64),
        np.stack([alpha, alpha]),
        np.full((2, count), 9, np.int64),
        points(5, 64, 2, count).view(np.int64),
        *(table(size).reshape(2, 9) for size in (18, 18)),
    )
    results: list[list[bytes]] = []
    for setting in ("", "openssl"):
        monkeypatch.setenv(VARIABLE, setting)
        keys = generate(alpha, bits, depths, pair, HASH, payload)
        shares = [line_lookup(rank, keys, pair[rank], lines, HASH) for rank in (0, 1)]
        results.append([array.tobytes() for array in (keys.cw, keys.values, *shares)])
    assert results[0] == results[1]


def test_lines_that_do_not_fit_are_refused() -> None:
    pair, first, two = roots(2), np.zeros(2, np.uint64), np.zeros(2, np.int64)
    keys = generate(first, 8, (3, 8), pair, HASH, np.zeros((2, 2), np.uint64))
    rows, entries = two[None], table(4)[None]
    fitting = Lines(np.array([3]), first[None], rows, rows, entries, entries)
    for wrong, problem in (
        (dataclasses.replace(fitting, depths=np.array([4])), "not at 4"),
        (dataclasses.replace(fitting, first=first[None, :1]), "first: expected"),
        (dataclasses.replace(fitting, places=rows[:, :1]), "places: expected"),
        (dataclasses.replace(fitting, slopes=table(3)[None]), "slopes: expected"),
        (dataclasses.replace(fitting, values=entries[:0]), "values: expected"),
        (dataclasses.replace(fitting, counts=rows + 5), "counts from 0 to 4"),
    ):
        with pytest.raises(RangeError, match=problem):
            line_lookup(0, keys, pair[0], wrong, HASH)
    with pytest.raises(RangeError, match="payloads"):
        line_lookup(0, generate(first, 8, (3, 8), pair, HASH), pair[0], fitting, HASH)
    with pytest.raises(RangeError, match="payload: expected"):
        generate(first, 8, (3, 8), pair, HASH, np.zeros((1, 2), np.uint64))


@pytest.mark.parametrize("bits", [1, 2, 3, 6, 8])
def test_prefix_sums_compare(implementation: str, bits: int) -> None:
    """Every alpha and every point."""
    alpha, pair = every(bits), roots(1 << bits)
    x = np.repeat(every(bits)[:, None], alpha.size, 1)
    keys = generate(alpha, bits, all_depths(bits), pair, HASH)
    shares = [prefix_sum(rank, keys, pair[rank], x, HASH) for rank in (0, 1)]
    assert np.array_equal(shares[0] + shares[1], alpha <= x)


@pytest.mark.parametrize("bits", [10, 28, 30, 47, 60, 64])
def test_prefix_sums_in_larger_domains(implementation: str, bits: int) -> None:
    count = 100
    alpha, pair = points(bits, bits, count), roots(count)
    keys = generate(alpha, bits, all_depths(bits), pair, HASH)
    last = np.uint64(LOW) >> np.uint64(64 - bits)
    near = [alpha, alpha - np.uint64(1) & last, alpha + np.uint64(1) & last]
    x = np.stack([*near, points(5, bits, count), np.zeros_like(alpha), np.full_like(alpha, last)])
    shares = [prefix_sum(rank, keys, pair[rank], x, HASH) for rank in (0, 1)]
    assert np.array_equal(shares[0] + shares[1], alpha <= x)


@needs_aes
@pytest.mark.parametrize("count", COUNTS)
def test_both_implementations_agree(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    bits, depths = 20, all_depths(20)
    alpha, pair, entries = points(6, bits, count), roots(count), table(50)
    first, counts = points(8, 64, count), (points(9, 5, count)).astype(np.int64)
    x = points(10, bits, 70, count)  # of few keys, in several passes of whole chunks
    results: list[list[bytes]] = []
    for setting in ("", "openssl"):
        monkeypatch.setenv(VARIABLE, setting)
        keys = generate(alpha, bits, depths, pair, HASH)
        arrays: list[NDArray[np.uint64] | Entries] = [keys.cw, keys.values]
        for rank in (0, 1):
            arrays += [
                range_lookup(rank, keys, pair[rank], depth, first, counts, entries, HASH)
                for depth in (1, 4, 7, 20)
            ]
            arrays.append(prefix_sum(rank, keys, pair[rank], x, HASH))
        results.append([array.tobytes() for array in arrays])
    assert results[0] == results[1]


@pytest.mark.parametrize("count", [0, 3])
def test_shapes(implementation: str, count: int) -> None:
    pair = roots(count)
    keys = generate(points(1, 9, count), 9, all_depths(9), pair, HASH)
    assert (keys.count, keys.values.shape) == (count, (1, 9, count))
    first, empty = points(2, 9, count), np.zeros(0, np.int64)
    assert range_lookup(0, keys, pair[0], 4, first, 5, table(5), HASH).shape == (count,)
    assert not range_lookup(0, keys, pair[0], 4, first, 0, empty, HASH).any()
    for p in (0, 2):
        sums = prefix_sum(1, keys, pair[1], points(3, 9, p, count), HASH)
        assert (sums.shape, sums.dtype) == ((p, count), np.int64)


def test_inputs_are_left_as_they_are(implementation: str) -> None:
    pair, alpha = roots(70), points(1, 9, 70)
    alpha.flags.writeable = pair.flags.writeable = False
    keys = generate(alpha, 9, all_depths(9), pair, HASH)
    before = keys.cw.copy(), keys.values.copy()
    range_lookup(0, keys, pair[0], 9, alpha, 5, table(5), HASH)
    prefix_sum(1, keys, pair[1], alpha[None], HASH)
    assert np.array_equal(keys.cw, before[0])
    assert np.array_equal(keys.values, before[1])


@pytest.mark.parametrize(
    ("bits", "depths"), [(0, (1,)), (65, (1,)), (8, ()), (8, (0, 1)), (8, (9,)), (8, (3, 3)), (8, (4, 2))]
)
def test_no_such_depths(bits: int, depths: tuple[int, ...]) -> None:
    with pytest.raises(RangeError, match="expected"):
        generate(np.zeros(2, np.uint64), bits, depths, roots(2), HASH)


def test_what_does_not_fit_is_refused() -> None:
    pair, first = roots(2), np.zeros(2, np.uint64)
    keys = generate(first, 8, (3, 8), pair, HASH)
    with pytest.raises(RangeError, match="not at 4"):
        range_lookup(0, keys, pair[0], 4, first, 1, table(1), HASH)
    for count in (2, -1, np.array([0, 2])):
        with pytest.raises(RangeError, match="counts from 0"):
            range_lookup(0, keys, pair[0], 3, first, count, table(1), HASH)
    with pytest.raises(RangeError, match="counts: expected shape"):
        range_lookup(0, keys, pair[0], 3, first, np.zeros(3, np.int64), table(1), HASH)
    with pytest.raises(RangeError, match="first prefixes"):
        range_lookup(0, keys, pair[0], 3, first[:1], 1, table(1), HASH)
    with pytest.raises(RangeError, match="rank"):
        range_lookup(2, keys, pair[0], 3, first, 1, table(1), HASH)
    with pytest.raises(RangeError, match="all depths"):
        prefix_sum(0, keys, pair[0], first[None], HASH)
    full = generate(first, 8, all_depths(8), pair, HASH)
    with pytest.raises(RangeError, match="below 2"):
        prefix_sum(0, full, pair[0], first[None] + np.uint64(256), HASH)
    with pytest.raises(RangeError, match="below 2"):
        generate(first + np.uint64(256), 8, (3,), pair, HASH)
    with pytest.raises(RangeError, match="roots"):
        generate(first, 8, (3,), pair[:, :1], HASH)
    with pytest.raises(RangeError, match="correction words"):
        IdpfKeys(8, (3, 8), keys.cw[:3], keys.values)
    with pytest.raises(RangeError, match="values"):
        IdpfKeys(8, (3, 8), keys.cw, keys.values[:, :1])
