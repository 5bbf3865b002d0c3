"""The token streams of a run, made once and kept beside it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tokenizers

from mpcinfer.models.folder import replace_file
from mpcinfer.tokenizer import Tokenizer
from mpcinfer.training.batches import Tokens, encode_documents
from mpcinfer.training.bpe import end_of_text, train_tokenizer
from mpcinfer.training.data import PYTHON, load_split
from parties.errors import ConfigError

_COUNTS = "data.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Facts about a split that its token streams do not show."""

    description: str
    digest: str
    train_files: int
    held_out_files: int
    held_out_characters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Token streams of both sides of a split, the tokenizer trained on the one side, and the facts."""

    tokenizer: Tokenizer
    train: Tokens
    held_out: Tokens
    counts: Counts


def prepare_corpus(
    folder: Path,
    source: str,
    vocabulary: int,
    *,
    stored: bool,
    say: Callable[[str], None],
    tokenizer: Tokenizer | None = None,
) -> Corpus:
    """Reads the source, trains the tokenizer and encodes, or reads what an earlier run stored.

    Args:
        folder: where the run keeps its files.
        source: see `load_split`; or a folder that this function filled, or a run's model folder: its streams
            are read where they are, and not copied.
        vocabulary: tokens of the tokenizer.
        stored: read what is in the folder, or where the source is such a folder, and leave text alone.
        say: told of each phase.
        tokenizer: to encode with; None to train one.

    Raises:
        ConfigError: an unusable source, text too small for the vocabulary, a tokenizer with more tokens than
            the vocabulary, streams made with another tokenizer, or a broken stored corpus.
    """
    ready = folder if stored and (folder / _COUNTS).exists() else stored_corpus(source)
    if stored or ready is not None:
        return _checked(_read_corpus(folder if ready is None else ready), source, vocabulary, tokenizer)
    folder.mkdir(parents=True, exist_ok=True)
    say(f"reading {source}")
    split = load_split(source)
    say(f"{len(split.train)} files to train on, {len(split.held_out)} held out")
    if tokenizer is None:
        say("training the tokenizer")
        tokenizer = train_tokenizer((document.text for document in split.train), vocabulary)
    separator = end_of_text(tokenizer.backend)
    say("encoding")
    corpus = Corpus(
        tokenizer=tokenizer,
        train=encode_documents(split.train, tokenizer, separator),
        held_out=encode_documents(split.held_out, tokenizer, separator),
        counts=Counts(
            description=_description(source),
            digest=split.digest,
            train_files=len(split.train),
            held_out_files=len(split.held_out),
            held_out_characters=sum(len(document.text) for document in split.held_out),
        ),
    )
    corpus = _checked(corpus, source, vocabulary, tokenizer)
    _write_corpus(folder, corpus)
    say(f"{len(corpus.train)} tokens to train on, {len(corpus.held_out)} held out")
    return corpus


def stored_corpus(source: str | Path) -> Path | None:
    """The folder of a stored corpus: the source itself, or the run inside a model folder."""
    for folder in (Path(source), Path(source) / "training"):
        if (folder / _COUNTS).is_file() and (folder / "train.npy").is_file():
            return folder
    return None


def read_corpus(source: str | Path) -> Corpus:
    """A stored corpus: that of `prepare_corpus`'s folder, or of a run's model folder.

    Raises:
        ConfigError: there is none, or it is broken.
    """
    folder = stored_corpus(source)
    if folder is None:
        raise ConfigError(f"no stored training data in {source}")
    return _read_corpus(folder)


def _checked(corpus: Corpus, source: str, vocabulary: int, tokenizer: Tokenizer | None) -> Corpus:
    """The corpus, where its tokens fit the model's vocabulary and the tokenizer asked for."""
    size = corpus.tokenizer.backend.get_vocab_size()
    if size > vocabulary:
        raise ConfigError(
            f"{source}: its tokenizer has {size} tokens, the model a vocabulary of {vocabulary}"
        )
    if tokenizer is not None and corpus.tokenizer.backend.to_str() != tokenizer.backend.to_str():
        raise ConfigError(
            f"{source}: its tokens are of another tokenizer than the model's; give text instead"
        )
    return corpus


def _description(source: str) -> str:
    if source == PYTHON:
        return "Python sources of the standard library and of installed packages, without tests"
    return f"Text files of `{Path(source).name}`"


def _write_corpus(folder: Path, corpus: Corpus) -> None:
    replace_file(folder / "train.npy", lambda part: _save_array(part, corpus.train))
    replace_file(folder / "held_out.npy", lambda part: _save_array(part, corpus.held_out))
    tokenizer = corpus.tokenizer.backend.to_str()
    replace_file(folder / "tokenizer.json", lambda part: part.write_text(tokenizer))
    counts = json.dumps(dataclasses.asdict(corpus.counts), indent=2) + "\n"
    replace_file(folder / _COUNTS, lambda part: part.write_text(counts))


def _save_array(path: Path, tokens: Tokens) -> None:
    with path.open("wb") as file:
        np.save(file, tokens, allow_pickle=False)


def _read_corpus(folder: Path) -> Corpus:
    try:
        counts = Counts(**json.loads((folder / _COUNTS).read_text()))
        backend = tokenizers.Tokenizer.from_str((folder / "tokenizer.json").read_text())
        train = np.load(folder / "train.npy", allow_pickle=False)
        held_out = np.load(folder / "held_out.npy", allow_pickle=False)
    except (OSError, EOFError, ValueError, TypeError) as error:
        raise ConfigError(f"the stored data of the run in {folder} cannot be read: {error}") from error
    tokenizer = Tokenizer(backend=backend, stop=frozenset({end_of_text(backend)}))
    return Corpus(tokenizer=tokenizer, train=train, held_out=held_out, counts=counts)
