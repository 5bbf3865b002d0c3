"""Model folders that wheels carry as an archive: unpacked once into the user's cache."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from pathlib import Path

from parties.errors import ConfigError
from parties.kernel_cache import cache_root, own_folder


def unpacked(archive: Path, name: str) -> Path:
    """The folder of an archive's files, in `models/NAME-SIZE` of the cache; made where it is not there.

    Raises:
        ConfigError: it is no archive, it has a path that leads out of the folder, or the cache is not the
            user's alone.
    """
    models = own_folder(cache_root() / "models")
    folder = models / f"{name}-{archive.stat().st_size}"
    if folder.is_dir():
        return folder
    part = Path(tempfile.mkdtemp(dir=models))
    try:
        with zipfile.ZipFile(archive) as packed:
            for entry in packed.namelist():
                if Path(entry).is_absolute() or ".." in Path(entry).parts:
                    raise ConfigError(f"{archive}: {entry} leads out of the folder")
            packed.extractall(part)
        os.replace(part, folder)
    except zipfile.BadZipFile as error:
        raise ConfigError(f"{archive} is no archive: {error}") from error
    except OSError:
        if not folder.is_dir():  # another process was faster
            raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder
