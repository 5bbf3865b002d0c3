"""`mpcinfer serve`: the model's owner."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mpcinfer.cli import cache_options, options, service_options
from mpcinfer.cli.dealer_options import dealer_of
from mpcinfer.sessions.addresses import Identity
from protocols.plan import DEFAULT_PLAN


def serve(
    key: options.OwnKey,
    client_key: Annotated[
        Path | None, typer.Option(help="The .public file of the one client that may connect.")
    ] = None,
    clients: service_options.Clients = None,
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
    sessions: service_options.Sessions = None,
    client_sessions: service_options.ClientSessions = None,
    waiting: service_options.Waiting = 64,
    client_waiting: service_options.ClientWaiting = None,
    rate: service_options.Rate = None,
    most_context: service_options.MostContext = None,
    prompt_tokens: service_options.PromptTokens = None,
    session_tokens: service_options.SessionTokens = None,
    session_seconds: service_options.SessionSeconds = None,
    memory_mb: service_options.MemoryMB = None,
    drain: service_options.Drain = 30.0,
    once: options.Once = False,
    insecure_dealer: Annotated[
        bool,
        typer.Option(
            "--insecure-dealer",
            help="INSECURE: this server makes the correlated randomness itself and could decrypt everything. "
            "Only to measure; the client must agree, and the bill says so.",
        ),
    ] = False,
) -> None:
    """Serve a model to many clients at once.

    A front lets in whom --clients lists, queues, and gives every session to a worker process of its own;
    the weights are in memory once. Clients connect to --listen, and are sent to a free port of this host.

    The server learns how many tokens each step has, and nothing about which tokens they are; the client
    learns the model's shape, tokenizer, ranges and names of classes, which it is told where it asks, and the
    logits of its own answer. Both need a dealer that neither controls, but under the plan two-party, which
    has none. A model of your own: calibrate it first.

    [bold]Examples[/bold]

        mpcinfer serve --model tiny-python --key keys/server.secret --client-key keys/client.public \\
            --dealer-key keys/dealer.public
        mpcinfer serve --model tiny-python --key keys/server.secret --clients keys/clients --sessions 4 \\
            --dealer-key keys/dealer.public
        mpcinfer serve --model smollm2-135m-instruct --public-prefix system.txt --public-prefix-system \\
            --key keys/server.secret --client-key keys/client.public --dealer-key keys/dealer.public
        mpcinfer serve --plan two-party --key keys/server.secret --client-key keys/client.public
    """
    from mpcinfer.cli.kernels import compile_kernels
    from mpcinfer.cli.progress import announce, noted
    from mpcinfer.models.load import load_model, load_public
    from mpcinfer.plans import plan_from
    from mpcinfer.roles.server import serve_sessions
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
    who = service_options.allowed(clients, client_key, "client")
    suite.load()
    compile_kernels([suite])
    if not once:
        from mpcinfer.service.server_terms import ServerTerms
        from mpcinfer.service.serving import serve_many

        prefixed = options.prefix_of(public_prefix, system=public_prefix_system)
        shape = options.shape_of(shaped)
        limits = service_options.limits_of(
            sessions=sessions,
            client_sessions=client_sessions,
            waiting=waiting,
            client_waiting=client_waiting,
            rate=rate,
            most_context=most_context,
            prompt_tokens=prompt_tokens,
            session_tokens=session_tokens,
            session_seconds=session_seconds,
            memory_mb=memory_mb,
            drain=drain,
            one_at_a_time=correlations is not None,
        )
        serve_many(
            ServerTerms(
                model=model,
                plan=plan,
                choices=cache_options.with_cache(choices, cache, chunk) or [],
                key=str(key),
                listen=listen,
                dealer=None if dealing is None else (dealing.endpoint, dealing.public_key),
                correlations=None if correlations is None else str(correlations),
                timeout_s=timeout,
                idle_s=idle,
                check_ranges=check_ranges,
                insecure_dealer=insecure_dealer,
                shaped=None if shape is None else shape.to_text(),
                public_prefix=None if prefixed is None else (prefixed.text, prefixed.system),
                prefix=prefix,
                context=most_context,
                prompt_tokens=prompt_tokens,
                session_tokens=session_tokens,
                session_s=session_seconds,
                accept_s=limits.accept_s,
            ),
            who,
            limits,
            announce,
            noted,
        )
        return
    identity = Identity.load(key, who)
    public, part = load_public(model), None
    if prefix is not None:
        from mpcinfer.prefix.file import load_part

        part = load_part(prefix, public, "server")
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
        say=announce,
        check_ranges=check_ranges,
        insecure_dealer=insecure_dealer,
        shape=options.shape_of(shaped),
        public_prefix=options.prefix_of(public_prefix, system=public_prefix_system),
        prefix=part,
    )
