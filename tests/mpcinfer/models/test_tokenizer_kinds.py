"""Every kind of tokenizer against `transformers`: the same ids and texts over 500 strings, and pairs."""

from __future__ import annotations

import importlib.util
import json
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import transformers
from transformers.convert_slow_tokenizer import SpmConverter, XLMRobertaConverter

from mpcinfer.models.huggingface_tokenizer import load_huggingface_tokenizer
from mpcinfer.models.sentencepiece import PieceType
from mpcinfer.models.sentencepiece_file import read_sentencepiece
from tests.mpcinfer.models.tokenizer_folders import (
    SPECIAL,
    bert_folder,
    fairseq_folder,
    json_folder,
    llama2_json,
    llama3_json,
    merges_folder,
    model_folder,
    older_folder,
    texts,
    unigram_json,
)

_BOS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
KINDS: dict[str, Callable[[Path], Path]] = {
    "tokenizer.json llama-3": lambda at: json_folder(at, llama3_json, **_BOS),
    "tokenizer.json llama-2": lambda at: json_folder(at, llama2_json, **_BOS),
    "tokenizer.json unigram": lambda at: json_folder(at, unigram_json, clean_up_tokenization_spaces=True),
    "tokenizer.json + pad": lambda at: json_folder(at, llama3_json, pad_token="<new>", **_BOS),
    "gpt2": lambda at: merges_folder(at, "gpt2", "GPT2Tokenizer"),
    "gpt2 prefix space": lambda at: merges_folder(at, "gpt2", "GPT2Tokenizer", add_prefix_space=True),
    "gpt2 bos and eos": lambda at: merges_folder(
        at, "opt", "GPT2Tokenizer", add_bos_token=True, add_eos_token=True, bos_token="</s>"
    ),
    "gpt2 older files": older_folder,
    "qwen2": lambda at: merges_folder(at, "qwen2", "Qwen2Tokenizer"),
    "gpt_neox": lambda at: merges_folder(at, "gpt_neox", "GPTNeoXTokenizer"),
    "roberta": lambda at: merges_folder(at, "roberta", "RobertaTokenizer", mask_token="[MASK]"),
    "bert": bert_folder,
    "bert cased": lambda at: bert_folder(at, do_lower_case=False, clean_up_tokenization_spaces=True),
    "bert accents": lambda at: bert_folder(at, strip_accents=False, tokenize_chinese_chars=False),
    "sentencepiece bpe": lambda at: model_folder(at, "mistral", "bpe", add_bos_token=True),
    "sentencepiece not legacy": lambda at: model_folder(
        at, "mistral", "bpe", legacy=False, add_bos_token=True
    ),
    "sentencepiece gemma": lambda at: model_folder(at, "mistral", "gemma", add_bos_token=True),
    "xlm-roberta": fairseq_folder,
    "xlm-roberta no prefix space": lambda at: fairseq_folder(at, add_prefix_space=False),
    "sentencepiece unigram": lambda at: model_folder(at, "mistral", "unigram", add_bos_token=True),
}
_HAS_SENTENCEPIECE = all(importlib.util.find_spec(name) for name in ("sentencepiece", "google"))


def theirs(folder: Path) -> Any:
    """The folder as `transformers` reads it; SentencePiece's files need packages that may be absent."""
    if not _HAS_SENTENCEPIECE:
        if (folder / "sentencepiece.bpe.model").is_file():
            return fairseq(folder)
        if (folder / "tokenizer.model").is_file():
            return converted(folder)
    return transformers.AutoTokenizer.from_pretrained(str(folder))


def fairseq(folder: Path) -> Any:
    """`transformers`' own class, over pieces and normalisation that we read."""
    model = read_sentencepiece(folder / "sentencepiece.bpe.model").model
    kind = transformers.XLMRobertaTokenizer
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    return kind(
        **XLMRobertaConverter.convert_from_spm([(each.text, each.score) for each in model.pieces]),
        _spm_precompiled_charsmap=model.charsmap or None,
        add_prefix_space=settings.get("add_prefix_space", True),
    )


def converted(folder: Path) -> Any:
    """`transformers`' own conversion, over pieces and settings that we read."""
    file = read_sentencepiece(folder / "tokenizer.model")
    model, settings = file.model, load_huggingface_tokenizer(folder)
    pieces = [SimpleNamespace(piece=each.text, score=each.score, type=each.type) for each in model.pieces]
    names = [each.text for each in model.pieces]
    trainer = SimpleNamespace(
        byte_fallback=model.byte_fallback,
        unk_piece=file.unknown,
        unk_id=model.unknown,
        model_type=2 - model.unigram,
    )
    normalizer = SimpleNamespace(
        precompiled_charsmap=model.charsmap,
        remove_extra_whitespaces=model.trim_spaces,
        escape_whitespaces=True,
        add_dummy_prefix=model.prefix_space,
    )
    vocabulary = [(each.text, each.score) for each in model.pieces]
    backend = SpmConverter.build_tokenizer_from_spm_proto(
        proto=SimpleNamespace(pieces=pieces, trainer_spec=trainer, normalizer_spec=normalizer),
        vocab=vocabulary if model.unigram else {text: token for token, text in enumerate(names)},
        legacy="legacy" not in (folder / "tokenizer_config.json").read_text(),
    )
    control = [each.text for each in model.pieces if each.type is PieceType.CONTROL]
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, add_bos_token=True, extra_special_tokens=control, **settings.special
    )


@pytest.mark.parametrize("kind", KINDS)
def test_ids_and_texts_equal_transformers(kind: str, tmp_path: Path) -> None:
    folder = KINDS[kind](tmp_path / "m")
    ours, other = load_huggingface_tokenizer(folder), theirs(folder)
    draw, size = random.Random(1), ours.backend.get_vocab_size()
    differences: list[str] = []
    for text in texts():
        ids = other(text).input_ids
        some = [draw.randrange(size) for _ in range(12)]
        if (
            ours.encode(text) != ids
            or ours.decode(ids) != other.decode(ids, skip_special_tokens=True)
            or ours.decode(some) != other.decode(some, skip_special_tokens=True)
        ):
            differences.append(text)
    print(f"| {kind:26} | {len(texts())} | {len(differences)} |")
    assert not differences, (len(differences), differences[:3])
    assert ours.special == {key: str(value) for key, value in other.special_tokens_map.items()}


@pytest.mark.parametrize(
    "kind", ["tokenizer.json llama-2", "gpt2 bos and eos", "roberta", "xlm-roberta", "bert", "qwen2"]
)
def test_pairs_equal_transformers(kind: str, tmp_path: Path) -> None:
    folder = KINDS[kind](tmp_path / "m")
    ours, other = load_huggingface_tokenizer(folder), theirs(folder)
    for first, second in (("the cat", "12345"), ("", "a"), ("<s>x", "b ")):
        pair = ours.encode_pair(first, second)
        expected = other(first, second, return_token_type_ids=True)
        assert pair.ids == expected.input_ids
        assert pair.types == expected.token_type_ids
    dressed, bare = other("a").input_ids, other("a", add_special_tokens=False).input_ids
    assert [*ours.prefix, *bare, *ours.suffix] == dressed


def test_the_texts_have_what_tells_tokenizers_apart() -> None:
    joined = "".join(texts())
    assert len(texts()) == 500
    assert all(chr(byte) in joined for byte in range(256))
    assert all(joined.count(text) > 5 for text in SPECIAL)
