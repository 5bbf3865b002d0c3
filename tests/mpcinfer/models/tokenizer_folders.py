"""Folders of every tokenizer kind, and texts that tell them apart."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = Path(__file__).parent
SPECIAL = ["<unk>", "<s>", "</s>", "<pad>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "[MASK]"]
_WORDS = [
    "the",
    "cat",
    "Don't",
    "I'LL",
    "we've",
    "12345",
    "3.14",
    "1,000",
    "x=10**23",
    "naïve",
    "NAÏVE",
    "e\u0301e",
]
_SIGNS = [
    "日本語",
    "한국어",
    "🙂👩‍👩‍👧",
    "🇫🇷",
    "שלום",
    "½²٣",
    "ﬁ",
    "Å",
    "A\u030a",
    "\u200b\ufeff",
    "▁",
    "##ing",
]
_SPACES = [
    "",
    " ",
    "  ",
    "    ",
    "\n",
    "\n\n",
    "\r\n",
    "\t",
    " \t ",
    "\u00a0",
    "\u3000",
    "\u2028",
    "\x00",
    "\x7f",
]


@lru_cache
def texts(count: int = 500) -> tuple[str, ...]:
    """Texts by a fixed seed: words, signs, every byte as a character, spaces, special tokens between."""
    draw = random.Random(20)
    singles = [chr(byte) for byte in range(256)]
    pools = [_WORDS, _SIGNS, _SPACES, SPECIAL, singles, [chr(point) for point in range(0x300, 0x370)]]
    found = ["", " ", "a", " a", "a ", "  a  b  ", "".join(singles), *singles[:40]]
    while len(found) < count:
        picked = draw.choices(pools, weights=[8, 4, 8, 2, 4, 1], k=draw.randrange(1, 14))
        found.append("".join(draw.choice(pool) for pool in picked))
    return tuple(found)


@lru_cache
def _corpus() -> list[str]:
    readme = (HERE.parents[2] / "README.md").read_text().splitlines()
    return [*readme, *(text for text in texts() if not any(each in text for each in SPECIAL))]


@lru_cache
def byte_level() -> tuple[dict[str, int], list[str]]:
    """Vocabulary and merges of 900 tokens, with merges of digits."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=900, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    backend.train_from_iterator(_corpus(), trainer)
    model = json.loads(backend.to_str())["model"]
    return model["vocab"], [" ".join(pair) for pair in model["merges"]]


def write(folder: Path, kind: str, settings: dict[str, Any] | None = None, **config: Any) -> Path:
    """Configuration files of a folder; its tokenizer files are written apart."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": kind, **config}))
    (folder / "tokenizer_config.json").write_text(json.dumps(settings or {}))
    return folder


def declared(first: int, *texts: str) -> dict[str, Any]:
    """`added_tokens_decoder` of special tokens from an id on."""
    flags = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True}
    return {str(first + i): {"content": text, **flags} for i, text in enumerate(texts)}


def merges_folder(folder: Path, kind: str, name: str, **settings: Any) -> Path:
    """`vocab.json` and `merges.txt`."""
    vocabulary, merges = byte_level()
    first = len(vocabulary)
    fields = {"tokenizer_class": name, "added_tokens_decoder": declared(first, *SPECIAL), **settings}
    write(folder, kind, fields)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))
    return folder


def older_folder(folder: Path) -> Path:
    """Added tokens as folders had them before `added_tokens_decoder`."""
    merges_folder(folder, "gpt2", "GPT2Tokenizer")
    first = len(byte_level()[0])
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "GPT2Tokenizer"}')
    added = {text: first + i for i, text in enumerate(["<|endoftext|>", "<pad>", "<|im_end|>"])}
    (folder / "added_tokens.json").write_text(json.dumps(added))
    named = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<pad>"}
    (folder / "special_tokens_map.json").write_text(json.dumps(named))
    return folder


def bert_folder(folder: Path, **settings: Any) -> Path:
    """`vocab.txt`."""
    write(folder, "bert", {"tokenizer_class": "BertTokenizer", **settings})
    pieces = sorted({each for text in _corpus() for each in text.lower() if not each.isspace()})
    words = [
        "the",
        "cat",
        "naive",
        "##e",
        "don",
        "##t",
        "private",
        "##s",
        "##ing",
        "protocol",
        "日",
        "12",
        "##345",
    ]
    tokens = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *pieces,
        *words,
        *(f"##{each}" for each in pieces[:60]),
    ]
    (folder / "vocab.txt").write_text("\n".join(dict.fromkeys(tokens)) + "\n", encoding="utf-8")
    return folder


def model_folder(folder: Path, kind: str, file: str, name: str | None = None, **settings: Any) -> Path:
    """SentencePiece's `tokenizer.model`; the files here were trained by the library itself on this README."""
    write(folder, kind, settings if name is None else {"tokenizer_class": name, **settings})
    shutil.copy(HERE / "sentencepiece" / f"{file}.model", folder / "tokenizer.model")
    return folder


def fairseq_folder(folder: Path, **settings: Any) -> Path:
    """`sentencepiece.bpe.model`, without `tokenizer.json`."""
    write(folder, "xlm-roberta", {"tokenizer_class": "XLMRobertaTokenizer", **settings})
    shutil.copy(HERE / "sentencepiece" / "unigram.model", folder / "sentencepiece.bpe.model")
    return folder


def json_folder(folder: Path, make: Callable[[], tokenizers.Tokenizer], **settings: Any) -> Path:
    """`tokenizer.json`."""
    write(folder, "gpt_bigcode", {"tokenizer_class": "PreTrainedTokenizerFast", **settings})
    make().save(str(folder / "tokenizer.json"))
    return folder


def _around(backend: tokenizers.Tokenizer, single: str, pair: str) -> tokenizers.Tokenizer:
    ids = [(text, backend.token_to_id(text)) for text in ("<s>", "</s>")]
    backend.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=ids)
    return backend


def llama3_json() -> tokenizers.Tokenizer:
    """As Llama 3's: a pattern, words that are tokens unmerged, bos before."""
    vocabulary, merges = byte_level()
    pairs = [tuple(merge.split(" ")) for merge in merges]
    backend = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=pairs, ignore_merges=True))
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+"
    )
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(SPECIAL)
    return _around(backend, "<s> $A", "<s> $A <s>:1 $B:1")


def llama2_json() -> tokenizers.Tokenizer:
    """As Llama 2's: U+2581 put before by a normaliser, byte tokens, bos before and eos after."""
    backend = tokenizers.Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    strip = decoders.Strip(" ", 1, 0)
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), strip]
    )
    special = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, limit_alphabet=90, show_progress=False
    )
    backend.train_from_iterator(_corpus(), trainer)
    fields = json.loads(backend.to_str())
    fields["added_tokens"] = [
        each for each in fields["added_tokens"] if not each["content"].startswith("<0x")
    ]
    return _around(tokenizers.Tokenizer.from_str(json.dumps(fields)), "<s> $A </s>", "<s> $A </s> $B </s>")


def unigram_json() -> tokenizers.Tokenizer:
    """A unigram model behind Metaspace, as T5's."""
    backend = tokenizers.Tokenizer(models.Unigram())
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=500, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
    )
    backend.train_from_iterator(_corpus(), trainer)
    return _around(backend, "$A </s>", "$A </s> $B </s>")
