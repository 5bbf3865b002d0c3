"""A byte-level BPE for source code, trained on the text the model will learn."""

# The `tokenizers` library's stubs leave the element types of its constructors open.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Iterable

import tokenizers
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers

from mpcinfer.tokenizer import Tokenizer
from parties.errors import ConfigError

END_OF_TEXT = "<|endoftext|>"

# A token never crosses the border of two pieces. Pieces: a dunder name; a word with its leading underscores,
# so that snake_case is two pieces; one digit; a run of punctuation; each with at most one space in front.
# Line ends and indentation are pieces of their own, so that a prompt may end after either.
PIECES = "|".join(
    [
        r" ?__[^\W\d_]+(?:_[^\W\d_]+)*__(?!\w)",
        r" ?_*[^\W\d_]+",
        r" ?_+",
        r" ?\d",
        r" ?[^\s\w]+",
        r"\n+",
        r"[^\S\n]+",
    ]
)


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """A byte-level BPE of `vocabulary` tokens; the document separator is its first token and stops answers.

    Args:
        texts: training text; may be a generator.
        vocabulary: 257 (bytes and the separator) or more. Text with too few distinct pieces yields fewer.

    Raises:
        ConfigError: a vocabulary that cannot hold every byte.
    """
    if vocabulary < 257:
        raise ConfigError(f"vocabulary must be at least 257 (every byte and {END_OF_TEXT}), got {vocabulary}")
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return Tokenizer(backend=backend, stop=frozenset({end_of_text(backend)}))


def end_of_text(backend: tokenizers.Tokenizer) -> int:
    """The id of the document separator. Raises ConfigError where the tokenizer has none."""
    token = backend.token_to_id(END_OF_TEXT)
    if token is None:
        raise ConfigError(f"the tokenizer has no {END_OF_TEXT}")
    return token
