"""Where prompts come in: texts as tokens that the model has, and as many as a session has room for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpcinfer.text_file import require_text
from parties.errors import ConfigError

if TYPE_CHECKING:  # a command line looks at its text before anything slow is imported
    from mpcinfer.models.model import Model
    from mpcinfer.models.public import PublicModel


def prompt_ids(model: PublicModel | Model, text: str, what: str = "the prompt") -> list[int]:
    """A prompt's token ids.

    Args:
        what: what an error calls it.

    Raises:
        ConfigError: it is not Unicode, has no tokens, or one that the model has no row for.
    """
    require_text(text, what)
    ids = model.tokenizer.encode(text)
    if not ids:
        raise ConfigError(f"{what} has no tokens")
    return ids


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
