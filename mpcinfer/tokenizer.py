"""Text to token ids and back, and the chat template that wraps a question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import jinja2.sandbox
import tokenizers

from parties.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenizer:
    """A byte-level BPE with its special ids.

    Attributes:
        backend: the `tokenizers` object that does the work.
        bos: id put before every prompt, or None.
        stop: ids that end an answer.
        chat_template: Jinja2 source over `messages` and `add_generation_prompt`, or None for a plain
            completion model.
    """

    backend: tokenizers.Tokenizer
    bos: int | None = None
    stop: frozenset[int] = field(default_factory=frozenset[int])
    chat_template: str | None = None

    def encode(self, text: str) -> list[int]:
        """Token ids of a text as it stands; special tokens written in it become their ids."""
        ids = list(self.backend.encode(text, add_special_tokens=False).ids)
        return ids if self.bos is None else [self.bos, *ids]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, special tokens left out."""
        return self.backend.decode(list(ids), skip_special_tokens=True)

    def chat(self, messages: Sequence[dict[str, str]]) -> str:
        """A conversation as the model was trained to see it, ready for the answer.

        Args:
            messages: `{"role": "user" | "assistant" | "system", "content": text}`, in order.

        Raises:
            ConfigError: this model has no chat template.
        """
        if self.chat_template is None:
            raise ConfigError("this model has no chat template; give it text to complete instead")
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        template = environment.from_string(self.chat_template)
        return template.render(messages=list(messages), add_generation_prompt=True)
