"""Training text: found, cleaned, de-duplicated, and split by content, the same way on any machine."""

from __future__ import annotations

import hashlib
import re
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from parties.errors import ConfigError

PYTHON = "python"  # the data source that is on every machine
SMALLEST_FILE_BYTES, LARGEST_FILE_BYTES = 200, 150_000
LONGEST_LINE = 300
PACKAGE_BYTES = 6_000_000
HELD_OUT_PERCENT = 2

_SKIPPED_FOLDERS = frozenset(
    {"test", "tests", "testing", "idle_test", "site-packages", "pydoc_data", "encodings", "__pycache__"}
)
_GENERATED = re.compile(
    r"auto-?generated|automatically generated|generated (by|from)|do not edit", re.IGNORECASE
)
_LICENCE = re.compile(r"licen[cs]e|copyright|all rights reserved", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Document:
    """One file's text (line ends are newlines) and the SHA-256 of it, in hex."""

    text: str
    digest: str

    @staticmethod
    def of(text: str) -> Document:
        """The document of a text."""
        return Document(text, hashlib.sha256(text.encode()).hexdigest())


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Documents to train on and documents held out, each ordered by digest, none in both.

    Attributes:
        digest: sixteen hex digits over every document's digest and side; names the data of a run.
    """

    train: list[Document]
    held_out: list[Document]
    digest: str


def load_split(source: str) -> Split:
    """Documents of a data source, split.

    Args:
        source: `python` for the Python files of this interpreter's standard library and installed packages;
            else the path of a text file or of a folder, whose `.py`, `.txt` and `.md` files are taken as
            they are.

    Raises:
        ConfigError: no such path, or fewer than two different documents in it.
    """
    texts = python_sources() if source == PYTHON else folder_texts(Path(source))
    return split_documents(texts)


def split_documents(texts: Iterable[str]) -> Split:
    """Drops repeated texts and holds out those whose digest, as a number, is in the lowest 2 percent.

    A document's side depends on its own text alone, so adding documents moves none. Where no digest falls
    that low the lowest one is held out.

    Raises:
        ConfigError: fewer than two different documents.
    """
    documents = {document.digest: document for document in map(Document.of, texts)}
    if len(documents) < 2:
        raise ConfigError(f"training data needs at least 2 different documents, got {len(documents)}")
    ordered = [documents[digest] for digest in sorted(documents)]
    limit = (HELD_OUT_PERCENT << 32) // 100
    count = sum(int(document.digest[:8], 16) < limit for document in ordered)
    held_out, train = ordered[: max(count, 1)], ordered[max(count, 1) :]
    if not train:
        raise ConfigError("every document of the training data fell to the held-out side")
    lines = [f"held-out {d.digest}" for d in held_out] + [f"train {d.digest}" for d in train]
    return Split(
        train=train, held_out=held_out, digest=hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
    )


def folder_texts(path: Path) -> Iterator[str]:
    """The text of one file, or of every `.py`, `.txt` and `.md` file under a folder that is UTF-8."""
    if path.is_file():
        files = [path]
    elif path.is_dir():
        files = sorted(file for end in ("py", "txt", "md") for file in path.rglob(f"*.{end}"))
    else:
        raise ConfigError(f"no training data at {path}: expected a file, a folder, or the word {PYTHON!r}")
    yield from (text for text in map(_read_text, files) if text)


def python_sources() -> Iterator[str]:
    """Python files of the standard library and of installed packages, at most 6 MB of each package.

    Left out: tests, character tables, generated or minified files, the very small and the very large.
    Licence headers are cut off: the same dozen lines open thousands of files.
    """
    paths = sysconfig.get_paths()
    for root in dict.fromkeys(Path(paths[name]) for name in ("stdlib", "platlib", "purelib")):
        for files in _packages(root).values():
            yield from _within(PACKAGE_BYTES, filter(None, map(_clean_source, files)))


def _packages(root: Path) -> dict[str, list[Path]]:
    """Source files under a folder by its first level: a package, or a module of its own."""
    packages: dict[str, list[Path]] = {}
    for file in sorted(root.rglob("*.py")):
        parts = file.relative_to(root).parts
        if not _SKIPPED_FOLDERS.intersection(parts[:-1]) and not parts[-1].startswith("test_"):
            packages.setdefault(parts[0], []).append(file)
    return packages


def _within(limit_bytes: int, texts: Iterable[str]) -> Iterator[str]:
    """Texts in the order of their digests (as good as shuffled) until they fill the limit."""
    used = 0
    for document in sorted(map(Document.of, texts), key=lambda document: document.digest):
        used += len(document.text.encode())
        if used > limit_bytes:
            return
        yield document.text


def _clean_source(file: Path) -> str | None:
    """A source file's text without its licence header; None for what is not written by hand."""
    text = _read_text(file)
    if text is None or not SMALLEST_FILE_BYTES <= len(text) <= LARGEST_FILE_BYTES:
        return None
    lines = text.splitlines()
    if max(map(len, lines)) > LONGEST_LINE or _GENERATED.search("\n".join(lines[:10])):
        return None
    digits, ascii_characters = sum(map(str.isdigit, text)), sum(map(str.isascii, text))
    if digits > len(text) // 8 or ascii_characters < 0.95 * len(text):
        return None
    return _without_licence("\n".join(lines) + "\n")


def _without_licence(text: str) -> str:
    """Cuts the comment block at the top where it speaks of a licence or of copyright."""
    header = re.match(r"(?:[ \t]*(?:#[^\n]*)?\n)*", text)
    if header is not None and _LICENCE.search(header.group()):
        return text[header.end() :]
    return text


def _read_text(file: Path) -> str | None:
    """A file's text with newlines as line ends; None where it is no readable UTF-8."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
