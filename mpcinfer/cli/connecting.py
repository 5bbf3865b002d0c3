"""Where a command's model runs: in this process, in processes beside it, or at a server elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mpcinfer.cli.dealer_options import dealer_of
from mpcinfer.cli.kernels import compile_kernels
from mpcinfer.cli.lengths import NOTHING_SAID, WantedLengths
from mpcinfer.cli.options import Local
from mpcinfer.cli.progress import announce
from mpcinfer.models.batch import SINGLE, Batch
from mpcinfer.public_prefix import PrefixText
from mpcinfer.roles.together import private
from mpcinfer.sessions.progress import Progress
from mpcinfer.speculation import NO_FOLDER, Draft, look_up
from mpcinfer.suites.suite import DEALER
from parties.errors import ConfigError

if TYPE_CHECKING:  # imported while the other parties start
    from mpcinfer.clear import ClearModel
    from mpcinfer.models.public import PublicModel
    from mpcinfer.prompts import Text
    from mpcinfer.roles.client import PrivateClient
    from mpcinfer.turn import ChatModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Parties:
    """What the command line says about the other parties.

    Attributes:
        max_context: the most tokens of a session; None for the suite's default.
        on_progress: is told how far the session is.
        prompt: makes the first prompt, where it is known.
        drafts: there will be drafts with it.
        digest: the model must have this one; None for any.
        check_ranges: every pass is evaluated twice, and the client told of values that left their ranges.
        verify: the answer will be compared with the model, whose weights must be here.
        batch: prompts of every pass.
        public_prefix: what comes before every prompt, and the server knows.
        prefix: what this party has of a prefix, as `load_part` reads it.
        lengths: what prompts are padded to.
        answer_tokens: the most of the first prompt's answer, where it is known.
    """

    server: str | None
    server_key: Path | None
    dealer: str
    dealer_key: Path | None
    correlations: Path | None
    key: Path | None
    timeout_s: float
    insecure_dealer: bool
    on_progress: Callable[[Progress], None]
    max_context: int | None = None
    prompt: Callable[[PublicModel], Text] | None = None
    drafts: bool = False
    digest: str | None = None
    check_ranges: bool = False
    verify: bool = False
    batch: Batch = SINGLE
    public_prefix: PrefixText | None = None
    prefix: str | None = None
    lengths: WantedLengths = NOTHING_SAID
    answer_tokens: int | None = None


@contextmanager
def running(
    model: str | None,
    usual: str,
    local: Local | None,
    plan: str,
    choices: Sequence[str],
    parties: Parties,
) -> Generator[ChatModel]:
    """A model that is ready for prompts, for the length of a block.

    Args:
        model: a name or a path; None for what the server says of its own, or, without a server,
        usual: the command's usual one.

    Raises:
        ConfigError: the command line leaves open where to run, or names what there is not.
        PeerError: a party went away or sent what it should not.
    """
    if local is not None and parties.correlations is not None:
        raise ConfigError(
            f"--correlations: --local {local.value} takes none from a folder, leave it out; or connect to a "
            "server that has the other half of the folder, with --server"
        )
    if parties.check_ranges:
        _require_checkable(local, plan, choices, parties)
    if parties.verify:
        _require_weights(model, local)
    _require_digest_form(parties.digest)
    if local in (Local.PLAIN, Local.FIXED):
        yield _in_the_clear(model or usual, plan, choices, parties, fixed=local is Local.FIXED)
    elif local is Local.PRIVATE:
        with private(
            model or usual,
            plan=plan,
            choices=choices,
            timeout_s=parties.timeout_s,
            insecure_dealer=parties.insecure_dealer,
            max_context=parties.max_context,
            prompt=parties.prompt,
            drafts=parties.drafts,
            digest=parties.digest,
            say=announce,
            on_progress=parties.on_progress,
            check_ranges=parties.check_ranges,
            batch=parties.batch.size,
            equal_lengths=not parties.batch.padded,
            public_prefix=parties.public_prefix,
            prefix=parties.prefix,
            buckets=parties.lengths.buckets,
            answer_tokens=parties.answer_tokens,
        ) as client:
            yield client
    else:
        with _connected(model, plan, choices, parties) as client:
            yield client


def _in_the_clear(
    model: str, plan: str, choices: Sequence[str], parties: Parties, *, fixed: bool
) -> ClearModel:
    """A model in this process, without privacy."""
    from mpcinfer.clear import ClearModel
    from mpcinfer.models.load import load_model
    from mpcinfer.models.public_document import require_digest

    adapter = None
    if parties.prefix is not None:
        from mpcinfer.prefix.file import load_adapter

        adapter = load_adapter(Path(parties.prefix))
    clear = ClearModel(
        load_model(model),
        fixed_point=fixed,
        plan=plan,
        choices=choices,
        max_context=parties.max_context if fixed else None,  # rings, and so the last bits, depend on it
        public_prefix=parties.public_prefix,
        prefix=adapter,
    )
    require_digest(clear.public, parties.digest)
    return clear


@contextmanager
def _connected(
    model: str | None, plan: str, choices: Sequence[str], parties: Parties
) -> Generator[PrivateClient]:
    """A client of a server elsewhere, which says what its model is where the client names none."""
    from mpcinfer.models.load import load_public
    from mpcinfer.plans import plan_from
    from mpcinfer.roles.connect import connect_client
    from mpcinfer.sessions.addresses import Address
    from mpcinfer.suites.registry import suite_of
    from parties.keys import load_secret

    chosen = plan_from(plan, choices)
    suite = suite_of(chosen)
    if parties.server is None or parties.server_key is None or parties.key is None:
        further = " (and --dealer, --dealer-key)" if DEALER in suite.helpers else ""
        raise ConfigError(
            f"say where the server is: --server, --server-key and --key{further}; or "
            "--local private to start one on this machine, --local plain to run without privacy"
        )
    dealer = dealer_of(
        suite,
        chosen,
        endpoint=parties.dealer,
        key=parties.dealer_key,
        correlations=parties.correlations,
        insecure_dealer=parties.insecure_dealer,
    )
    keys, server = load_secret(parties.key), Address.load(parties.server, parties.server_key)
    public = None if model is None else load_public(model)
    compile_kernels([suite])
    with connect_client(
        public,
        chosen,
        keys=keys,
        server=server,
        dealer=dealer,
        correlations=parties.correlations,
        max_context=parties.max_context,
        prompt=parties.prompt,
        drafts=parties.drafts,
        digest=parties.digest,
        timeout_s=parties.timeout_s,
        on_progress=parties.on_progress,
        check_ranges=parties.check_ranges,
        insecure_dealer=parties.insecure_dealer,
        batch=parties.batch.size,
        equal_lengths=not parties.batch.padded,
        public_prefix=parties.public_prefix,
        prefix=parties.prefix,
        buckets=parties.lengths.buckets,
        ask_buckets=parties.lengths.ask,
        answer_tokens=parties.answer_tokens,
    ) as client:
        yield client


def _require_weights(model: str | None, local: Local | None) -> None:
    """Raises ConfigError where --verify has nothing to compare."""
    from mpcinfer.models.load import has_weights

    if local in (Local.PLAIN, Local.FIXED):
        raise ConfigError("--verify is for private runs: compares them with what --local fixed computes")
    if local is None and (model is None or not has_weights(model)):
        raise ConfigError(
            "--verify needs the model's weights on this machine (--model), and only its server has them: "
            "--check-ranges, at both parties, tells a client without"
        )


def _require_digest_form(digest: str | None) -> None:
    """Raises ConfigError where --digest is none."""
    from mpcinfer.models.public_document import is_digest

    if digest is not None and not is_digest(digest):
        raise ConfigError(
            f"--digest takes the 64 hex digits that `mpcinfer publish` prints, got {digest[:80]!r}"
        )


def _require_checkable(local: Local | None, plan: str, choices: Sequence[str], parties: Parties) -> None:
    """Raises ConfigError where ranges are not checked: before any process starts."""
    from mpcinfer.plans import plan_from
    from mpcinfer.suites.registry import suite_of

    if local in (Local.PLAIN, Local.FIXED):
        raise ConfigError(
            "--check-ranges is for private runs; --local fixed by itself names a value that leaves its range"
        )
    chosen = plan_from(plan, choices)
    suite_of(chosen).require_checkable(chosen, folder=parties.correlations is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafting:
    """What the command line says about drafts.

    Raises:
        ConfigError: a draft model and no drafts, or drafts over a folder of correlations.
    """

    speculate: int
    draft_model: str | None
    correlations: Path | None = None

    def __post_init__(self) -> None:
        if self.draft_model is not None and not self.speculate:
            raise ConfigError("--draft-model drafts for --speculate N: say how many tokens")
        if self.correlations is not None and self.speculate:
            raise ConfigError(NO_FOLDER)

    def draft(self, runner: ChatModel) -> Draft:
        """The source of drafts for a model.

        Raises:
            ConfigError: the draft model cannot be loaded, or has other tokens.
        """
        if self.draft_model is None:
            return look_up
        from mpcinfer.draft_model import load_draft

        return load_draft(self.draft_model, runner.public)
