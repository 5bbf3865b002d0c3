"""Whether `protocols` and `parties` are those that came with mpcinfer; imported before either is used.

Both are top-level packages with names that others use too. Whatever stands first on `sys.path` wins, and what
another installation wrote into the same folder replaces ours. Either would fail later, with an error that
names neither.
"""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

SIBLINGS = ("protocols", "parties")
_OURS = "mpcinfer"


class ForeignPackageError(ImportError):
    """Somebody else's module has the name of a package of ours."""


def require_siblings() -> None:
    """Finds the packages, and imports only those that stand beside this one.

    Raises:
        ForeignPackageError: another file was found under such a name, or none.
    """
    home = Path(__file__).resolve().parent.parent
    for name in SIBLINGS:
        folder, found = home / name, _found(name)
        if found is None or found.resolve().parent != folder:
            raise ForeignPackageError(_message(name, found, folder), name=name, path=_text(found))
        if getattr(importlib.import_module(name), "PART_OF", None) != _OURS:
            raise ForeignPackageError(
                f"{found} is not mpcinfer's package `{name}`: something else was installed over it. "
                f"Install mpcinfer into a virtual environment without it.",
                name=name,
                path=_text(found),
            )


def _found(name: str) -> Path | None:
    """The file that `import name` would take or has taken; of a folder without __init__.py, the folder."""
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # a module without a spec, put there by hand
        return None
    if spec is None:
        return None
    places = [spec.origin] if spec.has_location else list(spec.submodule_search_locations or ())
    return Path(places[0]) if places and places[0] is not None else None


def _message(name: str, found: Path | None, folder: Path) -> str:
    what = "nothing" if found is None else str(found)
    return (
        f"mpcinfer needs its own package `{name}`, {folder}, but Python finds {what} under that name. "
        f"Rename it, run from another folder, or take it off PYTHONPATH."
    )


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
