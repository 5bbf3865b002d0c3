"""`mpcinfer serve`: the model's owner."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mpcinfer.cli import cache_options, options, watched_options
from mpcinfer.cli.dealer_options import dealer_of
from mpcinfer.sessions.addresses import Identity
from protocols.plan import DEFAULT_PLAN


def serve(
    key: options.OwnKey,
    client_key: Annotated[Path, typer.Option(help="The .public file of the client that may connect.")],
    dealer_key: Annotated[Path | None, typer.Option(help="The dealer's .public file.")] = None,
    dealer: Annotated[str, typer.Option(help="The dealer's endpoint for servers.")] = "tcp://127.0.0.1:7101",
    correlations: options.Correlations = None,
    listen: Annotated[str, typer.Option(help="Where clients connect.")] = "tcp://127.0.0.1:7100",
    model: options.Model = "tiny-python",
    plan: options.PlanName = DEFAULT_PLAN,
    choices: options.Choices = None,
    prefix: options.Prefix = None,
    cache: cache_options.Cache = cache_options.CacheKind.KV,
    chunk: cache_options.Chunk = None,
    check_ranges: options.CheckRanges = False,
    public_prefix: options.PublicPrefix = None,
    public_prefix_system: Annotated[
        bool,
        typer.Option(
            "--public-prefix-system",
            help="That text is the system message of the model's chat template, for `chat` and `generate "
            "--chat`.",
        ),
    ] = False,
    timeout: options.Timeout = 60.0,
    shaped: options.ShapedAs = None,
    idle: options.Idle = 600.0,
    once: options.Once = False,
    insecure_dealer: Annotated[
        bool,
        typer.Option(
            "--insecure-dealer",
            help="INSECURE: this server makes the correlated randomness itself and could decrypt everything. "
            "Only to measure; the client must agree, and the bill says so.",
        ),
    ] = False,
    log: watched_options.Log = watched_options.LogKind.AUTO,
    log_level: watched_options.Level = watched_options.LogLevel.INFO,
    log_file: watched_options.LogFile = None,
    metrics: watched_options.MetricsAt = None,
    runtime_dir: watched_options.RuntimeDir = None,
) -> None:
    """Serve a model to one client, session after session.

    The server learns how many tokens each step has, and nothing about which tokens they are; the client
    learns the model's shape, tokenizer, ranges and names of classes, which it is told where it asks, and the
    logits of its own answer. Both need a dealer that neither controls, but under the plan two-party, which
    has none. A model of your own: calibrate it first.

    [bold]Examples[/bold]

        mpcinfer serve --model tiny-python --key keys/server.secret --client-key keys/client.public \\
            --dealer-key keys/dealer.public
        mpcinfer serve --model smollm2-135m-instruct --public-prefix system.txt --public-prefix-system \\
            --key keys/server.secret --client-key keys/client.public --dealer-key keys/dealer.public
        mpcinfer serve --plan two-party --key keys/server.secret --client-key keys/client.public
    """
    from mpcinfer.cli.kernels import compile_kernels
    from mpcinfer.cli.progress import announcing
    from mpcinfer.models.load import load_model, load_public
    from mpcinfer.plans import plan_from
    from mpcinfer.roles.server import serve_sessions
    from mpcinfer.service.status import ServiceStatus
    from mpcinfer.service.watching import Watched, port_of, watching
    from mpcinfer.sessions.loading import Loading
    from mpcinfer.suites.registry import suite_of

    chosen = plan_from(plan, cache_options.with_cache(choices, cache, chunk))
    suite = suite_of(chosen)
    dealing = dealer_of(
        suite,
        chosen,
        endpoint=dealer,
        key=dealer_key,
        correlations=correlations,
        insecure_dealer=insecure_dealer,
    )
    identity = Identity.load(key, client_key)
    public, part = load_public(model), None
    if prefix is not None:
        from mpcinfer.prefix.file import load_part

        part = load_part(prefix, public, "server")
    status = ServiceStatus(
        role="server",
        name=port_of(listen),
        endpoint=listen,
        model=public.name,
        plan=chosen.name,
        digest=public.digest(),
    )
    how = Watched(
        log=log, level=log_level, log_file=log_file, metrics=metrics, runtime=runtime_dir, status=not once
    )
    with watching(status, how) as watch, announcing(watch.say):
        suite.load()
        compile_kernels([suite])
        serve_sessions(
            public,
            Loading(lambda: load_model(model).weights),
            chosen,
            listen=listen,
            identity=identity,
            dealer=dealing,
            correlations=correlations,
            timeout_s=timeout,
            idle_s=idle,
            once=once,
            say=watch.say,
            check_ranges=check_ranges,
            insecure_dealer=insecure_dealer,
            shape=options.shape_of(shaped),
            public_prefix=options.prefix_of(public_prefix, system=public_prefix_system),
            prefix=part,
            watch=watch,
        )
