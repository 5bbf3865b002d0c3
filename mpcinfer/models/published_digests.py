"""The digests in a published folder, and whether its files are still those that were published."""

from __future__ import annotations

import hashlib
from pathlib import Path

from mpcinfer.models.folder_config import json_object, read_file
from parties.errors import ConfigError

DIGESTS_FILE = "digests.json"


def file_digest(content: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()


def require_as_published(folder: Path) -> None:
    """Whether the files of a folder are those that its `digests.json` names; a folder without one passes.

    Raises:
        ConfigError: naming the file that differs, or that cannot be read.
    """
    source = folder / DIGESTS_FILE
    if not source.exists():
        return
    files: object = json_object(source).get("files")
    if not isinstance(files, dict):
        raise ConfigError(f"{source}: files must be an object of digests")
    for name, digest in files.items():  # pyright: ignore[reportUnknownVariableType]
        if not isinstance(name, str) or Path(name).name != name:
            raise ConfigError(f"{source}: {name!r} is no file of this folder")
        if file_digest(read_file(folder / name)) != digest:
            raise ConfigError(
                f"{folder / name} is not the file that {DIGESTS_FILE} names: it was changed after it was "
                "published; ask for the folder again"
            )
