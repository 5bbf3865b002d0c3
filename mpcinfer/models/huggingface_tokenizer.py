"""The tokenizer of a Hugging Face folder, with its special ids and chat template."""

# The tokenizers library is not fully annotated.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import tokenizers
from tokenizers import processors

from mpcinfer.models.fields import Fields
from mpcinfer.models.slow_tokenizer import TokenizerClass, declared_class, slow_backend, slow_class
from mpcinfer.models.special_tokens import add_declared, add_token, put_around
from mpcinfer.models.tokenizer_settings import TokenizerSettings
from mpcinfer.tokenizer import Tokenizer
from parties.errors import ConfigError


def load_huggingface_tokenizer(folder: Path, *, vocabulary: int | None = None) -> Tokenizer:
    """A tokenizer from `tokenizer.json`, or from the vocabulary files of its class.

    What stands around a text (bos, cls, sep, eos) is what `tokenizer.json`'s post-processor says; without
    that file, what the class and `add_bos_token` and `add_eos_token` of `tokenizer_config.json` say. The ids
    that end an answer are `eos_token_id` of `generation_config.json`, else of `config.json`.

    Args:
        vocabulary: rows of the model's embedding. A special token that the configuration names and the
            vocabulary lacks gets an id as far as there are rows.

    Raises:
        ConfigError: no tokenizer, a damaged one, or a class that is not known.
    """
    settings = TokenizerSettings.of_folder(folder)
    path = folder / "tokenizer.json"
    if path.is_file():
        backend, kind = _from_file(path), None
        known = declared_class(folder, settings)
        defaults = {} if known is None else known.special
        defaults = {key: text for key, text in defaults.items() if backend.token_to_id(text) is not None}
    else:
        kind = slow_class(folder, settings)
        backend, defaults = slow_backend(folder, settings, kind)
    named = settings.named(defaults)
    add_declared(backend, settings.declared)
    _add_special(backend, [*named.values(), *settings.extra()], vocabulary)
    special = {key: token.content for key, token in named.items()}
    if kind is not None:
        _put_around(backend, settings.fields, kind, special)
    templates = settings.templates(folder)
    return Tokenizer(
        backend=backend,
        stop=_stop(folder),
        chat_template=templates.pop("default", None),
        named_templates=templates,
        special=special,
        clean_up=_clean_up(backend, settings.fields),
        vocabulary=vocabulary,
    )


def _from_file(path: Path) -> tokenizers.Tokenizer:
    try:
        backend = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise ConfigError(f"{path} is not a readable tokenizer: {error}") from error
    backend.no_truncation()
    backend.no_padding()
    return backend


def _add_special(
    backend: tokenizers.Tokenizer, tokens: list[tokenizers.AddedToken], vocabulary: int | None
) -> None:
    """Has special tokens stand whole in a text; those without an id get the next where there are rows."""
    known = {token.content for token in backend.get_added_tokens_decoder().values()}
    for token in tokens:
        room = vocabulary is None or backend.get_vocab_size() < vocabulary
        if token.content not in known and (room or backend.token_to_id(token.content) is not None):
            token.special = True
            add_token(backend, token)
            known.add(token.content)


def _put_around(
    backend: tokenizers.Tokenizer, fields: Fields, kind: TokenizerClass, special: dict[str, str]
) -> None:
    if kind.around == "bos":
        bos = _end(backend, fields, "bos", special) if fields.flag("add_bos_token", kind.adds_bos) else None
        eos = _end(backend, fields, "eos", special) if fields.flag("add_eos_token", False) else None
        put_around(backend, bos=bos, eos=eos)
        return
    cls, sep = ((special[key], _end(backend, fields, key[:3], special)) for key in ("cls_token", "sep_token"))
    if kind.around == "roberta":
        space = fields.flag("add_prefix_space", False)
        backend.post_processor = processors.RobertaProcessing(sep, cls, True, space)
        return
    backend.post_processor = processors.TemplateProcessing(
        single=f"{cls[0]}:0 $A:0 {sep[0]}:0",
        pair=f"{cls[0]}:0 $A:0 {sep[0]}:0 $B:1 {sep[0]}:1",
        special_tokens=[cls, sep],
    )


def _end(backend: tokenizers.Tokenizer, fields: Fields, name: str, special: dict[str, str]) -> int:
    text = special.get(f"{name}_token")
    token = None if text is None else backend.token_to_id(text)
    if token is None:
        raise ConfigError(f"{fields.source}: {name}_token {text!r}, which stands around texts, is no token")
    return token


def _clean_up(backend: tokenizers.Tokenizer, fields: Fields) -> bool:
    """BPE tokens hold their own spaces: there the setting counts only where its longer name is set, too."""
    asked = fields.flag("clean_up_tokenization_spaces", False)
    forced = fields.flag("clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output", False)
    return asked and (forced or type(backend.model).__name__ != "BPE")


def _stop(folder: Path) -> frozenset[int]:
    for file in ("generation_config.json", "config.json"):
        fields = Fields.of_optional_file(folder / file)
        ends: Any = fields.values.get("eos_token_id")
        if ends is None:
            continue
        ids = cast("list[Any]", ends if isinstance(ends, list) else [ends])
        if not all(type(token) is int and token >= 0 for token in ids):
            raise fields.refuse("eos_token_id", "expected a token id or a list of them")
        return frozenset(ids)
    return frozenset()
