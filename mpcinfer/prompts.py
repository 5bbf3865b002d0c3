"""Where prompts come in: texts as tokens that the model has, and as many as a session has room for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parties.errors import ConfigError

if TYPE_CHECKING:  # a command line looks at its text before anything slow is imported
    from mpcinfer.models.model import Model
    from mpcinfer.models.public import PublicModel


def require_text(text: str, what: str = "the prompt") -> None:
    """Raises ConfigError where a text is not Unicode: half of a pair, or bytes that were read as no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        wrong = ord(text[error.start])
        said = f"byte 0x{wrong - 0xDC00:02x}" if 0xDC80 <= wrong <= 0xDCFF else f"U+{wrong:04X}"
        raise ConfigError(f"{what} is not UTF-8: {said} after {error.start:,} characters") from None


def prompt_ids(model: PublicModel | Model, text: str) -> list[int]:
    """A prompt's token ids.

    Raises:
        ConfigError: it is not Unicode, has no tokens, or one that the model has no row for.
    """
    require_text(text)
    ids = model.tokenizer.encode(text)
    if not ids:
        raise ConfigError("the prompt has no tokens")
    outside = next((token for token in ids if token >= model.config.vocabulary), None)
    if outside is not None:
        said = model.tokenizer.backend.id_to_token(outside)
        raise ConfigError(
            f"the prompt has token {outside} ({said!r}), and {model.name} has rows for "
            f"{model.config.vocabulary:,} tokens: its tokenizer has more than the model. Leave that "
            "token out"
        )
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
