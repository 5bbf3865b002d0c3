"""`mpcinfer embed` and `mpcinfer classify`: the texts' owner, and a model that reads them whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import typer
from rich.console import Console

from mpcinfer.cli import options
from mpcinfer.cli.lengths import wanted_lengths
from mpcinfer.cli.option_groups import takes
from mpcinfer.cli.options import Local
from mpcinfer.cli.texts import asked_text
from mpcinfer.models.batch import MOST_PROMPTS, Batch
from mpcinfer.text_file import read_text_file
from parties.errors import ConfigError
from protocols.plan import DEFAULT_PLAN

if TYPE_CHECKING:
    from mpcinfer.models.kinds import HeadKind
    from mpcinfer.models.public import PublicModel
    from mpcinfer.prompts import Text
    from mpcinfer.turn import ChatModel
    from parties.bill import Bill

SMALL_ENCODER = "minilm-l6"


class Texts(TypedDict):
    """What is read."""

    texts: Annotated[list[str], typer.Argument(help="Texts; - takes lines of standard input, a text each.")]
    file: Annotated[Path, typer.Option(help="A file of texts, one a line, besides.")]
    batch: Annotated[
        int,
        typer.Option(
            min=1,
            max=MOST_PROMPTS,
            metavar="N",
            help="Texts that every pass reads together, in the rounds of one; one where left out.",
        ),
    ]
    equal_lengths: options.EqualLengths


class PairedTexts(Texts):
    """What is read, two texts at a time where there are second ones."""

    pair: Annotated[
        list[str],
        typer.Option(
            "--pair",
            metavar="TEXT",
            help="A second text, for models that compare two: the first --pair goes with the first text, and "
            "so on; - takes lines of standard input.",
        ),
    ]
    pair_file: Annotated[Path, typer.Option(help="A file of second texts, one a line, besides.")]


class Where(TypedDict):
    """By which model, and where it runs."""

    model: Annotated[
        str,
        typer.Option(
            help="A name from `mpcinfer models`, or a path; left out, with --server, what the server says of "
            "its own."
        ),
    ]
    digest: Annotated[
        str,
        typer.Option(metavar="SHA256", help="The model must be the one that this digest names."),
    ]
    local: Annotated[
        Local,
        typer.Option(
            help="No server: 'plain' in float, 'fixed' in fixed point, both without privacy; 'private' "
            "starts all parties as processes on this machine."
        ),
    ]
    server: Annotated[str, typer.Option(help="The server's endpoint, tcp://host:port.")]
    server_key: Annotated[Path, typer.Option(help="The server's .public file.")]
    dealer: Annotated[str, typer.Option(help="The dealer's endpoint; tcp://127.0.0.1:7102 where left out.")]
    dealer_key: Annotated[Path, typer.Option(help="The dealer's .public file.")]
    correlations: Annotated[
        Path, typer.Option(help="A folder that `mpcinfer deal` made, instead of a dealer.")
    ]
    key: Annotated[Path, typer.Option(help="The client's .secret file.")]
    plan: Annotated[str, typer.Option(help="Which protocols; the same at both parties.")]
    choices: Annotated[list[str], typer.Option("--set", help="Another protocol for an operation.")]
    max_context: Annotated[int, typer.Option(min=1, help="The most tokens of a text.")]
    buckets: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            help="Pad texts to the next of these numbers of tokens, or `default`; left out, with --server, "
            "what the server asks for.",
        ),
    ]
    exact_lengths: Annotated[
        bool,
        typer.Option("--exact-lengths", help="No padding: the server learns how many tokens a text has."),
    ]
    check_ranges: Annotated[bool, typer.Option("--check-ranges", help="As for `generate`.")]
    timeout: Annotated[float, typer.Option(help="Longest wait for a peer's next message, in seconds.")]


class Shown(TypedDict):
    """What is printed."""

    layers: Annotated[bool, typer.Option("--layers", help="The bill by layer, too.")]
    labels: Annotated[bool, typer.Option("--labels", help="The bill label by label, too.")]
    as_json: Annotated[bool, typer.Option("--json", help="Numbers and bill as JSON.")]


@takes({None: Texts, "Where": Where, "Output": Shown})
def embed(**given: Any) -> None:
    """A vector of every text, from a model on another machine, or locally.

    The texts never leave this process in the clear, and the vectors are visible here only. The server learns
    how many tokens each text has; with --batch, the longest of every pass. Vectors have length 1; a line
    shows the first numbers of each and, from two texts on, its cosine with the first.

    [bold]Examples[/bold]

        mpcinfer embed "Where is my order?" "How do I reset my password?" --local private
        mpcinfer embed --file FILE --batch 8 --local private
        mpcinfer embed --file FILE --local plain --json
    """
    texts = _texts(given)
    with _running(given, texts, "embedding") as (runner, finished):
        vectors = runner.embed(texts)
        bill = finished()
    if given.get("as_json"):
        _print_json({"embeddings": vectors.tolist()}, bill)  # pyright: ignore[reportUnknownMemberType]
        return
    console = Console(highlight=False)
    for text, vector in zip(texts, vectors, strict=True):
        first = ", ".join(f"{float(number):+.4f}" for number in vector[:4])
        beside = f"  {float(vector @ vectors[0]):+.3f}" if len(texts) > 1 else ""
        console.print(f"{len(vector)} numbers: {first}, ...{beside}  {text}", markup=False, soft_wrap=True)
    _print_bill(given, bill)


@takes({None: PairedTexts, "Where": Where, "Output": Shown})
def classify(**given: Any) -> None:
    """The label of every text, from a classifier on another machine, or locally.

    The texts never leave this process in the clear, and the scores are visible here only. The server learns
    how many tokens each text has; of a pair, how many both have together; with --batch, the longest of every
    pass.

    [bold]Examples[/bold]

        mpcinfer classify "What a fine film." --model MODEL --local private
        mpcinfer classify "A man sleeps." --pair "Nobody is awake." --model MODEL --local private
        mpcinfer classify --file FILE --model MODEL --local plain --json
    """
    texts = _paired(_texts(given), given)
    if "model" not in given and "server" not in given:
        raise ConfigError("say which classifier: --model MODEL, such as a folder for sequence classification")
    with _running(given, texts, "classes") as (runner, finished):
        found = runner.classify(texts)
        bill = finished()
    if given.get("as_json"):
        rows = found.logits.tolist()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        _print_json({"labels": found.labels, "logits": rows, "best": found.best}, bill)
        return
    console = Console(highlight=False)
    for text, label, chances in zip(texts, found.best, found.probabilities, strict=True):
        shown = " | ".join(text) if isinstance(text, tuple) else text
        console.print(f"{label} {float(chances.max()):.1%}  {shown}", markup=False, soft_wrap=True)
    _print_bill(given, bill)


def _texts(given: dict[str, Any]) -> list[str]:
    """Of the command line, standard input and a file.

    Raises:
        ConfigError: there are none, or a file cannot be read.
    """
    texts = _given_texts(given.get("texts", []), given.get("file"))
    if not texts:
        raise ConfigError("give texts, - for standard input, or --file")
    return texts


def _paired(texts: list[str], given: dict[str, Any]) -> list[Text]:
    """Texts, each with its second one where there are any.

    Raises:
        ConfigError: there are not as many, or a file cannot be read.
    """
    seconds = _given_texts(given.get("pair", []), given.get("pair_file"))
    if not seconds:
        return list(texts)
    if len(seconds) != len(texts):
        raise ConfigError(f"--pair: {len(texts)} texts and {len(seconds)} second ones; give one for each")
    return list(zip(texts, seconds, strict=True))


def _given_texts(arguments: list[str], file: Path | None) -> list[str]:
    texts: list[str] = []
    for text in arguments:
        texts += _lines(asked_text(text)) if text == "-" else [asked_text(text)]
    return texts if file is None else texts + _lines(read_text_file(file))


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


@contextmanager
def _running(
    given: dict[str, Any], texts: Sequence[Text], head: HeadKind
) -> Generator[tuple[ChatModel, Callable[[], Bill | None]]]:
    """The model, and what ends its session and gives the bill, where there is one."""
    from mpcinfer.cli.connecting import Parties, running
    from mpcinfer.cli.progress import Waiting
    from mpcinfer.models.load import load_public
    from mpcinfer.prompts import prompt_ids
    from mpcinfer.reading import require_head

    if "model" in given:  # nobody should be started for a model that cannot do it
        require_head(load_public(given["model"]), head)
    bar = Waiting()
    batch = Batch.of(given.get("batch", 1), equal_lengths=given.get("equal_lengths", False))

    def longest(public: PublicModel) -> Text:
        return max(texts[: batch.size], key=lambda text: len(prompt_ids(public, text, "a text")))

    parties = Parties(
        server=given.get("server"),
        server_key=given.get("server_key"),
        dealer=given.get("dealer", "tcp://127.0.0.1:7102"),
        dealer_key=given.get("dealer_key"),
        correlations=given.get("correlations"),
        key=given.get("key"),
        timeout_s=given.get("timeout", 60.0),
        insecure_dealer=False,
        on_progress=bar.show,
        max_context=given.get("max_context"),
        prompt=longest,
        digest=given.get("digest"),
        check_ranges=given.get("check_ranges", False),
        batch=batch,
        lengths=wanted_lengths(
            given.get("buckets"), given.get("local"), exact=given.get("exact_lengths", False)
        ),
    )
    plan, choices = given.get("plan", DEFAULT_PLAN), given.get("choices", [])
    where = (given.get("model"), SMALL_ENCODER, given.get("local"), plan, choices, parties)
    with closing(bar), running(*where) as runner:
        from mpcinfer.roles.client import PrivateClient

        def finished() -> Bill | None:
            return runner.finish() if isinstance(runner, PrivateClient) else None

        yield runner, finished


def _print_json(found: dict[str, Any], bill: Bill | None) -> None:
    typer.echo(json.dumps({**found, "bill": None if bill is None else bill.to_json()}, indent=2))


def _print_bill(given: dict[str, Any], bill: Bill | None) -> None:
    from mpcinfer.cli.tables import print_bill

    if bill is not None:
        console = Console(stderr=True)
        print_bill(console, bill, layers=given.get("layers", False), labels=given.get("labels", False))
