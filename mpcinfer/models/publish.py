"""A folder with what a client may have of a model: our model folder without weights, and digests.

config.json, tokenizer.json, tokenizer_config.json, ranges.json
                        as in a model folder (`mpcinfer.models.folder`)
digests.json            the model's digest (`model`), and the SHA-256 of each of these files (`files`)
"""

from __future__ import annotations

import json
from pathlib import Path

from mpcinfer.models.folder import (
    TOKENIZER_CONFIG_FILE,
    TOKENIZER_FILE,
    replace_file,
)
from mpcinfer.models.folder_config import CONFIG_FILE, RANGES_FILE
from mpcinfer.models.public import PublicModel
from mpcinfer.models.published_digests import DIGESTS_FILE, file_digest
from mpcinfer.models.stored_tokenizer import settings_of
from parties.errors import ConfigError

PUBLISHED_FILES = (TOKENIZER_FILE, TOKENIZER_CONFIG_FILE, RANGES_FILE, DIGESTS_FILE, CONFIG_FILE)


def publish(public: PublicModel, folder: Path) -> str:
    """Writes a model's public part; the configuration last, so that half a folder does not load.

    Args:
        public: calibrated.
        folder: is made; an earlier publication in it is replaced.

    Returns:
        The model's digest, 64 hex digits, which a client may pin.

    Raises:
        ConfigError: the model was never calibrated, or the folder has files of something else.
    """
    if not public.ranges:
        raise ConfigError(f"{public.name} was never calibrated: run `mpcinfer calibrate` before `publish`")
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is no folder")
    other = sorted({each.name for each in folder.glob("*")} - set(PUBLISHED_FILES))
    if other:
        raise ConfigError(
            f"{folder} has {other[0]}, which is no part of a publication: name a folder of its own, which "
            "can be given away as it is"
        )
    digest = public.digest()
    labels = {"labels": list(public.labels)} if public.labels else {}
    contents = {
        TOKENIZER_FILE: public.text(),
        TOKENIZER_CONFIG_FILE: _json({**settings_of(public.tokenizer), **labels}),
        RANGES_FILE: _json(dict(public.ranges)),
        CONFIG_FILE: _json(public.config.to_json()),
    }
    digests = {"model": digest, "files": {name: file_digest(raw) for name, raw in contents.items()}}
    contents[DIGESTS_FILE] = _json(digests)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).unlink(missing_ok=True)
    for name in PUBLISHED_FILES:
        _write(folder / name, contents[name])
    return digest


def _write(target: Path, content: bytes) -> None:
    replace_file(target, lambda part: part.write_bytes(content))


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()
