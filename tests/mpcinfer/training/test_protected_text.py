"""Which tokens of a stream are protected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mpcinfer.tokenizer import Tokenizer
from mpcinfer.training.batches import Batches, encode_documents
from mpcinfer.training.bpe import end_of_text, train_tokenizer
from mpcinfer.training.data import Document
from mpcinfer.training.protected_text import (
    RUN_LENGTH,
    find_protected,
    protected_mask,
    save_mask,
    stored_mask,
)
from parties.errors import ConfigError

TEXT = "def hidden(value):\n    return sorted(value, key=lambda entry: entry.secret)\n" * 3
OTHER = "".join(f"for i in range({n}):\n    print(i * {n})\n" for n in range(40))


def tokens(*ids: int) -> np.ndarray:
    return np.array(ids, dtype=np.uint16)


def test_whole_and_partial_copies_are_found_wherever_they_stand() -> None:
    text = tokens(1, 2, 3, 4, 5, 6)
    stream = tokens(9, 1, 2, 3, 4, 5, 6, 9, 9, 3, 4, 5, 6, 1, 2, 3, 9, 6, 5, 4, 3)
    mask = protected_mask(stream, [text], length=3)
    # All of it; "3 4 5 6"; "1 2 3" again; not "6 5 4 3", whose tokens stand the other way round.
    expected = [0, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0]
    assert mask.tolist() == [bool(each) for each in expected]


def test_shorter_agreement_is_no_copy() -> None:
    assert not protected_mask(tokens(1, 2, 9, 3, 4), [tokens(1, 2, 3, 4)], length=3).any()
    assert not protected_mask(tokens(1, 2), [tokens(1, 2, 3, 4)], length=3).any()


def test_runs_do_not_go_from_one_text_into_the_next() -> None:
    assert not protected_mask(tokens(2, 3, 4), [tokens(1, 2, 3), tokens(4, 5, 6)], length=3).any()


def test_too_short_a_text_is_refused() -> None:
    with pytest.raises(ConfigError, match=f"at least {RUN_LENGTH} tokens"):
        protected_mask(tokens(*range(99)), [tokens(1, 2, 3)])


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer([TEXT, OTHER], 300)


def test_a_file_is_found_in_a_stream(tokenizer: Tokenizer, tmp_path: Path) -> None:
    documents = [Document.of(OTHER), Document.of(f"# first\n{TEXT}# last\n"), Document.of(OTHER[::-1])]
    stream = encode_documents(documents, tokenizer, end_of_text(tokenizer.backend))
    (tmp_path / "text.py").write_text(TEXT)
    mask = find_protected(tmp_path / "text.py", tokenizer, stream)
    assert tokenizer.decode(stream[mask].tolist()).strip() == TEXT.strip()
    assert np.array_equal(find_protected(tmp_path, tokenizer, stream), mask)  # the folder's only file


def test_what_protects_nothing_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    stream = encode_documents([Document.of(OTHER)], tokenizer, end_of_text(tokenizer.backend))
    (tmp_path / "text.py").write_text(TEXT)
    with pytest.raises(ConfigError, match=r"--protect .*text\.py: no 16 tokens in a row of it"):
        find_protected(tmp_path / "text.py", tokenizer, stream)
    with pytest.raises(ConfigError, match=r"--protect .*absent: no such file"):
        find_protected(tmp_path / "absent", tokenizer, stream)
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ConfigError, match="no text in UTF-8"):
        find_protected(tmp_path / "bytes.txt", tokenizer, stream)


def test_a_mask_is_kept_and_checked(tmp_path: Path) -> None:
    mask = np.random.default_rng(0).random(21) < 0.5
    save_mask(tmp_path, mask)
    assert np.array_equal(stored_mask(tmp_path, 21), mask)
    with pytest.raises(ConfigError, match="of another stream"):
        stored_mask(tmp_path, 30)
    (tmp_path / "protected.npy").write_bytes(b"no array")
    with pytest.raises(ConfigError, match="cannot be read"):
        stored_mask(tmp_path, 21)
    with pytest.raises(ConfigError, match="cannot be read"):
        stored_mask(tmp_path / "absent", 21)


def test_masks_go_with_the_targets_of_a_step() -> None:
    """Tokens that are their own places: what is protected can be told from the targets."""
    stream = np.arange(500).astype(np.uint16)
    protected = np.random.default_rng(1).random(500) < 0.3
    batches = Batches(tokens=stream, batch=4, context=10, seed=2, protected=protected)
    for step in range(20):  # into the second epoch
        mask = batches.protected_at(step)
        assert mask is not None
        assert mask.tolist() == protected[batches.at(step)[1].numpy()].tolist()
    assert Batches(tokens=stream, batch=4, context=10, seed=2).protected_at(0) is None
