"""The kernels of oblivious transfer are what their definitions say, compiled and not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from parties.randomness import InsecureTestRandom
from protocols.kernels import correlated_tree, local_code, option_masks, turned_masks, tweaked_hash
from protocols.kernels.aes import Hash
from protocols.kernels.bit_transpose import transpose_bits

Words = NDArray[np.uint64]
HASH = Hash(bytes(range(16)))
ONE = np.uint64(1)


@pytest.fixture(params=["compiled", "openssl"], autouse=True)
def _both_paths(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPCINFER_KERNELS", "" if request.param == "compiled" else "openssl")


def encrypt(block: int) -> int:
    encryptor = Cipher(algorithms.AES(HASH.key), modes.ECB()).encryptor()
    return int.from_bytes(encryptor.update(block.to_bytes(16, "little")), "little")


def number(block: Words) -> int:
    return int(block[0]) | int(block[1]) << 64


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 50])
def test_tweaked_hash_is_tmmo(count: int) -> None:
    random = InsecureTestRandom(count)
    blocks, offset = random.uint64((count, 2)), random.uint64((2,))
    hashed = tweaked_hash.tweaked_hash(HASH, blocks, (1 << 40) + 3, 9, offset)
    for i, (block, got) in enumerate(zip(blocks, hashed, strict=True)):
        first = encrypt(number(block) ^ number(offset))
        assert number(got) == encrypt(first ^ ((1 << 40) + 3 + i) ^ 9 << 64) ^ first
    plain = tweaked_hash.tweaked_hash(HASH, blocks ^ offset, (1 << 40) + 3, 9)
    assert np.array_equal(plain, hashed)


def test_a_counter_that_would_wrap_is_refused() -> None:
    with pytest.raises(AssertionError, match="repeat"):
        tweaked_hash.tweaked_hash(HASH, np.zeros((2, 2), np.uint64), (1 << 64) - 2)


@pytest.mark.parametrize("count", [0, 5, 33])
def test_option_masks_are_hashes_of_every_offset(count: int) -> None:
    random = InsecureTestRandom(count)
    blocks, offsets = random.uint64((count, 2)), random.uint64((4, 2))
    masks = option_masks.option_masks(HASH, blocks, offsets, 77, 9)
    for option, offset in enumerate(offsets):
        hashed = tweaked_hash.tweaked_hash(HASH, blocks, 77, 0, offset)
        assert np.array_equal(masks[:, option], hashed[:, 0] & np.uint64(511))


def test_messages_are_masked_in_the_order_that_is_asked_for() -> None:
    random = InsecureTestRandom(8)
    messages, masks, turns = random.uint64((20, 8)), random.uint64((20, 8)), random.ring((20,), 3)
    out = np.empty((20, 8), np.uint64)
    option_masks.mask_turned(messages, masks, turns.astype(np.uint8), out)
    for row in range(20):
        for option in range(8):
            assert out[row, option] == messages[row, option] ^ masks[row, option ^ int(turns[row])]


@pytest.mark.parametrize("turned", [False, True])
def test_masks_are_turned_and_added(turned: bool) -> None:
    random = InsecureTestRandom(9)
    first, second, values = random.uint64((12, 3)), random.uint64((12, 3)), random.uint64((4, 3))
    turns = random.uint8((12,)) & 1 if turned else np.empty(0, np.uint8)
    exchanged = (turns if turned else np.zeros(12, np.uint8)).astype(bool)[:, None]
    kept, other = np.where(exchanged, second, first), np.where(exchanged, first, second)
    turned_masks.turn_masks(first, second, turns, values)
    assert np.array_equal(second, kept - other + np.tile(values, (3, 1)))
    assert not (first + kept).any()
    bits, received = random.uint8((12,)) & 1, random.ring((5, 3), 9)
    before = kept.copy()
    turned_masks.add_chosen(kept, 4, bits, received)
    before[4:9] += bits[4:9, None].astype(np.uint64) * received
    assert np.array_equal(kept, before)


@pytest.mark.parametrize("words", [1, 5])
def test_transpose(words: int) -> None:
    columns = InsecureTestRandom(words).uint64((128, words))
    before = np.unpackbits(columns.view(np.uint8), axis=1, bitorder="little")
    after = np.unpackbits(transpose_bits(columns).view(np.uint8), axis=1, bitorder="little")
    assert np.array_equal(before.T, after)


def grown(depth: int, trees: int = 3) -> tuple[Words, Words, Words, Words]:
    """Offset, left nodes, sums and leaves."""
    random = InsecureTestRandom(depth)
    offset, left = random.uint64((2,)), random.uint64((trees, 2))
    offset[0] |= ONE
    sums, leaves = np.empty((trees, depth - 1, 2), np.uint64), np.zeros((trees, 1 << depth, 2), np.uint64)
    correlated_tree.grow(HASH, left, offset, sums, leaves)
    return offset, left, sums, leaves


@pytest.mark.parametrize("depth", [6, 7, 9])
def test_a_tree_is_what_its_definition_says(depth: int) -> None:
    offset, left, sums, leaves = grown(depth)
    for tree, root in enumerate(left):
        nodes = np.stack([root, root ^ offset])
        for level in range(1, depth):
            hashed = HASH.hash(nodes)
            assert np.array_equal(np.bitwise_xor.reduce(hashed), sums[tree, level - 1])
            nodes = np.concatenate([hashed, hashed ^ nodes])
            assert np.array_equal(np.bitwise_xor.reduce(nodes), offset)
        nodes[:, 0] &= ~ONE
        assert np.array_equal(nodes, leaves[tree])


@pytest.mark.parametrize("depth", [6, 9])
def test_all_leaves_but_one_grow_from_sums(depth: int) -> None:
    offset, left, sums, leaves = grown(depth)
    choices = InsecureTestRandom(7).uint8((len(left), depth)) & 1
    known = np.concatenate([left[:, None], sums], axis=1) ^ choices[..., None].astype(np.uint64) * offset
    again = np.zeros_like(leaves)
    correlated_tree.regrow(HASH, choices, known, again)
    missing = ((1 - choices.astype(np.int64)) << np.arange(depth)).sum(axis=1)
    expected = leaves.copy()
    expected[np.arange(len(left)), missing] ^= offset
    assert np.array_equal(again, expected)


def test_rows_of_the_code_sum_the_entries_that_the_hash_names() -> None:
    random = InsecureTestRandom(3)
    secret, out = random.uint64((77, 2)), random.uint64((130, 2))
    before = out.copy()
    local_code.add_products(HASH, secret, out)
    for row in range(130):
        counters = np.array([[3 * row + i, 0] for i in range(3)], np.uint64)
        drawn = HASH.hash(counters).view(np.uint32).reshape(-1)[:10]
        entries = [int(each) * 77 >> 32 for each in drawn]
        assert np.array_equal(out[row], before[row] ^ np.bitwise_xor.reduce(secret[entries]))


@pytest.mark.parametrize("work", [lambda: grown(7, 70), lambda: grown(6, 70)])
def test_threads_change_nothing(
    work: Callable[[], tuple[Words, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = work()
    monkeypatch.setattr("protocols.kernels.parallel.torch.get_num_threads", lambda: 2)
    for one, two in zip(alone, work(), strict=True):
        assert np.array_equal(one, two)
