"""`mpcinfer proxy`: the client as a local server that speaks the OpenAI API."""

from __future__ import annotations

import importlib.util
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mpcinfer.cli import lengths, options, watched_options
from mpcinfer.cli.options import Local
from parties.errors import ConfigError
from protocols.plan import DEFAULT_PLAN


def proxy(
    model: options.AskedModel = None,
    digest: options.Digest = None,
    server: options.ServerEndpoint = None,
    server_key: options.ServerKey = None,
    dealer: options.DealerEndpoint = options.DEALER_FOR_CLIENTS,
    dealer_key: options.DealerKey = None,
    key: options.ClientKey = None,
    local: options.Where = None,
    plan: options.PlanName = DEFAULT_PLAN,
    choices: options.Choices = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Where to listen, on 127.0.0.1 alone; 0 for a free one.")
    ] = 8137,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keeps the token between starts; made where it is not there. Without it every start has a "
            "new one.",
        ),
    ] = None,
    tokens: Annotated[
        int, typer.Option(min=1, help="The most tokens of an answer, where a request does not say.")
    ] = 256,
    waiting: Annotated[
        int, typer.Option(min=0, help="How many requests may wait for the one that runs.")
    ] = 16,
    max_context: options.MaxContext = None,
    buckets: lengths.Sizes = None,
    exact_lengths: lengths.ExactLengths = False,
    check_ranges: options.CheckRanges = False,
    timeout: options.Timeout = 120.0,
    log: watched_options.Log = watched_options.LogKind.LINES,
    log_level: watched_options.Level = watched_options.LogLevel.INFO,
    log_file: watched_options.LogFile = None,
    runtime_dir: watched_options.RuntimeDir = None,
) -> None:
    """Speak the OpenAI API on this machine, for a model elsewhere that sees nothing.

    Programs that speak that API work unchanged, and so does the page that is printed at the start. Prompts
    and answers stay in this process and the programs that ask it: what the server learns is what it learns
    of `mpcinfer chat`. Requests run one at a time over one session. Every usage object has the bill.

    [bold]Answers[/bold] /v1/chat/completions and /v1/completions, streaming too, /v1/embeddings, /v1/models.
    What a request asks for and a private run cannot do is an error that names it, never ignored.

    [bold]Examples[/bold]

        mpcinfer proxy --local private --model smollm2-135m-instruct
        mpcinfer proxy --key keys/client.secret --token-file keys/proxy.token \\
            --server tcp://server:7100 --server-key keys/server.public \\
            --dealer tcp://dealer:7102 --dealer-key keys/dealer.public
        curl http://127.0.0.1:8137/v1/models -H "Authorization: Bearer $(cat keys/proxy.token)"
    """
    _require_installed()
    from mpcinfer.cli.connecting import Parties, running
    from mpcinfer.cli.progress import Waiting
    from mpcinfer.cli.tables import print_bill
    from mpcinfer.proxy.app import Proxy
    from mpcinfer.proxy.model_thread import ModelThread
    from mpcinfer.proxy.serving import LOOPBACK, listening, serve, token_of
    from mpcinfer.service.status import ServiceStatus
    from mpcinfer.service.watching import Watched, watching
    from parties.bill import Bill

    bar, token, bills = Waiting(), token_of(token_file), list[Bill]()
    parties = Parties(
        server=server,
        server_key=server_key,
        dealer=dealer,
        dealer_key=dealer_key,
        correlations=None,
        key=key,
        timeout_s=timeout,
        insecure_dealer=False,
        on_progress=bar.show,
        max_context=max_context,
        digest=digest,
        check_ranges=check_ranges,
        lengths=lengths.wanted_lengths(buckets, local, exact=exact_lengths),
    )
    console = Console(stderr=True, highlight=False)
    how = Watched(log=log, level=log_level, log_file=log_file, runtime=runtime_dir)
    with ExitStack() as stack:
        at = stack.enter_context(closing(listening(port)))
        port = at.getsockname()[1]
        status = ServiceStatus(role="proxy", name=str(port), endpoint=f"http://{LOOPBACK}:{port}/v1")
        watch = stack.enter_context(watching(status, how))

        def over(bill: Bill) -> None:
            bills.append(bill)
            watch.session_ended(bill)

        thread = ModelThread(
            lambda: running(model, options.ASSISTANT, local, plan, choices or [], parties),
            waiting,
            over,
        )
        try:
            with closing(bar):
                public = thread.start()
            private = local not in (Local.PLAIN, Local.FIXED)
            answering = Proxy(thread, public, plan if private else "", tokens)
            watch.update(model=answering.name, plan=plan if private else "", digest=public.digest())
            watch.listening()
            _say(console, answering.name, port, token, token_file, private=private)
            serve(answering.app(), at, token, thread.end_all)
        finally:
            thread.close()
    for bill in bills:
        print_bill(console, bill)


def _require_installed() -> None:
    """Raises ConfigError where the extra is not there."""
    for module in ("starlette", "uvicorn", "pydantic"):
        if importlib.util.find_spec(module) is None:
            raise ConfigError(f"{module} is missing: pip install 'mpcinfer[proxy]'")


def _say(console: Console, model: str, port: int, token: str, file: Path | None, *, private: bool) -> None:
    """Where to find it."""
    address = f"127.0.0.1:{port}"
    how = "privately" if private else "in the clear, WITHOUT privacy"
    lines = [f"{model} {how}, at http://{address}/v1"]
    lines += [f"  chat:   http://{address}/#{token}", f"  token:  {token}"] if file is None else []
    lines += [] if file is None else [f"  chat:   http://{address}/#TOKEN", f"  token:  in {file}"]
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)
    console.print("  Ctrl-C ends it, with the bill", style="dim")
