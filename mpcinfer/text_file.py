"""Texts of users and of models, which are Unicode, and UTF-8 in files."""

from __future__ import annotations

from pathlib import Path

from parties.errors import ConfigError


def read_text_file(path: Path) -> str:
    """A file's text.

    Raises:
        ConfigError: it cannot be read, or is not UTF-8; the message names the byte.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        wrong = error.object[error.start]
        raise ConfigError(f"{path} is not UTF-8: byte {error.start} is {wrong:#04x}") from error


def require_text(text: str, what: str = "the text") -> None:
    """Raises ConfigError where a text is not Unicode: half of a pair, or bytes that were read as no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        wrong = ord(text[error.start])
        said = f"byte 0x{wrong - 0xDC00:02x}" if 0xDC80 <= wrong <= 0xDCFF else f"U+{wrong:04X}"
        raise ConfigError(f"{what} is not UTF-8: {said} after {error.start:,} characters") from None
