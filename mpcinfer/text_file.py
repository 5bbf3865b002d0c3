"""Text files of users and of models, which are UTF-8."""

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
