"""All parties on this machine: server, and a dealer where there is one, as processes, the client here."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from mpcinfer.models.attention_state import FeatureMap
from mpcinfer.models.batch import Batch
from mpcinfer.models.buckets import Buckets
from mpcinfer.models.find import find_model
from mpcinfer.plans import named_plan
from mpcinfer.public_prefix import PrefixText
from mpcinfer.roles.processes import Neighbours, Say, neighbours
from mpcinfer.sessions.progress import Progress, Stage
from mpcinfer.suites.registry import suite_of
from mpcinfer.suites.suite import DEALER, Suite, no_dealer
from parties.errors import ConfigError, RangeError
from parties.shaped import Shape
from protocols.plan import DEFAULT_PLAN

if TYPE_CHECKING:  # what a client computes with is imported while the other processes start
    from mpcinfer.models.public import PublicModel
    from mpcinfer.prompts import Text
    from mpcinfer.roles.client import PrivateClient

_START_S = 120.0


@contextmanager
def private(
    model: str,
    *,
    plan: str = DEFAULT_PLAN,
    choices: Sequence[str] = (),
    timeout_s: float = 60.0,
    insecure_dealer: bool = False,
    max_context: int | None = None,
    prompt: Callable[[PublicModel], Text] | None = None,
    drafts: bool = False,
    digest: str | None = None,
    say: Say | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    through: Callable[[str], str] | None = None,
    check_ranges: bool = False,
    shape: Shape | None = None,
    batch: int = 1,
    equal_lengths: bool = False,
    public_prefix: PrefixText | None = None,
    prefix: str | None = None,
    buckets: Buckets | None = None,
    answer_tokens: int | None = None,
) -> Generator[PrivateClient]:
    """A client connected to a server, and to a dealer where the plan has one, as processes on this machine.

    Fresh keys are made for the occasion and every connection is encrypted, as between machines. These
    processes end with the block, however it ends. Kernels that were never compiled are compiled first.

    Args:
        model: a name from `mpcinfer models`, or a path. Only the server loads its weights.
        plan, choices: a preset or a plan file, and `operation=protocol` replacements.
        timeout_s: longest silence of a peer.
        insecure_dealer: the server is its own dealer and could decrypt everything; to measure with.
        max_context, drafts, digest, on_progress, check_ranges, batch, equal_lengths, public_prefix, buckets,
            answer_tokens: as for `connect_client`.
        prefix: an adapter, which the client has whole.
        prompt: the first prompt, of a batch the longest, where it is known: correlations for as many tokens
            are dealt while masked weights are on their way.
        say: is told what the processes report.
        through: given an endpoint at which somebody listens, the one at which the others reach it; to
            measure with networks of another kind.
        shape: all connections behave like slower ones, at their ends, in the parties themselves.

    Raises:
        ConfigError: CrypTen is missing, no such model or plan, the model cannot be loaded, or an insecure
            dealer for a plan without one.
        PeerError: a process died or fell silent; the message has its last words.
    """
    find_model(model)
    named = named_plan(plan)
    suite = suite_of(named)
    if insecure_dealer and DEALER not in suite.helpers:
        raise ConfigError(f"insecure_dealer: {no_dealer(named)}; leave it out")
    if not suite.compiled():
        _compile(suite, on_progress)
    with neighbours(
        model,
        plan=plan,
        choices=choices,
        timeout_s=timeout_s,
        insecure_dealer=insecure_dealer,
        helpers=suite.helpers,
        say=say,
        through=through,
        check_ranges=check_ranges,
        shape=shape,
        public_prefix=public_prefix,
        prefix=None if prefix is None else _features(prefix),
    ) as others:
        if on_progress is not None:
            on_progress(Progress(stage=Stage.STARTING, done=0, of=0))
        settings = _Settings(
            timeout_s=timeout_s,
            max_context=max_context,
            on_progress=on_progress,
            check_ranges=check_ranges,
            insecure_dealer=insecure_dealer,
            shape=shape,
            prompt=prompt,
            drafts=drafts,
            digest=digest,
            batch=Batch.of(batch, equal_lengths=equal_lengths),
            public_prefix=public_prefix,
            prefix=prefix,
            buckets=buckets,
            answer_tokens=answer_tokens,
        )
        try:
            with _client(others, model, plan, choices, settings) as client:
                yield client
        except RangeError:  # the session has ended as after an answer
            others.processes.settle()
            raise


@dataclass(frozen=True, slots=True, kw_only=True)
class _Settings:
    """What the client is asked for."""

    timeout_s: float
    max_context: int | None
    on_progress: Callable[[Progress], None] | None
    check_ranges: bool
    insecure_dealer: bool
    shape: Shape | None
    prompt: Callable[[PublicModel], Text] | None
    drafts: bool
    digest: str | None
    batch: Batch
    public_prefix: PrefixText | None
    prefix: str | None
    buckets: Buckets | None
    answer_tokens: int | None


def _features(prefix: str) -> str:
    """Of an adapter, for the server."""
    from mpcinfer.prefix.file import load_adapter

    if prefix in get_args(FeatureMap):
        raise ConfigError(f"--prefix {prefix}: no party here has the adapter: give its file")
    return load_adapter(Path(prefix)).features


def _compile(suite: Suite, on_progress: Callable[[Progress], None] | None) -> None:
    """Every kernel of a suite."""

    def tell(done: int, of: int) -> None:
        if on_progress is not None:
            on_progress(Progress(stage=Stage.COMPILING, done=done, of=of))

    suite.compile(tell)


@contextmanager
def _client(
    others: Neighbours,
    model: str,
    plan: str,
    choices: Sequence[str],
    settings: _Settings,
) -> Generator[PrivateClient]:
    """The client's part, once the others are on their way."""
    from mpcinfer.models.load import load_public
    from mpcinfer.plans import plan_from
    from mpcinfer.roles.connect import connect_client

    public, chosen = load_public(model), plan_from(plan, choices)
    suite_of(chosen).require()
    with (
        others.processes.naming_the_dead(),
        connect_client(
            public,
            chosen,
            keys=others.keys,
            server=others.server,
            dealer=others.dealer,
            insecure_dealer=settings.insecure_dealer,
            max_context=settings.max_context,
            prompt=settings.prompt,
            drafts=settings.drafts,
            digest=settings.digest,
            timeout_s=max(settings.timeout_s, _START_S),
            on_progress=settings.on_progress,
            check_ranges=settings.check_ranges,
            shape=settings.shape,
            batch=settings.batch.size,
            equal_lengths=not settings.batch.padded,
            public_prefix=settings.public_prefix,
            prefix=settings.prefix,
            buckets=settings.buckets,
            answer_tokens=settings.answer_tokens,
        ) as client,
    ):
        yield client
