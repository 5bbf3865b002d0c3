"""`mpcinfer chat`: a conversation in a terminal, or through a pipe."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

import typer
from rich.console import Console

from mpcinfer.cli import cache_options, lengths, options
from parties.errors import ConfigError
from protocols.plan import DEFAULT_PLAN


def chat(
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
    cache: cache_options.Cache = cache_options.CacheKind.KV,
    chunk: cache_options.Chunk = None,
    tokens: Annotated[int, typer.Option(min=1, help="The most tokens of an answer.")] = 128,
    max_context: options.MaxContext = None,
    system: Annotated[str | None, typer.Option(help="How the model is told to behave.")] = None,
    public_prefix: options.PublicPrefix = None,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 picks the likeliest token.")] = 0.0,
    top_k: Annotated[int | None, typer.Option(min=1, help="Sample from the likeliest tokens only.")] = None,
    seed: Annotated[int | None, typer.Option(help="Makes sampling repeatable.")] = None,
    speculate: options.Speculate = 0,
    draft_model: options.DraftModel = None,
    buckets: lengths.Sizes = None,
    exact_lengths: lengths.ExactLengths = False,
    check_ranges: options.CheckRanges = False,
    timeout: options.Timeout = 120.0,
) -> None:
    """Talk with a chat model that neither sees your words nor shows its weights.

    Answers stream as they come; after each, a line says what it took. The
    conversation stays in the model's KV cache, on shares, so that a turn runs
    only what is new. The server learns how many tokens each turn and each answer
    have, and nothing about which; with --server the first turn is padded to a
    public length, later ones are not.

    [bold]While you chat[/bold]

        /bill     what the session has cost so far
        /reset    forget the conversation
        /help     all commands
        /quit     end, with the whole bill
        Ctrl-C    ends an answer; ends the chat where none is coming

    [bold]Examples[/bold]

        mpcinfer chat --local private          three processes on this machine
        mpcinfer chat --local private --public-prefix system.txt
        mpcinfer chat --local plain            the same model without privacy
        echo "Who are you?" | mpcinfer chat --local plain
        mpcinfer chat --key keys/client.secret \\
            --server tcp://server:7100 --server-key keys/server.public \\
            --dealer tcp://dealer:7102 --dealer-key keys/dealer.public
    """
    from mpcinfer.cli.connecting import Drafting, Parties, running
    from mpcinfer.cli.progress import TurnBar
    from mpcinfer.cli.tables import print_bill

    if system is not None and public_prefix is not None:
        raise ConfigError("--public-prefix is the system message: leave --system out")
    known = options.prefix_of(public_prefix, system=True)
    choices = cache_options.with_cache(choices, cache, chunk)
    drafting, bar = Drafting(speculate=speculate, draft_model=draft_model), TurnBar()
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
        public_prefix=known,
        lengths=lengths.wanted_lengths(buckets, local, exact=exact_lengths),
    )
    with closing(bar), running(model, options.ASSISTANT, local, plan, choices, parties) as runner:
        from mpcinfer.chat import Conversation
        from mpcinfer.cli.dialogue import Dialogue
        from mpcinfer.roles.client import PrivateClient
        from mpcinfer.sampling import make_sampler, seeded_uniform, system_uniform

        uniform = system_uniform if seed is None else seeded_uniform(seed)
        sampler = make_sampler(temperature=temperature, top_k=top_k, uniform=uniform)
        conversation = Conversation(
            runner,
            system=system if known is None else known.text,
            max_new_tokens=tokens,
            sampler=sampler,
            speculate=speculate,
            draft=drafting.draft(runner),
        )
        Dialogue(conversation, runner, bar).run()
        bill = runner.finish() if isinstance(runner, PrivateClient) else None
    if bill is not None:
        console = Console(stderr=True)
        console.print()
        print_bill(console, bill)
