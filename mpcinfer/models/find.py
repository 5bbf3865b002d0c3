"""Where a model's files are, by name or path; nothing of them is loaded."""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass
from pathlib import Path

from mpcinfer.models.fields import Fields
from mpcinfer.models.folder_config import is_model_folder
from mpcinfer.models.patterns_file import PatternsFile
from mpcinfer.models.unpacked import unpacked
from mpcinfer.models.zoo import ZooEntry, zoo
from parties.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Found:
    """A model's files.

    Attributes:
        path: a `.gguf` file, one of our model folders, or a Hugging Face folder.
        name: as it was asked for.
        entry: what is known of it by that name; None for a path.
    """

    path: Path
    name: str
    entry: ZooEntry | None


def find_model(name_or_path: str | Path) -> Found:
    """The files of a model that can be run.

    Args:
        name_or_path: a name from `zoo()`, one of our model folders, a Hugging Face folder, a `.gguf` file, or
            a file of key patterns, which says of which model. A name wins over a path spelt alike; write
            `./gpt2` for the path.

    Raises:
        ConfigError: no such model (near names are listed), only its shape is known, or its weights are not
            installed.
    """
    if (sparse := PatternsFile.of(name_or_path)) is not None:
        return dataclasses.replace(find_model(sparse.base), name=str(name_or_path))
    entry = zoo().get(name := str(name_or_path))
    return Found(find_path(name_or_path) if entry is None else _files(entry), name, entry)


def find_path(name_or_path: str | Path) -> Path:
    """A path that is a `.gguf` file or a model folder of either kind; raises ConfigError for any other."""
    path = Path(name_or_path)
    if path.is_dir():
        if is_model_folder(path) or is_huggingface_folder(path):
            return path
        raise ConfigError(
            f"{path} is no model folder: it has no config.json of ours or of Hugging Face's form"
        )
    if path.is_file():
        if path.suffix == ".gguf":
            return path
        raise ConfigError(f"{path} is no model: expected a folder, a .gguf file, or .json of key patterns")
    known = zoo()
    near = difflib.get_close_matches(str(name_or_path).lower(), known, n=3)
    hint = f"did you mean {', '.join(near)}?" if near else f"known names: {', '.join(known)}"
    raise ConfigError(f"no model named {str(name_or_path)!r}, and no such path; {hint}")


def is_huggingface_folder(folder: Path) -> bool:
    """Whether a folder has a `config.json` that names a `model_type`."""
    path = folder / "config.json"
    return path.is_file() and "model_type" in Fields.of_file(path).values


def _files(entry: ZooEntry) -> Path:
    """Where a named model's weights are; raises ConfigError where they are not."""
    if entry.files is not None:
        return unpacked(entry.files, entry.name) if entry.files.suffix == ".zip" else entry.files
    if entry.command:
        raise ConfigError(
            f"the weights of {entry.name} are not installed; install them with: {entry.command}"
        )
    raise ConfigError(f"{entry.name} is known by its shape only and has no weights to run; it can be billed")
