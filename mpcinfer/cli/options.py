"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mpcinfer.benchmark.network import network_named
from mpcinfer.public_prefix import PrefixText
from mpcinfer.speculation import MOST_DRAFTS
from mpcinfer.text_file import read_text_file
from parties.errors import ConfigError
from parties.shaped import Shape

ASSISTANT, SHIPPED = "smollm2-135m-instruct", "tiny-python"
"""Models that commands take where nobody names one."""
Model = Annotated[str, typer.Option(help="A name from `mpcinfer models`, or a path.")]
AskedModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="A name from `mpcinfer models`, or a path; a client needs no weights of it, and a folder from "
        "`mpcinfer publish` does.",
        show_default="with --server, what the server says of its own",
    ),
]
Digest = Annotated[
    str | None,
    typer.Option(
        "--digest",
        metavar="SHA256",
        help="The model must be the one that this digest of `mpcinfer publish` names: shape, ranges, "
        "tokenizer and chat template. Without it you believe the server.",
    ),
]
MaxContext = Annotated[
    int | None,
    typer.Option(
        "--max-context",
        min=1,
        metavar="N",
        help="The most tokens of the session, prompts and answers together; at most what the model has.",
        show_default="1024 under plans of the suite fss, or the model's context where that is less",
    ),
]
PlanName = Annotated[
    str,
    typer.Option(
        "--plan",
        help="Which protocols: a name from `mpcinfer list plans`, or a file.json that `mpcinfer plan` wrote; "
        "the same at both parties.",
    ),
]
Choices = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Another protocol for one operation, as `mpcinfer list protocols` names them: "
        "gelu=fine. The same at both parties.",
    ),
]
OwnKey = Annotated[Path, typer.Option("--key", help="This party's .secret file.")]
ShapedAs = Annotated[
    str | None,
    typer.Option(
        "--shaped",
        metavar="NETWORK",
        help="To measure with: all connections of this process behave as over that network (wan-100m, or "
        "SECONDS:BYTES_PER_SECOND); the others, on this machine, must say the same.",
    ),
]
Timeout = Annotated[
    float, typer.Option(help="Longest wait for a peer's next message, in seconds, before giving up.")
]
Idle = Annotated[
    float,
    typer.Option(
        min=1.0,
        max=3600.0,
        help="Longest wait for the client's next step, in seconds; then its session ends and another is "
        "served.",
    ),
]
Once = Annotated[bool, typer.Option("--once", help="End after one session.")]
Correlations = Annotated[
    Path | None,
    typer.Option(help="A folder of correlations that `mpcinfer deal` or `mpcinfer prepare` made."),
]
CheckRanges = Annotated[
    bool,
    typer.Option(
        "--check-ranges",
        help="Run every pass twice, the second time in wider rings, and end with an error instead of a wrong "
        "answer where a value left its calibrated range; the client alone is told. Twice the rounds, over "
        "twice the bytes. The same at both parties; plans fss, with a dealer.",
    ),
]
Prefix = Annotated[
    str | None,
    typer.Option(
        "--prefix",
        metavar="FILE_OR_FEATURES",
        help="What every query sees besides the prompt: an adapter, or this party's share of one, of "
        "`mpcinfer prefix`; or, where the other party has it, the name of its features, such as square. "
        "Both parties must say the same features.",
    ),
]
Speculate = Annotated[
    int,
    typer.Option(
        min=0,
        max=MOST_DRAFTS,
        metavar="N",
        help="Draft up to N tokens ahead, from what the text said before, and check them in one pass: fewer "
        "rounds a token, more bytes and computing a pass, the same answer. The server sees how many drafts "
        "each pass has and how many were right. 0: a token a pass.",
    ),
]
DraftModel = Annotated[
    str | None,
    typer.Option(
        "--draft-model",
        metavar="NAME_OR_FOLDER",
        help="With --speculate: a small model that you hold, to draft where the text repeats nothing. Its "
        "tokens must be those of the model.",
    ),
]


def shape_of(text: str | None) -> Shape | None:
    """What --shaped says.

    Raises:
        ConfigError: no such network, or no numbers.
    """
    if text is None:
        return None
    return Shape.from_text(text) if ":" in text else network_named(text).shape


PromptWeightsFile = Annotated[
    Path | None,
    typer.Option(
        "--prompt-weights",
        metavar="FILE",
        help='How often examples of the prompt count: {"examples": [{"text": "...", "weight": 0.5}, ...]}, '
        "their texts as the prompt has them and in its order; `mpcinfer reweight` makes one. The client adds "
        "them to its own shares: no byte more, and the server cannot tell. Softmax attention alone; with "
        "--local plain power attention, too.",
    ),
]


EqualLengths = Annotated[
    bool,
    typer.Option(
        "--equal-lengths",
        help="All prompts or texts of a batch have as many tokens. Otherwise they may have any, and the "
        "server learns only how many the longest has.",
    ),
]


PublicPrefix = Annotated[
    str | None,
    typer.Option(
        "--public-prefix",
        metavar="FILE|TEXT",
        help="A text that both parties know and that comes before every prompt: the server runs it once in "
        "the clear, and a private run pays only for seeing it. The same at both parties.",
    ),
]


def prefix_of(given: str | None, *, system: bool = False) -> PrefixText | None:
    """What --public-prefix says: a file's text where there is such a file, or itself.

    Args:
        system: it is the system message of the model's chat template.

    Raises:
        ConfigError: an empty text, a file that is not UTF-8, or one word that looks like a file's name.
    """
    if given is None:
        return None
    path = Path(given)
    try:
        is_file = path.is_file()
    except (OSError, ValueError):  # longer than a name can be
        is_file = False
    if not is_file and given and len(given.split()) == 1 and (path.suffix or "/" in given or path.is_dir()):
        raise ConfigError(f"--public-prefix {given}: there is no such file, and as a text it is one word")
    return PrefixText(read_text_file(path) if is_file else given, system)


class Local(StrEnum):
    """How to run without a server."""

    PLAIN = "plain"
    FIXED = "fixed"
    PRIVATE = "private"


ServerEndpoint = Annotated[
    str | None, typer.Option("--server", help="The server's endpoint, tcp://host:port.")
]
ServerKey = Annotated[Path | None, typer.Option("--server-key", help="The server's .public file.")]
DealerEndpoint = Annotated[str, typer.Option("--dealer", help="The dealer's endpoint for clients.")]
DealerKey = Annotated[Path | None, typer.Option("--dealer-key", help="The dealer's .public file.")]
ClientKey = Annotated[Path | None, typer.Option("--key", help="The client's .secret file.")]
Where = Annotated[
    Local | None,
    typer.Option(
        "--local",
        help="No server: 'plain' in float, 'fixed' in fixed point, both without privacy; 'private' starts "
        "all parties as processes on this machine.",
    ),
]
DEALER_FOR_CLIENTS = "tcp://127.0.0.1:7102"
