"""How much of given texts a model continues word for word: what whoever may ask it can get out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mpcinfer.models.model import Model
from mpcinfer.training.data import folder_texts
from mpcinfer.training.extraction import extraction
from parties.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class VerbatimRow:
    """Prefixes of one length, of the texts of one file or folder.

    Attributes:
        text: the file or folder.
        tokens: how long its texts are together.
        prefix, continuation: tokens that are given, and that must follow.
        prefixes: how many were tried.
        verbatim: the fraction whose whole greedy continuation is the text's.
        right: the fraction of tokens that are the model's first choice after the text before them.
    """

    text: str
    tokens: int
    prefix: int
    continuation: int
    prefixes: int
    verbatim: float
    right: float


def encoded_texts(model: Model, path: Path) -> list[list[int]]:
    """The texts of a file, or of the `.py`, `.txt` and `.md` files of a folder, as the model's tokens alone.

    Raises:
        ConfigError: nothing is there.
    """
    if not path.exists():
        raise ConfigError(f"no text at {path}: expected a file or a folder")
    encode = model.tokenizer.backend.encode
    texts = [list(encode(text, add_special_tokens=False).ids) for text in folder_texts(path)]
    if not texts:
        raise ConfigError(f"{path}: no UTF-8 text in it")
    return texts


def verbatim_rows(
    model: Model,
    path: Path,
    prefixes: Sequence[int],
    *,
    continuation: int,
    stride: int = 1,
    on_rows: Callable[[str, int, int], None] | None = None,
) -> Iterator[VerbatimRow]:
    """A row for each length of prefixes, one after the other.

    What the tokenizer puts before a text stands before every prefix, as before a prompt. Cost: a pass in
    float32 for every prefix.

    Args:
        model: any that continues texts.
        path: as for `encoded_texts`.
        prefixes: lengths in tokens.
        continuation: tokens that must follow, all of them right.
        stride: tokens from one prefix of a text to the next.
        on_rows: told what is done, how many prefixes of it, and of how many.

    Raises:
        ConfigError: no text, none that is long enough, or more tokens than the context has.
    """
    texts, before = encoded_texts(model, path), model.tokenizer.prefix
    for prefix in prefixes:
        what = f"{path.name}: prefixes of {prefix} tokens"
        found = extraction(
            model.config,
            model.weights,
            texts,
            prefix=prefix,
            continuation=continuation,
            stride=stride,
            before=before,
            on_rows=None if on_rows is None else lambda done, of, what=what: on_rows(what, done, of),
        )
        yield VerbatimRow(
            text=str(path),
            tokens=sum(map(len, texts)),
            prefix=prefix,
            continuation=continuation,
            prefixes=found.prefixes,
            verbatim=found.verbatim,
            right=found.tokens,
        )
