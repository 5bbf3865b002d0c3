"""The command line: `mpcinfer --help` is the place to start."""

from __future__ import annotations

import io
import sys

import typer
from rich.console import Console
from rich.markup import escape

from mpcinfer.cli.audit import audit
from mpcinfer.cli.bench import bench
from mpcinfer.cli.calibrate import calibrate
from mpcinfer.cli.chat import chat
from mpcinfer.cli.cost import cost
from mpcinfer.cli.deal import deal
from mpcinfer.cli.dealer import dealer
from mpcinfer.cli.dealer_status import DealerCommand
from mpcinfer.cli.demo import demo
from mpcinfer.cli.doctor import doctor
from mpcinfer.cli.entropy import entropy
from mpcinfer.cli.fold import fold
from mpcinfer.cli.generate import generate
from mpcinfer.cli.keys import keys
from mpcinfer.cli.list import listed
from mpcinfer.cli.models import models
from mpcinfer.cli.plan import plan
from mpcinfer.cli.prefix import prefix
from mpcinfer.cli.prepare import prepare
from mpcinfer.cli.proxy import proxy
from mpcinfer.cli.publish import publish
from mpcinfer.cli.reading import classify, embed
from mpcinfer.cli.report import report
from mpcinfer.cli.reweight import reweight
from mpcinfer.cli.serve import serve
from mpcinfer.cli.settings import ServiceCommand, configurable, forget_environment
from mpcinfer.cli.skip import skip
from mpcinfer.cli.sparsify import sparsify
from mpcinfer.cli.status import status
from mpcinfer.cli.train import train
from mpcinfer.cli.warm import warm
from parties.errors import MpcInferError
from parties.launch import end_with_parent
from parties.memory import keep_memory

_HELP = """Private inference for transformer language models, between two parties.

A client holds a prompt, a server holds a model. They compute on secret shares: the client gets the answer,
and neither learns the other's secret. Every message is billed.

[bold]Start here[/bold]

    mpcinfer demo                               one private answer on this machine
    mpcinfer generate "for i in" --local plain  the same model without privacy
    mpcinfer chat --local private               talk with a chat model, privately
    mpcinfer proxy --local private              the same for programs that speak the OpenAI API, and as a page
    mpcinfer embed "a text" --local private     its vector; `classify` gives its label
    mpcinfer cost gpt2 --tokens 128             what GPT-2 would cost, not run
    mpcinfer plan gpt2 --network lan-1g         which protocols suit a model and a network
    mpcinfer models                             what can be run, or only billed
    mpcinfer list protocols                     what can be swapped, and what each costs
    mpcinfer bench --help                       measure any of it, and compare
    mpcinfer reweight --help                    which examples of a few-shot prompt to trust
    mpcinfer report RECORDS                     benchmark records as a page, figures and tables
    mpcinfer audit --help                       attack what is opened, and see that it is chance
    mpcinfer prefix --help                      a long prefix at one small cost, whoever owns it

[bold]Between machines[/bold]

    mpcinfer keys new server client dealer      a key pair for each party
    mpcinfer dealer --help                      hands out correlated randomness; not for the plan two-party
    mpcinfer deal --help                        the same ahead of time, to disk
    mpcinfer prepare --help                     the same between two parties and no dealer
    mpcinfer serve --help                       owns the model
    mpcinfer publish --help                     what clients may have of it
    mpcinfer status                             whether servers and dealers that run here are well
    mpcinfer doctor                             whether this machine has what a party needs
    mpcinfer generate --help                    owns the prompt
"""

app = typer.Typer(
    help=_HELP,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_CLASSES = {"serve": ServiceCommand, "dealer": DealerCommand, "proxy": ServiceCommand}
for command in (
    *(demo, generate, chat),
    configurable(proxy),
    *(embed, classify, cost, plan, models),
    *(configurable(serve), configurable(dealer), status),
    *(deal, prepare, skip, warm, doctor),
    *(train, entropy, calibrate, fold, sparsify, publish, reweight),
    report,
):
    app.command(cls=_CLASSES.get(command.__name__))(command)
app.add_typer(listed, name="list")
app.add_typer(keys, name="keys")
app.add_typer(bench, name="bench")
app.add_typer(audit, name="audit")
app.add_typer(prefix, name="prefix")


def main() -> None:
    """Runs the command line; errors of ours end it with one line and status 1."""
    keep_memory()
    if end_with_parent():
        forget_environment()
    given: object = sys.stdin
    if isinstance(given, io.TextIOWrapper):
        given.reconfigure(errors="surrogateescape")  # as in arguments; the tokenizer says what is wrong
    try:
        app()
    except MpcInferError as error:
        Console(stderr=True, highlight=False).print(
            f"[bold red]{type(error).__name__}[/bold red]: {escape(str(error))}", soft_wrap=True
        )
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
