"""SentencePiece tokenizers, BPE and unigram, from their pieces.

Source: SentencePiece (Kudo and Richardson, EMNLP 2018) as `transformers` converts it
(`SpmConverter.build_tokenizer_from_spm_proto`).
"""

# The tokenizers library is not fully annotated.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from dataclasses import dataclass

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

from parties.errors import ConfigError

_SPACE = "\u2581"


class PieceType(enum.IntEnum):
    """What a piece is; `sentencepiece_model.proto` and `tokenizer.ggml.token_type` number them alike."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, slots=True)
class Piece:
    """One token.

    Attributes:
        text: with U+2581 for spaces.
        score: of two pieces, the one with the higher score is merged first, or is likelier.
    """

    text: str
    score: float
    type: PieceType = PieceType.NORMAL


@dataclass(frozen=True, slots=True, kw_only=True)
class SentencePieceModel:
    """A trained model.

    Attributes:
        pieces: by id.
        unigram: picks the likeliest cut; else merges pairs as BPE does.
        byte_fallback: characters without a piece become bytes, not the unknown token.
        unknown: id of the unknown token.
        prefix_space: a text begins with a space that is not in it.
        every_part: so does each part of a text after a special token, and one that begins with a space gets
            another: SentencePiece's way with parts that are encoded one by one (`legacy` in `transformers`).
        trim_spaces: spaces at both ends are left out, and several become one.
        charsmap: SentencePiece's compiled normalisation, or nothing.
        user_defined_apart: pieces of that type are cut out of a text before anything is merged.
    """

    pieces: Sequence[Piece]
    unigram: bool = False
    byte_fallback: bool = True
    unknown: int = 0
    prefix_space: bool = True
    every_part: bool = True
    trim_spaces: bool = False
    charsmap: bytes = b""
    user_defined_apart: bool = True


def sentencepiece_tokenizer(model: SentencePieceModel) -> tokenizers.Tokenizer:
    """The tokenizer, without special tokens.

    Raises:
        ConfigError: pieces that repeat, or an unknown token outside them.
    """
    texts = [piece.text for piece in model.pieces]
    if len(set(texts)) != len(texts) or not 0 <= model.unknown < len(texts):
        raise ConfigError(f"pieces repeat, or the unknown token {model.unknown} is none of {len(texts)}")
    whole = [piece.text for piece in model.pieces if piece.type is PieceType.USER_DEFINED]
    apart = whole if model.user_defined_apart else []
    backend = tokenizers.Tokenizer(_unigram(model) if model.unigram else _bpe(model, bool(apart)))
    backend.normalizer = _normalizer(model)
    cuts: list[pre_tokenizers.PreTokenizer] = []
    if model.prefix_space:
        scheme = "always" if model.every_part else "first"
        cuts.append(pre_tokenizers.Metaspace(replacement=_SPACE, prepend_scheme=scheme, split=False))
    if apart:
        pattern = "|".join(re.escape(text) for text in sorted(apart, key=len, reverse=True))
        cuts.append(pre_tokenizers.Split(Regex(pattern), behavior="isolated"))
    if cuts:
        backend.pre_tokenizer = pre_tokenizers.Sequence(cuts)
    backend.decoder = _decoder(model)
    return backend


def precompiled(charsmap: bytes) -> normalizers.Normalizer:
    """SentencePiece's compiled normalisation; raises ConfigError where it cannot be read."""
    try:
        return normalizers.Precompiled(charsmap)
    except Exception as error:  # the library raises bare Exception
        raise ConfigError(f"the compiled normalisation cannot be read: {error}") from error


def _normalizer(model: SentencePieceModel) -> normalizers.Normalizer:
    steps: list[normalizers.Normalizer] = []
    if model.charsmap:
        steps.append(precompiled(model.charsmap))
    if model.trim_spaces:
        steps.append(normalizers.Replace(Regex(r"\A +| +\z"), ""))
        steps.append(normalizers.Replace(Regex(" {2,}"), " "))
    steps.append(normalizers.Replace(" ", _SPACE))
    if model.prefix_space and model.every_part:
        # Metaspace leaves out the space before a text that begins with one; SentencePiece does not.
        steps.append(normalizers.Replace(Regex(rf"\A{_SPACE}"), _SPACE * 2))
    return normalizers.Sequence(steps)


def _decoder(model: SentencePieceModel) -> decoders.Decoder:
    steps: list[decoders.Decoder] = [decoders.Replace(_SPACE, " ")]
    if model.byte_fallback:
        steps.append(decoders.ByteFallback())
    if model.prefix_space or model.byte_fallback:
        steps.append(decoders.Fuse())
    if model.prefix_space:
        steps.append(decoders.Strip(content=" ", left=1, right=0))
    return decoders.Sequence(steps)


def _unigram(model: SentencePieceModel) -> models.Unigram:
    pieces = [(piece.text, piece.score) for piece in model.pieces]
    return models.Unigram(vocab=pieces, unk_id=model.unknown, byte_fallback=model.byte_fallback)


def _bpe(model: SentencePieceModel, ignore_merges: bool) -> models.BPE:
    vocabulary = {piece.text: token for token, piece in enumerate(model.pieces)}
    return models.BPE(
        vocab=vocabulary,
        merges=_merges(model.pieces),
        unk_token=model.pieces[model.unknown].text,
        fuse_unk=True,
        byte_fallback=model.byte_fallback,
        ignore_merges=ignore_merges,
    )


def _merges(pieces: Sequence[Piece]) -> list[tuple[str, str]]:
    """Every cut of a normal piece into two normal ones, the highest score of the whole first."""
    normal = {
        piece.text: (-piece.score, token)
        for token, piece in enumerate(pieces)
        if piece.type is PieceType.NORMAL
    }
    cuts = [
        (*rank, text[:at], text[at:])
        for text, rank in normal.items()
        for at in range(1, len(text))
        if text[:at] in normal and text[at:] in normal
    ]
    return [(left, right) for _, _, left, right in sorted(cuts)]
