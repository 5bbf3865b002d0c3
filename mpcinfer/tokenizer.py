"""Text to token ids and back, and the chat template that wraps a question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import tokenizers

from mpcinfer.chat_template import ChatText, Message, render
from mpcinfer.text_file import require_text
from parties.errors import ConfigError

# What separates words in tokens and not in text, with `clean_up_tokenization_spaces`; in this order.
_SPACES = (
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)


@dataclass(frozen=True, slots=True)
class EncodedPair:
    """Two texts in one row.

    Attributes:
        ids: of both, with what the tokenizer puts around and between them.
        types: for each id, 0 where it belongs to the first text and 1 for the second.
    """

    ids: list[int]
    types: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenizer:
    """A tokenizer with its special ids.

    Attributes:
        backend: the `tokenizers` object that does the work. Its post-processor puts special tokens around a
            text: bos before it, [CLS] and [SEP] around it.
        stop: ids that end an answer.
        chat_template: Jinja2 source for conversations, or None for a plain completion model.
        named_templates: further ones; `tool_use` is the one for conversations with tools.
        special: texts that a chat template may ask for by name: `bos_token`, `eos_token`, `pad_token`, ...
        clean_up: decoding takes out spaces before punctuation.
        vocabulary: how many rows the model's embedding has; None where that is not known.
    """

    backend: tokenizers.Tokenizer
    stop: frozenset[int] = field(default_factory=frozenset[int])
    chat_template: str | None = None
    named_templates: Mapping[str, str] = field(default_factory=dict[str, str])
    special: Mapping[str, str] = field(default_factory=dict[str, str])
    clean_up: bool = False
    vocabulary: int | None = None

    @property
    def prefix(self) -> tuple[int, ...]:
        """Ids that `encode` puts before a text."""
        return self._around()[0]

    @property
    def suffix(self) -> tuple[int, ...]:
        """Ids that `encode` puts after a text."""
        return self._around()[1]

    def encode(self, text: str) -> list[int]:
        """Token ids of a text; special tokens written in it become their ids.

        A plain text gets what the tokenizer adds (`prefix`, `suffix`). What `chat` made spells its special
        tokens itself and gets nothing.

        Raises:
            ConfigError: half a surrogate pair in the text, or a token that the model has no embedding for.
        """
        require_text(text)
        plain = not isinstance(text, ChatText)
        return self._known(list(self.backend.encode(str(text), add_special_tokens=plain).ids))

    def spans(self, text: str) -> list[tuple[int, int]]:
        """The characters of each token of `encode`: the first, and one after the last; both the same for
        tokens that are put around a text. Tokens that share a character all have it. Errors as `encode`."""
        require_text(text)
        encoding = self.backend.encode(str(text), add_special_tokens=not isinstance(text, ChatText))
        self._known(list(encoding.ids))
        return list(encoding.offsets)

    def encode_pair(self, first: str, second: str) -> EncodedPair:
        """Two texts in one row, for models that compare them. Errors as `encode`."""
        for text in (first, second):
            require_text(text)
        encoding = self.backend.encode(first, second, add_special_tokens=True)
        return EncodedPair(ids=self._known(list(encoding.ids)), types=list(encoding.type_ids))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens left out; ids that no token has give nothing.

        Raises:
            ConfigError: an id outside the model's vocabulary.
        """
        text = self.backend.decode(self._known(list(ids)), skip_special_tokens=True)
        if self.clean_up:
            for spaced, joined in _SPACES:
                text = text.replace(spaced, joined)
        return text

    def decode_after(self, prompt: Sequence[int], ids: Sequence[int]) -> str:
        """What ids add to the text of a prompt.

        By themselves they may decode otherwise: a SentencePiece tokenizer leaves out the space at the
        beginning of a text, and an answer does not stand there. Errors as `decode`.
        """
        before, whole = self.decode(prompt), self.decode([*prompt, *ids])
        return whole[_common(before, whole) :]

    def stream(self, prompt: Sequence[int] = ()) -> TextStream:
        """Text piece by piece, for ids that come one at a time after those of a prompt."""
        return TextStream(self, prompt)

    def chat(
        self,
        messages: Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        template: str | None = None,
        **variables: Any,
    ) -> ChatText:
        """A conversation as the model was trained to see it, for `encode`.

        Args:
            messages: `{"role": "user" | "assistant" | "system" | "tool", "content": text}`, in order.
            tools: JSON schemas of functions that the model may call.
            documents: `{"title": ..., "text": ...}`, for models that answer from them.
            add_generation_prompt: end with what begins an answer.
            template: one of `named_templates`. By default `tool_use` where there are tools and that template,
                else `chat_template`.
            variables: further names that the template reads, such as `enable_thinking`.

        Raises:
            ConfigError: this model has no chat template, or its template refuses these messages.
        """
        return render(
            self._template(template, tools is not None),
            messages,
            tools=tools,
            documents=documents,
            add_generation_prompt=add_generation_prompt,
            variables={**self.special, **variables},
        )

    def _template(self, name: str | None, tools: bool) -> str:
        if name is None and tools and "tool_use" in self.named_templates:
            name = "tool_use"
        if name is not None and name in self.named_templates:
            return self.named_templates[name]
        if name not in (None, "default"):
            raise ConfigError(f"no chat template {name!r}; there are {sorted(self.named_templates)}")
        if self.chat_template is not None:
            return self.chat_template
        if self.named_templates:
            raise ConfigError(f"no default chat template; choose one of {sorted(self.named_templates)}")
        raise ConfigError("this model has no chat template; give it text to complete instead")

    def _around(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        encoding = self.backend.encode("a", add_special_tokens=True)
        ids, added = encoding.ids, encoding.special_tokens_mask
        first = next((i for i, mark in enumerate(added) if not mark), len(ids))
        last = next((i for i in range(len(ids), first, -1) if not added[i - 1]), first)
        return tuple(ids[:first]), tuple(ids[last:])

    def _known(self, ids: list[int]) -> list[int]:
        """The ids, each one a row of the embedding."""
        end = 1 << 32 if self.vocabulary is None else self.vocabulary
        wrong = next((token for token in ids if not 0 <= token < end), None)
        if wrong is None:
            return ids
        text = self.backend.id_to_token(wrong) if 0 <= wrong < 1 << 32 else None
        named = "" if text is None else f" ({text})"
        raise ConfigError(f"token {wrong}{named} is outside the model's vocabulary of {end}")


def _common(first: str, second: str) -> int:
    """How many characters both begin with."""
    if second.startswith(first):
        return len(first)
    pairs = enumerate(zip(first, second, strict=False))
    return next((i for i, (one, other) in pairs if one != other), min(len(first), len(second)))


class TextStream:
    """Decodes ids as they come: a character whose bytes lie in several tokens waits for the last of them.

    Attributes:
        text: the answer so far, without an unfinished character.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int] = ()) -> None:
        self._tokenizer, self._prompt = tokenizer, list(prompt)
        self._ids: list[int] = []
        self._shown = 0
        self.text = ""

    def feed(self, token: int) -> str:
        """The text that one more id completes; empty where its character is unfinished."""
        self._ids.append(token)
        text = self._tokenizer.decode_after(self._prompt, self._ids)
        if text.endswith("\ufffd"):
            return ""
        self.text = text
        # What comes next may take out a space.
        return self._advance(text.rfind(" ") if self._tokenizer.clean_up else len(text))

    def finish(self) -> str:
        """What is left, unfinished bytes as U+FFFD. All pieces together are `decode_after` of all ids."""
        self.text = self._tokenizer.decode_after(self._prompt, self._ids)
        return self._advance(len(self.text))

    def _advance(self, end: int) -> str:
        end = max(end, self._shown)
        piece, self._shown = self.text[self._shown : end], end
        return piece
