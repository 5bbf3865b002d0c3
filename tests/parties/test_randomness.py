"""Random streams: AES-CTR as the standard has it, no position twice, uniform."""

from __future__ import annotations

import copy
import os
import pickle
import threading
from collections import Counter

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from parties.errors import CorrelationExhausted
from parties.randomness import AesCtrStream, InsecureTestRandom, SystemRandom
from parties.wire import Spec

KEY = bytes(range(16))


def _expected(count: int) -> bytes:
    """The key stream, block by block: AES-128 of 0, 1, 2, ... (NIST SP 800-38A, 6.5)."""
    cipher = Cipher(algorithms.AES(KEY), modes.ECB()).encryptor()
    blocks = [cipher.update(number.to_bytes(16, "big")) for number in range(count // 16 + 1)]
    return b"".join(blocks)[:count]


def test_it_is_aes_in_counter_mode() -> None:
    assert AesCtrStream(KEY).draw_bytes(100_000) == _expected(100_000)


def test_a_published_vector() -> None:
    """AES-128 of the zero block under the zero key (FIPS-197 test vectors of NIST's AESAVS)."""
    assert AesCtrStream(bytes(16)).draw_bytes(16).hex() == "66e94bd4ef8a2c3b884cfa59ca342b2e"


@given(st.lists(st.one_of(st.integers(0, 40), st.integers(16_000, 17_000), st.just(600_000)), max_size=8))
def test_draws_of_any_size_continue_the_stream(counts: list[int]) -> None:
    stream = AesCtrStream(KEY)
    drawn = b"".join(stream.draw_bytes(count) for count in counts)
    assert drawn == AesCtrStream(KEY).draw_bytes(sum(counts))


@given(bits=st.integers(1, 64), shape=st.lists(st.integers(0, 6), max_size=3).map(tuple))
def test_ring_elements(bits: int, shape: tuple[int, ...]) -> None:
    stream, spec = AesCtrStream(KEY), Spec(bits, shape)
    drawn = stream.ring(shape, bits)
    assert (drawn.dtype, drawn.shape) == (spec.dtype, shape)
    raw = _expected(drawn.nbytes)
    assert drawn.tobytes() == (np.frombuffer(raw, spec.dtype) & spec.dtype.type((1 << bits) - 1)).tobytes()
    assert stream.draw_bytes(8) == _expected(drawn.nbytes + 8)[-8:]


def test_named_types() -> None:
    stream = SystemRandom()
    assert stream.uint64((2, 3)).dtype == np.uint64
    assert stream.uint8((4,)).dtype == np.uint8


@pytest.mark.parametrize("bits", [1, 3, 8, 11])
def test_every_value_is_equally_likely(bits: int) -> None:
    """Chi-square of a fixed stream: below mean + 6 standard deviations of the distribution."""
    cells, per_cell = 1 << bits, 200
    counts = np.bincount(InsecureTestRandom(5).ring((cells * per_cell,), bits), minlength=cells)
    chi_square = float(((counts - per_cell) ** 2 / per_cell).sum())
    freedom = cells - 1
    assert chi_square < freedom + 6 * (2 * freedom) ** 0.5


def test_streams_differ() -> None:
    streams = [
        SystemRandom(),
        SystemRandom(),
        InsecureTestRandom(0),
        InsecureTestRandom(1),
        AesCtrStream(KEY),
    ]
    assert len({stream.draw_bytes(16) for stream in streams}) == len(streams)
    assert InsecureTestRandom(7).draw_bytes(50) == InsecureTestRandom(7).draw_bytes(50)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps], ids=lambda f: f.__name__)
def test_a_stream_cannot_be_duplicated(duplicate: object) -> None:
    assert callable(duplicate)
    with pytest.raises(TypeError, match="used twice"):
        duplicate(SystemRandom())


def test_threads_never_share_a_position() -> None:
    stream, drawn = AesCtrStream(KEY), list[bytes]()

    def draw() -> None:
        for _repeat in range(300):
            drawn.append(stream.draw_bytes(48))

    threads = [threading.Thread(target=draw) for _thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(drawn).most_common(1)[0][1] == 1
    whole = _expected(48 * 1200)
    assert set(drawn) == {whole[start : start + 48] for start in range(0, len(whole), 48)}


def test_another_process_may_not_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = SystemRandom()
    stream.draw_bytes(1)
    monkeypatch.setattr(os, "getpid", lambda: -1)  # as in a forked child
    with pytest.raises(CorrelationExhausted, match="forked"):
        stream.draw_bytes(1)


@pytest.mark.parametrize("key", [b"", bytes(15), bytes(32)])
def test_other_keys_are_a_bug(key: bytes) -> None:
    with pytest.raises(AssertionError):
        AesCtrStream(key)


@given(st.lists(st.tuples(st.integers(1, 64), st.integers(0, 40) | st.just(9000)), max_size=8))
def test_words_are_the_elements_of_the_ring(draws: list[tuple[int, int]]) -> None:
    """Whichever way they are drawn, in whatever order, and across the end of the buffer."""
    mine, other = AesCtrStream(KEY), AesCtrStream(KEY)
    for bits, count in draws:
        words = mine.words((count,), bits)
        assert words.dtype == np.int64
        assert np.array_equal(words.view(np.uint64), other.ring((count,), bits).astype(np.uint64))


def test_words_are_nobody_elses() -> None:
    stream = AesCtrStream(KEY)
    first = stream.words((4,), 64)
    kept = first.copy()
    stream.words((9000,), 64)
    stream.words((9000,), 64)
    assert np.array_equal(first, kept)
