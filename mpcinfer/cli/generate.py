"""`mpcinfer generate`: the prompt's owner."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from mpcinfer.cli import cache_options, lengths, options
from mpcinfer.cli.asked_prompts import AskedPrompts
from mpcinfer.cli.batch import document_of, given, show
from mpcinfer.models.batch import Batch
from parties.errors import ConfigError
from protocols.plan import DEFAULT_PLAN

if TYPE_CHECKING:
    from mpcinfer.answer import Answer
    from parties.bill import Bill


def generate(
    prompts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PROMPT...",
            help="The text to complete, or - to read it from standard input; several run together.",
            show_default=False,
        ),
    ] = None,
    model: options.AskedModel = None,
    digest: options.Digest = None,
    server: options.ServerEndpoint = None,
    server_key: options.ServerKey = None,
    dealer: options.DealerEndpoint = options.DEALER_FOR_CLIENTS,
    dealer_key: options.DealerKey = None,
    correlations: options.Correlations = None,
    key: options.ClientKey = None,
    local: options.Where = None,
    plan: options.PlanName = DEFAULT_PLAN,
    choices: options.Choices = None,
    cache: cache_options.Cache = cache_options.CacheKind.KV,
    chunk: cache_options.Chunk = None,
    tokens: Annotated[int, typer.Option(min=1, help="The most tokens to generate.")] = 24,
    max_context: options.MaxContext = None,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 picks the likeliest token.")] = 0.0,
    top_k: Annotated[int | None, typer.Option(min=1, help="Sample from the likeliest tokens only.")] = None,
    seed: Annotated[int | None, typer.Option(help="Makes sampling repeatable.")] = None,
    speculate: options.Speculate = 0,
    draft_model: options.DraftModel = None,
    chat: Annotated[bool, typer.Option("--chat", help="Wrap the prompt in the chat template.")] = False,
    prompt_file: Annotated[
        Path | None, typer.Option("--prompts", metavar="FILE", help="More prompts, one a line.")
    ] = None,
    prompt_weights: options.PromptWeightsFile = None,
    equal_lengths: options.EqualLengths = False,
    public_prefix: options.PublicPrefix = None,
    prefix: options.Prefix = None,
    buckets: lengths.Sizes = None,
    exact_lengths: lengths.ExactLengths = False,
    check_ranges: options.CheckRanges = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Afterwards compare the answer's logits with the fixed-point reference, where the model's "
            "weights are on this machine; status 1 where they differ by more than rounding explains.",
        ),
    ] = False,
    timeout: options.Timeout = 60.0,
    layers: Annotated[bool, typer.Option("--layers", help="The bill by layer, too.")] = False,
    labels: Annotated[bool, typer.Option("--labels", help="The bill label by label, too.")] = False,
    insecure_dealer: Annotated[
        bool,
        typer.Option(
            "--insecure-dealer",
            help="INSECURE: agree to a server that makes the correlated randomness itself and could read "
            "the prompt. The bill says so.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Text, token ids and bill as JSON.")] = False,
) -> None:
    """Complete a text with a model on another machine, or locally.

    The prompt never leaves this process in the clear, and the answer is visible here only. The server
    learns how many tokens the answer has and, with --server, which of few public lengths the prompt was
    padded to, not its own (--buckets, --exact-lengths); of several, those of the longest. With --server
    and no --model, shape, tokenizer and ranges come from the server; --digest pins them.

    [bold]Examples[/bold]

        mpcinfer generate "for i in" --local private
        mpcinfer generate "def area(self):" --server tcp://server:7100 --server-key keys/server.public \\
            --dealer tcp://dealer:7102 --dealer-key keys/dealer.public --key keys/client.secret
        mpcinfer generate "What is the capital of France?" --chat --local plain --model smollm2-135m-instruct
        mpcinfer generate "a long text" --local private --max-context 4096 --model MODEL --verify
        mpcinfer generate "a, b, c, a, b, c, a," --local private --speculate 4
        mpcinfer generate "for i in" "import os" "class Point:" --local private
        mpcinfer generate "def area(self):" --public-prefix header.py --local private
        mpcinfer generate "for i in" --local private --prefix my.prefix
        mpcinfer generate "a long text" --local private --model MODEL --cache state --chunk 64
    """
    from mpcinfer.cli.connecting import Drafting, Parties, running
    from mpcinfer.cli.progress import Answering, Waiting
    from mpcinfer.cli.tables import print_bill
    from mpcinfer.cli.verifying import verdict_of
    from mpcinfer.plans import plan_from, require_verifiable
    from mpcinfer.prompt_weights.document import load_weights

    choices = cache_options.with_cache(choices, cache, chunk)
    if verify:
        require_verifiable(plan_from(plan, choices))
    texts, known = given(prompts or [], prompt_file), options.prefix_of(public_prefix, system=chat)
    weights = None if prompt_weights is None else load_weights(prompt_weights)
    asked = AskedPrompts(texts=texts, chat=chat, public_prefix=known, weights=weights)
    batch = Batch.of(len(texts), equal_lengths=equal_lengths)
    if batch.several and (speculate or verify):
        raise ConfigError("--speculate and --verify are for one prompt, not for a batch")
    quiet = as_json or batch.several
    bar: Waiting = Waiting() if quiet else Answering("" if chat else texts[0], tokens)
    drafting = Drafting(speculate=speculate, draft_model=draft_model, correlations=correlations)
    parties = Parties(
        server=server,
        server_key=server_key,
        dealer=dealer,
        dealer_key=dealer_key,
        correlations=correlations,
        key=key,
        timeout_s=timeout,
        insecure_dealer=insecure_dealer,
        on_progress=bar.show,
        max_context=max_context,
        prompt=asked.longest,
        drafts=speculate > 0,
        digest=digest,
        check_ranges=check_ranges,
        verify=verify,
        batch=batch,
        public_prefix=known,
        prefix=prefix,
        lengths=lengths.wanted_lengths(buckets, local, exact=exact_lengths, verify=verify),
        answer_tokens=tokens,
    )
    with closing(bar), running(model, options.SHIPPED, local, plan, choices, parties) as runner:
        from mpcinfer.roles.client import PrivateClient
        from mpcinfer.sampling import make_sampler, seeded_uniform, system_uniform
        from mpcinfer.verification import Witness

        uniform = system_uniform if seed is None else seeded_uniform(seed)
        sampler = Witness(make_sampler(temperature=temperature, top_k=top_k, uniform=uniform))
        said = asked.of(runner.public)
        answers = asked.answers(runner, tokens, sampler, bar, drafting)
        bill = runner.finish() if isinstance(runner, PrivateClient) else None
        room = runner.max_context if isinstance(runner, PrivateClient) else 0
        before = runner.public_prefix
    verdict = None
    if verify and bill is not None:
        around = (model or options.SHIPPED, plan, choices, said[0])
        verdict = verdict_of(*around, answers[0], sampler, room, before, prefix, weights)
        verdict.put_on(bill)
    verified = None if verdict is None else verdict.same
    if as_json:
        _print_json(answers, batch, verified, bill)
    elif batch.several:
        show(texts, answers, repeat=not chat)
    if bill is not None and not as_json:
        Console(stderr=True).print()
        print_bill(Console(stderr=True), bill, layers=layers, labels=labels)
    if verified is False:
        raise typer.Exit(1)


def _print_json(answers: list[Answer], batch: Batch, verified: bool | None, bill: Bill | None) -> None:
    documents = [document_of(answer) for answer in answers]
    several = {"answers": documents} if batch.several else documents[0]
    billed = {"bill": None if bill is None else bill.to_json()}
    typer.echo(json.dumps({**several, "verified": verified, **billed}, indent=2))
