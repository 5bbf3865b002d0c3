"""Embeddings of sentences in private next to those in float, and what a sentence costs.

    python -m bench.sentences --count 200
    python -m bench.sentences --count 50 --plan crypten

Sentences are those of this repository's pages, of 4 to 60 words. Every vector has length 1. Of each sentence
the nearest of all others is looked up twice: by its private vector, and by its float vector, among float
vectors.
"""

from __future__ import annotations

import argparse
import re
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

from mpcinfer.clear import ClearModel
from mpcinfer.models.load import load_model
from mpcinfer.roles.together import private

_PAGES = Path(__file__).parent.parent / "docs"
_WORDS = range(4, 61)


def sentences(count: int) -> list[str]:
    """So many sentences of the pages, spread over all of them; no two are the same."""
    found: dict[str, None] = {}
    for page in sorted(_PAGES.rglob("*.md")):
        text = re.sub(r"```.*?```|^[|#].*?$", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
        for sentence in re.split(r"(?<=[.!?])\s+|\n\s*\n", text):
            plain = " ".join(re.sub(r"[`*\[\]]|\(http\S*\)", "", sentence).split())
            if len(plain.split()) in _WORDS:
                found[plain] = None
    kept = list(found)
    step = max(1, len(kept) // count)
    return kept[::step][:count]


def nearest(queries: torch.Tensor, library: torch.Tensor) -> torch.Tensor:
    """For each query, of whose rows in the library its own is left out, the nearest row [n]."""
    similar = queries @ library.T
    return similar.fill_diagonal_(-1.0).argmax(-1)


def compare(model: str, plan: str, texts: Sequence[str], console: Console) -> None:
    """Runs both and prints."""
    expected = ClearModel(load_model(model)).embed(texts)
    seconds: list[float] = []
    vectors: list[torch.Tensor] = []
    with private(model, plan=plan, timeout_s=600.0) as client:
        for text in texts:
            start = time.perf_counter()
            vectors.append(client.embed([text])[0])
            seconds.append(time.perf_counter() - start)
        bill = client.finish()
    got, total = torch.stack(vectors), bill.total
    cosines = (got * expected).sum(-1)
    same = nearest(got, expected) == nearest(expected, expected)
    online = (total.online_bytes_to_server + total.online_bytes_to_client) / len(texts)
    offline = (total.offline_bytes_to_server + total.offline_bytes_to_client) / len(texts)
    console.print(f"{model}, plan {plan}, {len(texts)} sentences, one after the other")
    console.print(f"cosine to float: least {float(cosines.min()):.6f}, mean {float(cosines.mean()):.6f}")
    console.print(f"nearest neighbour as in float: {int(same.sum())} of {len(texts)}")
    console.print(
        f"a sentence: {total.rounds / len(texts):.0f} rounds, {online / 1e6:.2f} MB online, "
        f"{offline / 1e6:.2f} MB offline, {statistics.median(seconds):.2f} s (median, dealing included); "
        f"setup {total.setup_bytes / 1e6:.1f} MB"
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="minilm-l6")
    parser.add_argument("--plan", default="fss")
    parser.add_argument("--count", type=int, default=200)
    options = parser.parse_args()
    compare(options.model, options.plan, sentences(options.count), Console())


if __name__ == "__main__":
    main()
