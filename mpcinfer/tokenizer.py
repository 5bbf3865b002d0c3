"""Text to token ids and back, and the chat template that wraps a question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import jinja2
import jinja2.sandbox
import tokenizers

from parties.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenizer:
    """A BPE or WordPiece tokenizer with its special ids.

    Attributes:
        backend: the `tokenizers` object that does the work.
        bos: id put before every prompt, or None.
        suffix: ids put after every text: [SEP] of an encoder.
        stop: ids that end an answer.
        chat_template: Jinja2 source over `messages` and `add_generation_prompt`, or None for a plain
            completion model.
        special: texts that a chat template may ask for by name: `bos_token`, `eos_token`.
    """

    backend: tokenizers.Tokenizer
    bos: int | None = None
    suffix: tuple[int, ...] = ()
    stop: frozenset[int] = field(default_factory=frozenset[int])
    chat_template: str | None = None
    special: Mapping[str, str] = field(default_factory=dict[str, str])

    def encode(self, text: str) -> list[int]:
        """Token ids of a text as it stands; special tokens written in it become their ids."""
        ids = list(self.backend.encode(text, add_special_tokens=False).ids)
        return [*([] if self.bos is None else [self.bos]), *ids, *self.suffix]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens left out."""
        return self.backend.decode(list(ids), skip_special_tokens=True)

    def stream(self) -> TextStream:
        """Text piece by piece, for ids that come one at a time."""
        return TextStream(self)

    def chat(self, messages: Sequence[Mapping[str, str]]) -> str:
        """A conversation as the model was trained to see it, ready for the answer and for `encode`.

        Args:
            messages: `{"role": "user" | "assistant" | "system", "content": text}`, in order.

        Raises:
            ConfigError: this model has no chat template, or its template refuses these messages.
        """
        if self.chat_template is None:
            raise ConfigError("this model has no chat template; give it text to complete instead")
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        names: dict[str, str] = dict(self.special)
        if self.bos is not None:
            names["bos_token"] = ""  # encode puts it there
        try:
            template = environment.from_string(self.chat_template)
            return template.render(
                messages=[dict(message) for message in messages],
                add_generation_prompt=True,
                raise_exception=_refuse_messages,
                **names,
            )
        except jinja2.TemplateError as error:
            raise ConfigError(f"the chat template does not accept these messages: {error}") from error


def _refuse_messages(reason: str) -> NoReturn:
    """What templates call `raise_exception`."""
    raise jinja2.TemplateError(reason)


class TextStream:
    """Decodes ids as they come: a character whose bytes lie in several tokens waits for the last of them."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._shown = ""

    def feed(self, token: int) -> str:
        """The text that one more id completes; empty where its character is unfinished."""
        self._ids.append(token)
        text = self._tokenizer.decode(self._ids)
        return "" if text.endswith("\ufffd") else self._advance(text)

    def finish(self) -> str:
        """What is left, unfinished bytes shown as U+FFFD. All pieces together are `decode` of all ids."""
        return self._advance(self._tokenizer.decode(self._ids))

    def _advance(self, text: str) -> str:
        piece, self._shown = text[len(self._shown) :], text
        return piece
