"""SentencePiece's own files: what is read, what the library makes of the same texts, what is refused."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from mpcinfer.models.sentencepiece import PieceType, sentencepiece_tokenizer
from mpcinfer.models.sentencepiece_file import read_sentencepiece
from parties.errors import ConfigError
from tests.mpcinfer.models.tokenizer_folders import HERE

FILES = HERE / "sentencepiece"
# `SentencePieceProcessor.encode` of sentencepiece 0.2.3.
KNOWN: dict[str, dict[str, list[int]]] = {
    "bpe": {
        "": [],
        " ": [261],
        "the cat": [268, 275, 273],
        " a": [331, 260],
        "  a  b  ": [261, 260, 261, 356, 261],
        "12345": [331, 360, 361, 372, 373, 377],
        "\n\n\t\x00": [331, 13, 13, 12, 3],
        "▁x▁": [261, 379, 331],
        "A\u030a½": [331, 380, 207, 141, 197, 192],
    },
    "gemma": {
        "": [],
        " ": [334],
        "the cat": [265, 335, 280, 278],
        " a": [266],
        "  a  b  ": [7, 338, 7, 359, 7],
        "12345": [363, 364, 375, 376, 380],
        "\n\n\t\x00": [6, 18, 9],
        "▁x▁": [334, 382, 334],
        "A\u030a½": [383, 213, 147, 203, 198],
    },
    "unigram": {
        "": [],
        " ": [],
        "the cat": [264, 259, 418, 300],
        " a": [266],
        "  a  b  ": [266, 259, 343],
        "12345": [339, 280, 331, 303, 337],
        "\n\n\t\x00": [259, 13, 13, 12, 3],
        "A\u030a½": [344, 207, 141, 197, 192],
    },
}


@pytest.mark.parametrize("name", KNOWN)
def test_ids_equal_the_librarys(name: str) -> None:
    backend = sentencepiece_tokenizer(read_sentencepiece(FILES / f"{name}.model").model)
    for text, ids in KNOWN[name].items():
        assert backend.encode(text).ids == ids, text
        if name != "unigram":  # which leaves out spaces
            assert backend.decode(ids, skip_special_tokens=False) == text.replace("▁", " ")


def test_settings_and_types_are_read() -> None:
    file = read_sentencepiece(FILES / "gemma.model")
    assert (file.bos, file.eos, file.unknown) == ("<bos>", "<eos>", "<unk>")
    model = file.model
    assert (model.unigram, model.byte_fallback, model.prefix_space, model.trim_spaces) == (
        False,
        True,
        False,
        False,
    )
    types = [piece.type for piece in model.pieces[:10]]
    assert types[:4] == [PieceType.CONTROL] * 3 + [PieceType.UNKNOWN]
    assert types[4:] == [PieceType.USER_DEFINED] * 5 + [PieceType.BYTE]
    assert read_sentencepiece(FILES / "unigram.model").model.trim_spaces


@pytest.mark.parametrize(
    ("library", "name"), [("sentencepiece", name) for name in ("bpe", "gemma", "unigram")]
)
def test_pieces_equal_the_librarys_where_it_is_there(library: str, name: str) -> None:
    path = FILES / f"{name}.model"
    processor = pytest.importorskip(library).SentencePieceProcessor(model_file=str(path))
    pieces = read_sentencepiece(path).model.pieces
    assert [each.text for each in pieces] == [processor.id_to_piece(i) for i in range(len(pieces))]
    assert [each.score for each in pieces] == [processor.get_score(i) for i in range(len(pieces))]


def message(*fields: tuple[int, bytes | int]) -> bytes:
    """A protocol buffer of numbers and bytes below 128."""
    parts: list[bytes] = []
    for number, value in fields:
        if isinstance(value, int):
            parts.append(varint(number << 3) + varint(value))
        else:
            parts.append(varint(number << 3 | 2) + varint(len(value)) + value)
    return b"".join(parts)


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def piece(text: str, score: float = 0.0) -> tuple[int, bytes]:
    return 1, message((1, text.encode())) + b"\x15" + struct.pack("<f", score)


BPE = (2, message((3, 2)))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no pieces"),
        (b"\x0a\xff", "ends too early"),
        (b"\x0a", "ends too early"),
        (b"\xff" * 11, "more than ten bytes"),
        (b"\x0b\x00", "wire type 3"),
        (message((1, b"\x0a\x02\xff\xff")), "utf-8"),
        (message((1, message((1, b"a"), (3, 7)))), "7 is not a valid PieceType"),
        (message((1, message((1, 5)))), "no sequence of bytes"),
        (message(piece("a"), (2, message((3, b"x")))), "field 3 is no number"),
        (message(piece("a"), (2, message((3, 4)))), "model_type is 4"),
        (message(piece("a"), (2, message((24, 1)))), "treat_whitespace_as_suffix"),
        (message(piece("a"), (3, message((5, 0)))), "escape_whitespaces"),
        (message(piece("a"), (2, message((40, 1)))), "unk_id is 1"),
        (b"IQ== 0\nIg== 1\n", "no SentencePiece model"),
    ],
)
def test_damaged_and_other_files_are_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.model"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=reason) as refusal:
        read_sentencepiece(path)
    assert str(path) in str(refusal.value)


def test_every_cut_of_a_file_is_refused_or_read(tmp_path: Path) -> None:
    whole, path = (FILES / "bpe.model").read_bytes(), tmp_path / "tokenizer.model"
    for end in range(0, len(whole), 97):
        path.write_bytes(whole[:end])
        try:
            read_sentencepiece(path)
        except ConfigError:
            continue


def test_pieces_that_repeat_and_a_broken_normalisation_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.model"
    path.write_bytes(message(piece("a"), piece("a"), BPE))
    with pytest.raises(ConfigError, match="pieces repeat"):
        sentencepiece_tokenizer(read_sentencepiece(path).model)
    path.write_bytes(message(piece("a"), BPE, (3, message((2, b"\x01\x02")))))
    with pytest.raises(ConfigError, match="compiled normalisation"):
        sentencepiece_tokenizer(read_sentencepiece(path).model)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_sentencepiece(tmp_path / "tokenizer.model")
