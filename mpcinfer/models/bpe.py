"""Byte-level BPE tokenizers from their parts: vocabulary, merges, and the name of a pre-tokeniser."""

# The tokenizers library is not fully annotated.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tokenizers
from tokenizers import decoders, models

from mpcinfer.models.pre_tokenizers import words
from parties.errors import ConfigError


def byte_level_bpe(
    vocabulary: Mapping[str, int],
    merges: Sequence[str],
    *,
    pre: str,
    special: Sequence[str] = (),
    added: Sequence[str] = (),
    prefix_space: bool = False,
    ignore_merges: bool = False,
) -> tokenizers.Tokenizer:
    """A tokenizer as GPT-2's: bytes as printable characters, merged pair by pair.

    Args:
        vocabulary: token text, in GPT-2's byte alphabet, to id.
        merges: pairs such as `"Ġ t"`, strongest first.
        pre: how text is cut into words before merging, as `words` takes it.
        special: tokens that stand whole in a text and that decoding leaves out.
        added: tokens that stand whole in a text and that decoding keeps.
        prefix_space: begin with a space where the text does not.
        ignore_merges: a word that is a token is not merged anew.

    Raises:
        ConfigError: an unknown pre-tokeniser, or parts that do not fit together.
    """
    pairs = [_pair(merge) for merge in merges]
    outside = sorted(set(special).union(added).difference(vocabulary))
    if outside:
        raise ConfigError(f"special tokens outside the vocabulary: {outside[:3]}")
    backend = tokenizers.Tokenizer(_bpe(dict(vocabulary), pairs, ignore_merges))
    backend.pre_tokenizer = words(pre, prefix_space=prefix_space)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([tokenizers.AddedToken(text, normalized=False) for text in special])
    backend.add_tokens([tokenizers.AddedToken(text, normalized=False) for text in added])
    return backend


def _pair(merge: str) -> tuple[str, str]:
    first, _, second = merge.partition(" ")
    if not first or not second or " " in second:
        raise ConfigError(f"a merge is two tokens and a space between them, got {merge!r}")
    return first, second


def _bpe(vocabulary: dict[str, int], pairs: list[tuple[str, str]], ignore_merges: bool) -> models.BPE:
    try:
        return models.BPE(vocab=vocabulary, merges=pairs, ignore_merges=ignore_merges)
    except Exception as error:  # the library raises bare Exception for a merge outside the vocabulary
        raise ConfigError(f"vocabulary and merges do not fit together: {error}") from error
