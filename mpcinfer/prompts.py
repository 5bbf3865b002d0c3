"""Where prompts come in: texts as tokens that the model has, and as many as a session has room for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpcinfer.text_file import require_text
from parties.errors import ConfigError

if TYPE_CHECKING:  # a command line looks at its text before anything slow is imported
    from mpcinfer.models.model import Model
    from mpcinfer.models.public import PublicModel


Text = str | tuple[str, str]
"""A text, or two in one row, for a model that compares them."""


def prompt_ids(model: PublicModel | Model, text: Text, what: str = "the prompt") -> list[int]:
    """A prompt's token ids, with their types where the model has any (`protocols.typed_tokens`).

    Args:
        what: what an error calls it.

    Raises:
        ConfigError: it is not Unicode, has no tokens, or one that the model has no row for; two texts for a
            model that is no classifier, or more types of tokens than it has.
    """
    ids = _pair_ids(model, *text, what) if isinstance(text, tuple) else _single_ids(model, text, what)
    if not ids:
        raise ConfigError(f"{what} has no tokens")
    return ids


def _single_ids(model: PublicModel | Model, text: str, what: str) -> list[int]:
    require_text(text, what)
    return model.tokenizer.encode(text)


def _pair_ids(model: PublicModel | Model, first: str, second: str, what: str) -> list[int]:
    config = model.config
    if config.head != "classes":
        raise ConfigError(f"{what}: pairs of texts are for classifiers, and {model.name} is none")
    for text in (first, second):
        require_text(text, what)
    pair = model.tokenizer.encode_pair(first, second)
    if config.types == 1:  # the model does not tell them apart otherwise
        return pair.ids
    if max(pair.types, default=0) >= config.types:
        raise ConfigError(
            f"{what}: the tokenizer gives types up to {max(pair.types)}, {model.name} has {config.types}"
        )
    from protocols.typed_tokens import with_types

    return with_types(pair.ids, pair.types, config.vocabulary)


def require_room(tokens: int, max_context: int, context: int) -> None:
    """Whether a prompt leaves room for an answer.

    Args:
        max_context: tokens that the session holds.
        context: tokens that the model holds.

    Raises:
        ConfigError: it does not; says which of the two it is.
    """
    if tokens < max_context:
        return
    if max_context < context:
        raise ConfigError(
            f"the prompt of {tokens:,} tokens leaves no room in the session's maximum context of "
            f"{max_context:,}; the model has {context:,}: ask for more (--max-context N, max_context=N)"
        )
    raise ConfigError(f"the prompt of {tokens:,} tokens leaves no room in the model's context of {context:,}")
