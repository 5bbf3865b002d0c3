"""Tokenizers of Hugging Face folders without `tokenizer.json`: from vocabularies or a SentencePiece model.

These files do not say how a text is cut; that follows from the tokenizer's class, or from the kind of model.
Source: the classes of `transformers` 5 of the same names.
"""

# The tokenizers library is not fully annotated.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from mpcinfer.models.bpe import byte_level_bpe
from mpcinfer.models.fields import Fields
from mpcinfer.models.sentencepiece import Piece, PieceType, precompiled, sentencepiece_tokenizer
from mpcinfer.models.sentencepiece_file import read_sentencepiece
from mpcinfer.models.tokenizer_settings import TokenizerSettings
from mpcinfer.text_file import read_text_file
from parties.errors import ConfigError

_END = "<|endoftext|>"
_BERT = {
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}
_ROBERTA = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "cls_token": "<s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}
_LLAMA = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
_GEMMA = {
    "unk_token": "<unk>",
    "bos_token": "<bos>",
    "eos_token": "<eos>",
    "pad_token": "<pad>",
    "mask_token": "<mask>",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerClass:
    """What a class of `transformers` fixes.

    Attributes:
        form: `byte-level` (vocab.json, merges.txt), `wordpiece` (vocab.txt), `sentencepiece`
            (tokenizer.model), or `fairseq` (sentencepiece.bpe.model, whose ids are one more).
        special: special tokens by name, where a folder does not say.
        pre: of a byte-level one, how text is cut, as `byte_level_bpe` takes it.
        nfc: text is brought into Unicode's composed form first.
        around: what stands around texts: `bos` and eos as far as the configuration asks, or `bert`'s or
            `roberta`'s cls and sep.
        adds_bos: where the configuration does not say.
        every_part: of a SentencePiece one, as in its model, where the configuration has no `legacy`.
    """

    form: str
    special: dict[str, str] = field(default_factory=dict[str, str])
    pre: str = "gpt-2"
    nfc: bool = False
    around: str = "bos"
    adds_bos: bool = False
    every_part: bool = True


_GPT2 = {"unk_token": _END, "bos_token": _END, "eos_token": _END}
_CLASSES = {
    "GPT2Tokenizer": TokenizerClass(form="byte-level", special=_GPT2),
    "GPTNeoXTokenizer": TokenizerClass(
        form="byte-level", special={**_GPT2, "pad_token": "<|padding|>"}, nfc=True
    ),
    "Qwen2Tokenizer": TokenizerClass(
        form="byte-level",
        special={"unk_token": _END, "eos_token": _END, "pad_token": _END},
        pre="qwen2",
        nfc=True,
    ),
    "RobertaTokenizer": TokenizerClass(form="byte-level", special=_ROBERTA, around="roberta"),
    "XLMRobertaTokenizer": TokenizerClass(form="fairseq", special=_ROBERTA, around="roberta"),
    "BertTokenizer": TokenizerClass(form="wordpiece", special=_BERT, around="bert"),
    "LlamaTokenizer": TokenizerClass(form="sentencepiece", special=_LLAMA, adds_bos=True, every_part=False),
    "GemmaTokenizer": TokenizerClass(form="sentencepiece", special=_GEMMA, adds_bos=True),
}
_SAME = {
    "CodeGenTokenizer": "GPT2Tokenizer",
    "BartTokenizer": "RobertaTokenizer",
    "DistilBertTokenizer": "BertTokenizer",
    "ElectraTokenizer": "BertTokenizer",
    "MobileBertTokenizer": "BertTokenizer",
}
_OF_MODEL = {
    **dict.fromkeys(("gpt2", "gpt_neo", "gptj", "codegen", "phi", "opt", "starcoder2"), "GPT2Tokenizer"),
    **dict.fromkeys(("gpt_neox", "olmo", "mpt", "stablelm"), "GPTNeoXTokenizer"),
    **dict.fromkeys(("qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "qwen3_next"), "Qwen2Tokenizer"),
    **dict.fromkeys(("roberta", "bart"), "RobertaTokenizer"),
    "xlm-roberta": "XLMRobertaTokenizer",
    **dict.fromkeys(("bert", "distilbert", "electra", "mobilebert"), "BertTokenizer"),
    **dict.fromkeys(("gemma", "gemma2", "gemma3", "gemma3_text"), "GemmaTokenizer"),
}
# SentencePiece models read by their own settings, as `transformers` does for these and those of no class.
_LLAMA_MODELS = frozenset({"llama", "mistral", "mixtral", "phi3"})
_LLAMA_SETTINGS = TokenizerClass(form="sentencepiece", special=_LLAMA, adds_bos=True)
_OWN_SETTINGS = TokenizerClass(form="sentencepiece")
# Classes that leave it to the files.
_GENERAL = frozenset({"", "PreTrainedTokenizer", "TokenizersBackend"})
_FILES = {
    "byte-level": ("vocab.json", "merges.txt"),
    "wordpiece": ("vocab.txt",),
    "sentencepiece": ("tokenizer.model",),
    "fairseq": ("sentencepiece.bpe.model",),
}


def declared_class(folder: Path, settings: TokenizerSettings) -> TokenizerClass | None:
    """The class that a folder names itself, where it is one of those here."""
    name = _declared(folder, settings)
    return _CLASSES.get(_SAME.get(name, name))


def slow_class(folder: Path, settings: TokenizerSettings) -> TokenizerClass:
    """The class by which a folder's files are read.

    Raises:
        ConfigError: a class or kind of model that is not known, or files that are missing.
    """
    name = _declared(folder, settings)
    kind = Fields.of_optional_file(folder / "config.json").text("model_type", "")
    found = _found(name, kind, (folder / "tokenizer.model").is_file())
    if found is None and not any((folder / each).is_file() for files in _FILES.values() for each in files):
        raise ConfigError(
            f"{folder} has no tokenizer.json, nor vocab.json with merges.txt, vocab.txt, tokenizer.model or "
            "sentencepiece.bpe.model"
        )
    if found is None:
        asked = f"model_type {kind!r}" if name in _GENERAL else f"tokenizer_class {name!r}"
        raise ConfigError(
            f"{folder} has no tokenizer.json, and how text is cut for {asked} is not known; known are "
            f"{sorted(_CLASSES)}; save_pretrained of transformers' AutoTokenizer writes that file"
        )
    missing = [each for each in _FILES[found.form] if not (folder / each).is_file()]
    if missing:
        raise ConfigError(
            f"{folder} has no tokenizer.json, nor {' and '.join(missing)}, which {name or kind} needs then"
        )
    return found


def _found(name: str, kind: str, sentencepiece: bool) -> TokenizerClass | None:
    if name == "LlamaTokenizer" and kind in _LLAMA_MODELS - {"llama"}:
        return _LLAMA_SETTINGS
    if name not in _GENERAL:
        return _CLASSES.get(_SAME.get(name, name))
    if kind in _LLAMA_MODELS:
        return _LLAMA_SETTINGS
    found = _CLASSES.get(_OF_MODEL.get(kind, ""))
    return _OWN_SETTINGS if found is None and sentencepiece else found


def slow_backend(
    folder: Path, settings: TokenizerSettings, kind: TokenizerClass
) -> tuple[tokenizers.Tokenizer, dict[str, str]]:
    """A tokenizer without added tokens, and its special tokens by name where the folder does not say.

    Raises:
        ConfigError: files that are damaged or do not fit together.
    """
    if kind.form == "sentencepiece":
        return _sentencepiece(folder, settings, kind)
    if kind.form == "fairseq":
        return _fairseq(folder / "sentencepiece.bpe.model", settings), kind.special
    if kind.form == "wordpiece":
        return _wordpiece(folder, settings), kind.special
    merges = read_text_file(folder / "merges.txt").split("\n")
    backend = byte_level_bpe(
        _vocabulary(folder / "vocab.json"),
        [line for line in merges if line and not line.startswith("#version")],
        pre=kind.pre,
        prefix_space=settings.fields.flag("add_prefix_space", False),
    )
    if kind.nfc:
        backend.normalizer = normalizers.NFC()
    return backend, kind.special


def _declared(folder: Path, settings: TokenizerSettings) -> str:
    name = settings.fields.text("tokenizer_class", "")
    name = name or Fields.of_optional_file(folder / "config.json").text("tokenizer_class", "")
    return name.removesuffix("Fast")


def _vocabulary(path: Path) -> dict[str, int]:
    fields = Fields.of_file(path)
    ids = cast("dict[str, int]", fields.values)
    wrong = next((text for text, token in ids.items() if type(token) is not int or token < 0), None)
    if wrong is not None:
        raise fields.refuse(wrong, "expected a token id")
    return ids


def _wordpiece(folder: Path, settings: TokenizerSettings) -> tokenizers.Tokenizer:
    fields = settings.fields
    vocabulary = models.WordPiece.read_file(str(folder / "vocab.txt"))
    unknown = settings.named(_BERT)["unk_token"].content
    if unknown not in vocabulary:
        raise ConfigError(f"{folder / 'vocab.txt'} has no unknown token {unknown!r}")
    backend = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))
    accents: bool | None = None
    if fields.values.get("strip_accents") is not None:
        accents = fields.flag("strip_accents", False)
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=fields.flag("tokenize_chinese_chars", True),
        strip_accents=accents,
        lowercase=fields.flag("do_lower_case", True),
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(prefix="##")
    return backend


def _sentencepiece(
    folder: Path, settings: TokenizerSettings, kind: TokenizerClass
) -> tuple[tokenizers.Tokenizer, dict[str, str]]:
    file = read_sentencepiece(folder / "tokenizer.model")
    model = dataclasses.replace(
        file.model,
        pieces=_renamed(file.model.pieces, settings),
        every_part=settings.fields.flag("legacy", kind.every_part),
        prefix_space=file.model.prefix_space and settings.fields.flag("add_prefix_space", True),
    )
    backend = sentencepiece_tokenizer(model)
    backend.add_special_tokens(
        [
            tokenizers.AddedToken(piece.text, normalized=False)
            for piece in model.pieces
            if piece.type is PieceType.CONTROL
        ]
    )
    named = {"bos_token": file.bos, "eos_token": file.eos, "unk_token": file.unknown}
    texts = {piece.text for piece in model.pieces}
    defaults = {key: text for key, text in kind.special.items() if text in texts}
    return backend, {key: text for key, text in named.items() if text is not None} | defaults


def _fairseq(path: Path, settings: TokenizerSettings) -> tokenizers.Tokenizer:
    """Fairseq's four special tokens take the place of the model's three; the mask comes last.

    Raises:
        ConfigError: a file that is no unigram model, or whose normalisation cannot be read.
    """
    model = read_sentencepiece(path).model
    if not model.unigram:
        raise ConfigError(f"{path}: expected a unigram model")
    named = settings.named(_ROBERTA)
    first = [named[f"{name}_token"].content for name in ("bos", "pad", "eos", "unk")]
    pieces = [(piece.text, piece.score) for piece in model.pieces[3:]]
    special = [(text, 0.0) for text in first]
    backend = tokenizers.Tokenizer(
        models.Unigram(
            vocab=[*special, *pieces, (named["mask_token"].content, 0.0)], unk_id=3, byte_fallback=False
        )
    )
    if model.charsmap:
        backend.normalizer = precompiled(model.charsmap)
    scheme = "always" if settings.fields.flag("add_prefix_space", True) else "never"
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme=scheme)]
    )
    backend.decoder = decoders.Metaspace(prepend_scheme=scheme)
    return backend


def _renamed(pieces: Sequence[Piece], settings: TokenizerSettings) -> list[Piece]:
    """Pieces under the names that the folder declares for their ids: placeholders that were put to use."""
    names = {token: added.content for token, added in settings.declared.items() if token < len(pieces)}
    kept = {piece.text for token, piece in enumerate(pieces) if token not in names}
    return [
        dataclasses.replace(piece, text=names[token])
        if token in names and names[token] not in kept
        else piece
        for token, piece in enumerate(pieces)
    ]
