"""Special tokens of a tokenizer: whole in a text, left out of what is decoded, put around a text."""

# The tokenizers library is not fully annotated.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Mapping

import tokenizers
from tokenizers import processors

from parties.errors import ConfigError


def put_around(backend: tokenizers.Tokenizer, *, bos: int | None = None, eos: int | None = None) -> None:
    """Has a tokenizer put these ids around every text, and nothing else.

    Raises:
        ConfigError: an id that no token has.
    """
    before, after = (None if token is None else _text(backend, token) for token in (bos, eos))
    named = {text: token for text, token in ((before, bos), (after, eos)) if text is not None}
    backend.post_processor = processors.TemplateProcessing(
        single=[each for each in (before, "$A", after) if each is not None],
        pair=[
            each
            for each in (
                before,
                "$A",
                after,
                None if before is None else f"{before}:1",
                "$B:1",
                None if after is None else f"{after}:1",
            )
            if each is not None
        ],
        special_tokens=[(text, token) for text, token in named.items() if token is not None],
    )


def add_declared(backend: tokenizers.Tokenizer, declared: Mapping[int, tokenizers.AddedToken]) -> None:
    """Adds the tokens that a folder declares with their ids, where the tokenizer has not got them already.

    Raises:
        ConfigError: an id that is taken, or that leaves a gap.
    """
    known = backend.get_added_tokens_decoder()
    for token, added in sorted(declared.items(), key=lambda each: each[0]):
        if token in known and known[token].content == added.content:
            continue
        add_token(backend, added)
        if (got := backend.token_to_id(added.content)) != token:
            raise ConfigError(
                f"added token {added.content!r} is to have id {token}, but the vocabulary gives it {got}"
            )


def add_token(backend: tokenizers.Tokenizer, token: tokenizers.AddedToken) -> None:
    """Adds one token, special where it says so; one that is in the vocabulary keeps its id."""
    if token.special:
        backend.add_special_tokens([token])
    else:
        backend.add_tokens([token])


def _text(backend: tokenizers.Tokenizer, token: int) -> str:
    text = backend.id_to_token(token)
    if text is None:
        raise ConfigError(f"no token has id {token}, which is to stand around texts")
    return text
