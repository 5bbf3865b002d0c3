"""A text that both parties may know, such as a system prompt: run in the clear at the server, once.

The text before every prompt of a session is the prefix and then the prompt. Where they meet, tokens meet: the
prefix's tokens are those of the whole text's beginning, so that a private run over the prefix is the run over
the whole text. What the tokenizer puts before a text stands before the prefix alone, what it puts after one
comes after the prompt.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mpcinfer.prompts import Text, prompt_ids
from parties.errors import ConfigError

if TYPE_CHECKING:  # a command line looks at its text before anything slow is imported
    from mpcinfer.chat_template import ChatText
    from mpcinfer.models.public import PublicModel

_ANYTHING = "?"
"""Stands for a question that is not known yet."""


@dataclass(frozen=True, slots=True)
class PublicPrefix:
    """What comes before every prompt of a session, the same at both parties.

    Attributes:
        text: a `ChatText` where it spells its special tokens itself.
        ids: its tokens; at least one.
    """

    text: str
    ids: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def agreement(self) -> str:
        """What both parties must say of it: how many tokens, and the SHA-256 of their ids."""
        digest = hashlib.sha256(",".join(map(str, self.ids)).encode()).hexdigest()
        return f"public prefix of {len(self)} tokens, {digest}"

    def before(self, public: PublicModel, prompt: str) -> list[int]:
        """Token ids of the whole text: the prefix's, then the prompt's.

        Args:
            prompt: what comes after the prefix; or, as `Tokenizer.chat` makes it, a whole conversation, which
                begins with the prefix.

        Raises:
            ConfigError: nothing comes after the prefix, the tokenizer joins its end and the beginning of the
                prompt to one token, or a conversation begins otherwise. As `prompt_ids`.
        """
        from mpcinfer.chat_template import ChatText

        if isinstance(prompt, ChatText):
            if not (isinstance(self.text, ChatText) and prompt.startswith(self.text)):
                raise ConfigError(
                    "the conversation does not begin with the public prefix as its system message"
                )
            whole: str = prompt
        else:
            whole = self.text + prompt
            whole = ChatText(whole) if isinstance(self.text, ChatText) else whole
        if whole == self.text:
            raise ConfigError("the prompt after the public prefix has no tokens")
        ids = prompt_ids(public, whole)
        if tuple(ids[: len(self)]) != self.ids:
            raise ConfigError(
                "the end of the public prefix and the beginning of the prompt are one token of this "
                "tokenizer: end the prefix elsewhere, without a space or in a line of its own"
            )
        return ids

    def after(self, public: PublicModel, prompt: str) -> list[int]:
        """Token ids of the prompt alone, which are run privately; errors as `before`."""
        return self.before(public, prompt)[len(self) :]


@dataclass(frozen=True, slots=True)
class PrefixText:
    """A prefix as it is given, before there is a tokenizer.

    Attributes:
        text: not empty.
        system: it is the system message of the model's chat template; otherwise the text as it stands.
    """

    text: str
    system: bool = False

    def __post_init__(self) -> None:
        if not self.text:
            raise ConfigError("the public prefix is empty: leave it out")

    def of(self, public: PublicModel) -> PublicPrefix:
        """The prefix for a model.

        Raises:
            ConfigError: a text without tokens, a model that does not continue texts, or a chat template
                that cannot be cut after a system message.
        """
        config = public.config
        if not config.causal or config.head != "vocabulary":
            raise ConfigError(
                f"public prefix: {public.name} reads whole texts, every token of which sees all others; a "
                "prefix is for models that continue texts"
            )
        text = self._as_system(public) if self.system else self.text
        ids = prompt_ids(public, text, "the public prefix")
        if not self.system and (added := len(public.tokenizer.suffix)):
            ids = ids[:-added]
        if not ids:
            raise ConfigError("the public prefix has no tokens")
        if len(ids) >= config.context:
            raise ConfigError(
                f"the public prefix of {len(ids):,} tokens leaves no room in the model's context of "
                f"{config.context:,}"
            )
        return PublicPrefix(text, tuple(ids))

    def _as_system(self, public: PublicModel) -> ChatText:
        """What every conversation with this system message begins with."""
        template, message = public.tokenizer.chat, {"role": "system", "content": self.text}
        alone = template([message], add_generation_prompt=False)
        asked = template([message, {"role": "user", "content": _ANYTHING}])
        if self.text not in alone or not asked.startswith(alone):
            raise ConfigError(
                f"public prefix: the chat template of {public.name} does not begin conversations with what "
                "it makes of their system message alone"
            )
        return alone


def private_tokens(public: PublicModel, prefix: PublicPrefix | None, text: Text) -> int:
    """How many tokens of a first text are run privately; errors as `prompt_ids` and `PublicPrefix.before`."""
    if prefix is None or isinstance(text, tuple):
        return len(prompt_ids(public, text))
    return len(prefix.after(public, text))


def require_one_prefix(public_prefix: object | None) -> None:
    """For sessions with a prefix adapter.

    Raises:
        ConfigError: there is a public prefix, too: the server's clear run of it has not seen the adapter.
    """
    if public_prefix is not None:
        raise ConfigError(
            "a public prefix and a prefix adapter: the server runs the one in the clear and cannot see the "
            "other there; take one of them"
        )
