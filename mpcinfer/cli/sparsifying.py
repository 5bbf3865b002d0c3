"""What `mpcinfer sparsify` does: measures, fits, prints, and writes the file."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mpcinfer.cli.progress import Waiting
from mpcinfer.models.load import load_model
from mpcinfer.models.patterns import Patterns
from mpcinfer.models.patterns_file import SUFFIX, save_patterns
from mpcinfer.new_file import require_writable
from mpcinfer.prompts import prompt_ids
from mpcinfer.sparsity.calibrate import LENGTHS, measured, sparse
from mpcinfer.sparsity.fit import fitted_to
from mpcinfer.text_file import read_text_file
from parties.errors import ConfigError


def write_patterns(
    model: str, files: Sequence[Path], out: Path, error: float, lengths: Sequence[int] | None
) -> None:
    """Fits a model's patterns and writes them down; arguments are those of the command."""
    if out.suffix != SUFFIX:
        raise ConfigError(f"--out {out}: a file of key patterns is named {SUFFIX}")
    require_writable(out, "--out")
    fitted_to(error)
    console, loaded = Console(highlight=False), load_model(model)
    texts = [prompt_ids(loaded, read_text_file(path), str(path)) for path in files]
    room = min([loaded.config.context, *(len(text) for text in texts)])
    if lengths is None:
        lengths = [each for each in LENGTHS if each <= room]
        if len(lengths) < 2:
            own = f"--lengths {room // 2},{room}"
            raise ConfigError(f"the shortest text has {room} tokens: a longer one, or {own}")
    with closing(Waiting()) as bar:
        backend = measured(loaded, texts, lengths, _shown(bar, "measuring heads on texts"))
    read = [loaded.tokenizer.decode(text[: max(lengths)]) for text in texts]
    result = sparse(loaded, backend, lengths, error, read)
    save_patterns(out, result, model, error)
    console.print(patterns_table(result.config.patterns))
    seen, every = scores(result.config.patterns, max(lengths)), _every(result.config.patterns, max(lengths))
    console.print(
        f"at {max(lengths)} tokens {seen:,} of {every:,} scores are left ({seen / every:.0%}); "
        f"written to {out}, a model wherever a name is expected",
        soft_wrap=True,
    )


def patterns_table(patterns: Patterns) -> Table:
    """alpha and C of every layer: mean and median over the heads that see keys."""
    table = Table(box=None, header_style="bold")
    for name in ("layer", "alpha, mean", "median", "C, mean", "median", "spread keys", "dropped"):
        table.add_column(name, justify="right")
    for layer, heads in enumerate(patterns):
        kept = [each for each in heads if not each.dropped]
        numbers = ([each.alpha for each in kept], [each.exponent for each in kept])
        cells = [f"{pick(n):.2f}" for n in numbers for pick in (statistics.mean, statistics.median)]
        spread = sum(each.strided > 0 for each in kept)
        table.add_row(str(layer), *cells, str(spread), str(len(heads) - len(kept)))
    return table


def scores(patterns: Patterns, tokens: int) -> int:
    """How many scores are computed for a text of so many tokens."""
    kept = (each for layer in patterns for each in layer if not each.dropped)
    return sum(sum(map(each.budget, range(1, tokens + 1))) for each in kept)


def _every(patterns: Patterns, tokens: int) -> int:
    return sum(map(len, patterns)) * tokens * (tokens + 1) // 2


def _shown(bar: Waiting, what: str) -> Callable[[int, int], None]:
    return lambda done, of: bar.step(what, done, of, f"{done} of {of}")
