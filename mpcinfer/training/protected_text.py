"""Which tokens of a training stream belong to protected text."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mpcinfer.models.folder import replace_file
from mpcinfer.tokenizer import Tokenizer
from mpcinfer.training.batches import Tokens
from mpcinfer.training.data import folder_texts
from parties.errors import ConfigError

Mask = NDArray[np.bool_]
RUN_LENGTH = 16
"""Tokens in a row that a stream shares with a protected text, for them to be protected."""
FILE = "protected.npy"
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def protected_mask(stream: Tokens, texts: Iterable[Tokens], length: int = RUN_LENGTH) -> Mask:
    """True for every token of a stream that stands in a run of `length` tokens of a protected text.

    Copies are found wherever they stand, also in part, whatever is before and after them. Runs are compared
    by 64-bit hashes of their tokens.

    Raises:
        ConfigError: no text has `length` tokens.
    """
    hashes = [_run_hashes(text, length) for text in texts if len(text) >= length]
    if not hashes:
        raise ConfigError(f"protected text must have at least {length} tokens in a row")
    mask = np.zeros(len(stream), dtype=np.bool_)
    if len(stream) < length:
        return mask
    found = np.isin(_run_hashes(stream, length), np.unique(np.concatenate(hashes)))
    for shift in range(length):
        mask[shift : shift + len(found)] |= found
    return mask


def _run_hashes(tokens: Tokens, length: int) -> NDArray[np.uint64]:
    """A hash of every run of `length` tokens, by the place of its first."""
    count = len(tokens) - length + 1
    result = np.zeros(count, dtype=np.uint64)
    for shift in range(length):
        result = result * _MULTIPLIER + tokens[shift : shift + count].astype(np.uint64) + np.uint64(1)
    return result


def find_protected(path: Path, tokenizer: Tokenizer, stream: Tokens) -> Mask:
    """The mask of a stream for the text of a file, or of the `.py`, `.txt` and `.md` files of a folder.

    Raises:
        ConfigError: no such text, one too short, or one of which nothing is in the stream.
    """
    try:
        texts = list(folder_texts(path))
    except ConfigError:
        raise ConfigError(f"--protect {path}: no such file or folder") from None
    if not texts:
        raise ConfigError(f"--protect {path}: no text in UTF-8 there")
    encodings = tokenizer.backend.encode_batch(texts, add_special_tokens=False)
    encoded = [np.array(encoding.ids, dtype=np.uint16) for encoding in encodings]
    mask = protected_mask(stream, encoded)
    if not mask.any():
        raise ConfigError(
            f"--protect {path}: no {RUN_LENGTH} tokens in a row of it are in the training data: "
            "nothing to protect"
        )
    return mask


def save_mask(folder: Path, mask: Mask) -> None:
    """Keeps a run's mask beside its streams, eight tokens a byte."""

    def write(part: Path) -> None:
        with part.open("wb") as file:
            np.save(file, np.packbits(mask), allow_pickle=False)

    replace_file(folder / FILE, write)


def stored_mask(folder: Path, tokens: int) -> Mask:
    """The mask of a stream of `tokens` that `save_mask` wrote. Raises ConfigError where there is none."""
    try:
        packed = np.load(folder / FILE, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise ConfigError(f"the protected tokens of the run in {folder} cannot be read: {error}") from error
    if packed.dtype != np.uint8 or packed.shape != ((tokens + 7) // 8,):
        raise ConfigError(f"the protected tokens of the run in {folder} are of another stream")
    return np.unpackbits(packed, count=tokens).astype(np.bool_)
