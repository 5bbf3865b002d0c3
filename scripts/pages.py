"""Lays out the pages of the site: the documents as they are linked here, and a reference of the public names.

    python -m scripts.pages build/pages

Documents link to sources too. Those that are no page are copied as they are, so that no link leads nowhere.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import mpcinfer

ROOT = Path(__file__).resolve().parent.parent


def documents() -> list[Path]:
    """Every page, relative to the repository."""
    patterns = ("*.md", "docs/**/*.md", "examples/README.md")
    return sorted(path.relative_to(ROOT) for pattern in patterns for path in ROOT.glob(pattern))


def linked(document: Path) -> set[Path]:
    """What a page links to within the repository."""
    text = (ROOT / document).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    return {((ROOT / document).parent / link).resolve().relative_to(ROOT) for link in links}


def reference() -> str:
    """A page with every public name, from its docstring."""
    where = {name: f"{getattr(mpcinfer, name).__module__}.{name}" for name in mpcinfer.__all__}
    entries = "\n\n".join(f"::: {path}" for _, path in sorted(where.items()))
    return f"# Reference\n\nWhat `import mpcinfer` gives.\n\n{entries}\n"


def main(out: Path) -> None:
    """Writes the pages into an empty folder."""
    shutil.rmtree(out, ignore_errors=True)
    pages = documents()
    for path in sorted({*pages, *(target for page in pages for target in linked(page))}):
        if (ROOT / path).is_file():
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, out / path)
    (out / "reference.md").write_text(reference(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
