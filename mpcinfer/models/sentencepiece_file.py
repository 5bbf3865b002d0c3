"""SentencePiece's own file, `tokenizer.model`: a protocol buffer, of which a few fields are read.

The `protobuf` library reads the same from a compiled schema; these fields alone are not worth a dependency
that every client would have to install.

Sources: `sentencepiece_model.proto` of SentencePiece; the encoding of protocol buffers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mpcinfer.models.sentencepiece import Piece, PieceType, SentencePieceModel
from parties.errors import ConfigError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_UNIGRAM, _BPE = 1, 2
_Value = int | bytes


@dataclass(frozen=True, slots=True)
class SentencePieceFile:
    """A file's pieces and settings.

    Attributes:
        model: with `every_part` as it is by default.
        bos, eos, unknown: the texts of these tokens; None where the model has none.
    """

    model: SentencePieceModel
    bos: str | None
    eos: str | None
    unknown: str


def read_sentencepiece(path: Path) -> SentencePieceFile:
    """Reads a `tokenizer.model`.

    Raises:
        ConfigError: it is no such file, or a kind of model that is not supported.
    """
    try:
        content = _fields(path.read_bytes())
        pieces = [_piece(each) for each in content.get(1, []) if isinstance(each, bytes)]
        trainer, normalizer = _Message(content.get(2)), _Message(content.get(3))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, struct.error) as error:
        raise ConfigError(f"{path} is not a readable SentencePiece model: {error}") from error
    try:
        return _file(pieces, trainer, normalizer)
    except (ValueError, ConfigError) as error:
        raise ConfigError(f"{path}: {error}") from error


def _file(pieces: list[Piece], trainer: _Message, normalizer: _Message) -> SentencePieceFile:
    kind = trainer.number(3, _UNIGRAM)
    if not pieces:
        raise ValueError("no pieces; it is no SentencePiece model")
    if kind not in (_UNIGRAM, _BPE):
        raise ConfigError(f"model_type is {kind}; supported are 1 (unigram) and 2 (bpe)")
    if trainer.number(24, 0):
        raise ConfigError("treat_whitespace_as_suffix is true; only false is supported")
    if not normalizer.number(5, 1):
        raise ConfigError("escape_whitespaces is false; only true is supported")
    unknown = trainer.number(40, 0)
    if not 0 <= unknown < len(pieces):
        raise ConfigError(f"unk_id is {unknown}, outside the {len(pieces)} pieces")
    model = SentencePieceModel(
        pieces=pieces,
        unigram=kind == _UNIGRAM,
        byte_fallback=bool(trainer.number(35, 0)),
        unknown=unknown,
        prefix_space=bool(normalizer.number(3, 1)),
        trim_spaces=bool(normalizer.number(4, 1)),
        charsmap=normalizer.raw(2),
    )
    ends = [trainer.number(field, default) for field, default in ((41, 1), (42, 2))]
    bos, eos = (pieces[token].text if 0 <= token < len(pieces) else None for token in ends)
    return SentencePieceFile(model, bos, eos, pieces[unknown].text)


def _piece(raw: bytes) -> Piece:
    message = _Message([raw])
    (score,) = struct.unpack("<f", message.raw(2) or bytes(4))
    return Piece(message.raw(1).decode(), score, PieceType(message.number(3, PieceType.NORMAL)))


class _Message:
    """Numbers and bytes by field number; of several the last counts, and an absent message has no fields."""

    def __init__(self, parts: list[_Value] | None) -> None:
        whole = b"".join(part for part in parts or [] if isinstance(part, bytes))
        self._fields = _fields(whole)

    def number(self, field: int, default: int) -> int:
        """A whole number, true and false as 1 and 0."""
        value = self._fields.get(field, [default])[-1]
        if not isinstance(value, int):
            raise ValueError(f"field {field} is no number")
        return value - (1 << 64) if value >= 1 << 63 else value

    def raw(self, field: int) -> bytes:
        """Bytes; none where the field is absent."""
        value = self._fields.get(field, [b""])[-1]
        if not isinstance(value, bytes):
            raise ValueError(f"field {field} is no sequence of bytes")
        return value


def _fields(content: bytes) -> dict[int, list[_Value]]:
    """Every field of a message; numbers of fixed width stay bytes."""
    found: dict[int, list[_Value]] = {}
    for field, value in _entries(content):
        found.setdefault(field, []).append(value)
    return found


def _entries(content: bytes) -> Iterator[tuple[int, _Value]]:
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        field, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(content, at)
            yield field, value
            continue
        if kind == _BYTES:
            size, at = _varint(content, at)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(f"field {field} is of wire type {kind}")
        if size > len(content) - at:
            raise ValueError("it ends too early")
        yield field, content[at : at + size]
        at += size


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A number, and where what follows it begins."""
    value = 0
    for place in range(10):
        if at + place >= len(content):
            raise ValueError("it ends too early")
        byte = content[at + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value & ((1 << 64) - 1), at + place + 1
    raise ValueError("a number of more than ten bytes")
