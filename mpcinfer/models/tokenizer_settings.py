"""What the files beside a Hugging Face tokenizer say of it: special tokens, added tokens, chat templates.

`tokenizer_config.json` comes first. `special_tokens_map.json` and `added_tokens.json` are of older folders
and count where it has no `added_tokens_decoder`, as in `transformers`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import tokenizers

from mpcinfer.models.fields import Fields
from mpcinfer.text_file import read_text_file

_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


@dataclass(frozen=True, slots=True)
class TokenizerSettings:
    """Settings of a folder.

    Attributes:
        fields: of `tokenizer_config.json`, with those of `special_tokens_map.json` where they count.
        declared: added tokens by id.
    """

    fields: Fields
    declared: dict[int, tokenizers.AddedToken]

    @staticmethod
    def of_folder(folder: Path) -> TokenizerSettings:
        """Reads what there is.

        Raises:
            ConfigError: a file that is no JSON object, or a token that is neither text nor object.
        """
        fields = Fields.of_optional_file(folder / "tokenizer_config.json")
        if fields.values.get("added_tokens_decoder") is not None:
            return TokenizerSettings(fields, _decoder(fields))
        older = Fields.of_optional_file(folder / "special_tokens_map.json")
        fields = Fields(fields.source, {**fields.values, **older.values})
        settings = TokenizerSettings(fields, {})
        special = {token.content for token in (*settings.named({}).values(), *settings.extra())}
        return TokenizerSettings(fields, _encoder(folder / "added_tokens.json", special))

    def named(self, defaults: dict[str, str]) -> dict[str, tokenizers.AddedToken]:
        """Special tokens by name: every text or token of a key that ends in `_token`."""
        values: dict[str, Any] = {**defaults, **self.fields.values}
        extra: Any = values.get("extra_special_tokens")
        if isinstance(extra, dict):
            values |= cast("dict[str, Any]", extra)
        return {
            key: self._token(key, value)
            for key, value in values.items()
            if key.endswith("_token") and value is not None and not isinstance(value, bool)
        }

    def extra(self) -> list[tokenizers.AddedToken]:
        """Special tokens without a name."""
        found: list[tokenizers.AddedToken] = []
        for key in ("additional_special_tokens", "extra_special_tokens"):
            value: Any = self.fields.values.get(key)
            if isinstance(value, list):
                found += [self._token(key, each) for each in cast("list[Any]", value)]
            elif value is not None and not (key == "extra_special_tokens" and isinstance(value, dict)):
                raise self.fields.refuse(key, "expected a list of tokens")
        return found

    def _token(self, key: str, value: Any) -> tokenizers.AddedToken:
        """A special token, with the flags that the folder declares for its text."""
        token = _added(self.fields, key, value, special=True)
        return next((each for each in self.declared.values() if each.content == token.content), token)

    def templates(self, folder: Path) -> dict[str, str]:
        """Chat templates by name: of files, else of the configuration; the usual one is `default`."""
        path, more = folder / "chat_template.jinja", folder / "additional_chat_templates"
        files = {each.stem: each for each in sorted(more.glob("*.jinja"))}
        if path.is_file():
            files["default"] = path
        if files:
            return {name: read_text_file(each) for name, each in files.items()}
        value: Any = self.fields.values.get("chat_template")
        if value is None:
            return {}
        if isinstance(value, str):
            return {"default": value}
        refusal = self.fields.refuse("chat_template", "expected a text, or a list of names and templates")
        if not isinstance(value, list):
            raise refusal
        found: dict[str, str] = {}
        for each in cast("list[Any]", value):
            entry = cast("dict[str, Any]", each) if isinstance(each, dict) else {}
            name, template = entry.get("name"), entry.get("template")
            if not (isinstance(name, str) and isinstance(template, str)):
                raise refusal
            found[name] = template
        return found


def _decoder(fields: Fields) -> dict[int, tokenizers.AddedToken]:
    declared: dict[int, tokenizers.AddedToken] = {}
    for key, value in fields.table("added_tokens_decoder").items():
        if not key.isdecimal():
            raise fields.refuse("added_tokens_decoder", f"{key!r} is no token id")
        declared[int(key)] = _added(fields, "added_tokens_decoder", value, special=False)
    return declared


def _encoder(path: Path, special: set[str]) -> dict[int, tokenizers.AddedToken]:
    fields = Fields.of_optional_file(path)
    declared: dict[int, tokenizers.AddedToken] = {}
    for text in fields.values:
        marked = text in special
        declared[fields.integer(text)] = tokenizers.AddedToken(text, normalized=not marked, special=marked)
    return declared


def _added(fields: Fields, key: str, value: Any, *, special: bool) -> tokenizers.AddedToken:
    """A token written as text, or as an object with its `content` and flags."""
    if isinstance(value, str):
        return tokenizers.AddedToken(value, normalized=False, special=special)
    if not isinstance(value, dict) or not isinstance(cast("dict[str, Any]", value).get("content"), str):
        raise fields.refuse(key, "expected a text, or an object with its content")
    given = cast("dict[str, Any]", value)
    flags = {flag: given[flag] for flag in _FLAGS if flag in given}
    if not all(isinstance(flag, bool) for flag in flags.values()):
        raise fields.refuse(key, f"{' and '.join(_FLAGS)} are true or false")
    return tokenizers.AddedToken(
        given["content"], **{**flags, "special": special or flags.get("special", False)}
    )
