"""Correlations is read in order, and once."""

from __future__ import annotations

import io

import numpy as np
import pytest

from parties.errors import CorrelationExhausted
from parties.packing import pack_words
from parties.randomness import InsecureTestRandom
from protocols.fss.preprocessing.file_stream import FileStream, Reader
from protocols.tensors import to_words


def _reader(content: bytes) -> Reader:
    return Reader(io.BytesIO(content), len(content))


def test_what_was_written_is_read_in_order() -> None:
    elements = InsecureTestRandom(1).ring((7, 3), 21)
    words = InsecureTestRandom(2).uint64((5,))
    file_stream = FileStream()
    file_stream.write(pack_words(elements.astype(np.uint64).reshape(-1), 21))
    file_stream.write(words.view(np.uint8))
    file_stream.write(np.arange(4, dtype=np.uint8))
    reader = file_stream.reader()
    assert (to_words(reader.ring((7, 3), 21)) == elements).all()
    assert (reader.words(5) == words).all()
    assert reader.left_bytes == 4
    assert reader.bytes(4).tolist() == [0, 1, 2, 3]
    assert reader.left_bytes == 0
    reader.close()


def test_chunks_are_read_at_once_and_lie_end_to_end() -> None:
    random, pieces = InsecureTestRandom(3), [(5, 21), (8, 3), (4, 0), (1, 64), (9, 1)]
    expected = [random.ring((count,), bits) if bits else np.zeros(count, np.uint64) for count, bits in pieces]
    packed = [
        pack_words(values.astype(np.uint64), bits).tobytes()
        for values, (_, bits) in zip(expected, pieces, strict=True)
        if bits
    ]
    reader = _reader(b"".join(packed))
    assert np.array_equal(to_words(reader.rings(pieces)), np.concatenate(expected))
    assert reader.left_bytes == 0
    with pytest.raises(CorrelationExhausted):
        reader.rings([(1, 1)])


def test_more_than_there_is() -> None:
    reader = _reader(bytes(10))
    reader.bytes(8)
    with pytest.raises(CorrelationExhausted, match="8 bytes of correlations are needed, 2 are left"):
        reader.words(1)
    with pytest.raises(CorrelationExhausted, match="3 bytes"):
        reader.ring((3,), 8)


def test_a_file_that_is_shorter_than_it_should_be() -> None:
    with pytest.raises(CorrelationExhausted, match="end after 2 of 4 bytes"):
        Reader(io.BytesIO(bytes(2)), 4).bytes(4)


def test_nothing_is_read_after_the_end() -> None:
    reader = _reader(bytes(8))
    reader.close()
    with pytest.raises(CorrelationExhausted):
        reader.bytes(1)
