"""What a suite is to everything outside its folder: its protocols, its bill, its sessions, its helpers.

Importing a suite's class must be quick: what needs torch or compiled kernels is imported within methods.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mpcinfer.models.attention_state import FeatureMap
from mpcinfer.models.batch import SINGLE, Batch
from mpcinfer.public_prefix import require_one_prefix
from mpcinfer.suites.requests import Ahead, Kept, Run
from parties.errors import ConfigError, PeerMismatch
from protocols.plan import Plan, check_choices

if TYPE_CHECKING:
    from mpcinfer.models.config import ModelConfig
    from mpcinfer.models.decoder import Decoder, KVCache
    from mpcinfer.models.depth import DepthReport
    from mpcinfer.models.model import Model
    from mpcinfer.models.prefix_run import PrefixRun
    from mpcinfer.models.public import PublicModel
    from mpcinfer.prefix.adapter import PrefixAdapter
    from mpcinfer.sessions.session import PrivateSession
    from mpcinfer.sessions.session_config import SessionConfig
    from mpcinfer.suites.entry import Entry
    from mpcinfer.suites.shareable import Shareable
    from mpcinfer.suites.stock import Schedule, Stock
    from mpcinfer.suites.task import Place, Task, TaskResult
    from parties.bill import Bill
    from parties.link import Link

Document = Mapping[str, Any]
DEALER = "dealer"


def no_dealer(plan: Plan) -> str:
    """Why a dealer, or correlations that one wrote, are refused."""
    return f"plan {plan.name} has no dealer: the two parties make all correlations themselves"


class Suite(ABC):
    """One suite of protocols; `mpcinfer.suites.registry` knows all of them.

    Attributes:
        name: as in plans.
        plans: presets by name.
        helpers: roles that take part besides server and client: `dealer`, or none.
        modules: what its sessions and dealers compute with, by name, for `load`.
        keeps_states: keys and values may move into states (`Plan.chunk`).
        dealt_while_running: correlations of a pass come while it runs, and it may wait for them;
            otherwise they are there before it starts.
    """

    name: ClassVar[str]
    plans: ClassVar[Mapping[str, Plan]]
    helpers: ClassVar[tuple[str, ...]] = (DEALER,)
    modules: ClassVar[tuple[str, ...]] = ()
    dealt_while_running: ClassVar[bool] = False
    keeps_states: ClassVar[bool] = False

    @property
    @abstractmethod
    def operations(self) -> Mapping[str, Mapping[str, object]]:
        """Protocols by operation and name; one that discloses something says it in its `reveals`."""

    def check(self, plan: Plan) -> None:
        """That a plan names what is registered, and that it goes together.

        Raises:
            ConfigError: it does not; the message lists what there is.
        """
        check_choices(plan, self.name, self.operations)
        if plan.chunk and not self.keeps_states:
            raise ConfigError(
                f"plan {plan.name}: suite {self.name} keeps keys and values as they are; states are for fss"
            )

    def unused(self, config: ModelConfig) -> set[str]:
        """Operations of a plan that a model has none of, so that their protocols do not matter."""
        used = {config.activation.partition("_")[0], config.attention, config.pooler}
        parts = {"maximum": "softmax", "exponential": "softmax"}
        names = ("gelu", "silu", "relu", "softmax", "power", *parts)
        return {name for name in names if parts.get(name, name) not in used}

    def is_polynomial(self, plan: Plan) -> bool:
        """Whether a plan is additions and products alone, truncation aside."""
        return False

    def require(self) -> None:
        """Raises ConfigError where this machine lacks what the suite needs."""
        return

    def load(self) -> None:
        """Imports `modules` in the thread that calls: of two that import, one may see a module half done."""
        for module in self.modules:
            importlib.import_module(module)

    # -- without a session -----------------------------------------------------------------------------------

    @abstractmethod
    def count(self, plan: Plan, run: Run) -> Bill:
        """The bill of a run, on shapes alone: what `open`ed sessions of it measure, to the byte.

        Raises:
            ConfigError, RangeError: the plan cannot run the model.
        """

    def depth(self, plan: Plan, run: Run) -> DepthReport:
        """Levels and operations of a homomorphic evaluation of the same program.

        Raises:
            ConfigError: the plan or the model is not polynomial; the message names what is not.
            RangeError: as `count`.
        """
        raise ConfigError(
            f"plan {plan.name} is not polynomial, so that nothing has a depth: take --plan poly of the suite "
            "crypten"
        )

    @abstractmethod
    def reference(
        self,
        model: Model,
        plan: Plan,
        *,
        max_context: int | None = None,
        prefix: PrefixAdapter | None = None,
    ) -> Decoder[Any, Any]:
        """The model on one machine in the clear, in the plan's fixed point.

        Args:
            max_context: tokens of the session it stands for, where rings depend on it; None for the default.
            prefix: what every query sees besides the tokens.

        Raises:
            ConfigError: the plan's numbers depend on ranges, and the model was never calibrated.
            RangeError: something does not fit; also in its steps.
        """

    def reference_cache(self, decoder: Decoder[Any, Any], run: PrefixRun) -> KVCache[Any]:
        """What the cache of a `reference` begins with where there is a public prefix: its keys and values in
        the fixed point of a private run's, bit by bit.

        Raises:
            ConfigError: the suite has no public prefixes.
            RangeError: something does not fit.
        """
        raise ConfigError(f"public prefix: the suite {self.name} runs whole texts privately")

    def rounding_of_logits(self, plan: Plan, ranges: Mapping[str, float]) -> float:
        """How far logits of a private run and of its `reference` may be apart by rounding and by the stated
        errors of protocols; beyond it a value went wrong. 0 where they are the same bit by bit."""
        from mpcinfer.models.bounds import rounding_of_logits

        return rounding_of_logits(ranges)

    @abstractmethod
    def entries(self, config: ModelConfig, tokens: int) -> list[Entry]:
        """Every protocol, counted on a block of a shape whose norms are folded."""

    def gates(self, config: ModelConfig, tokens: int) -> list[Entry]:
        """What its protocols are made of, likewise; nothing where it has no gates of its own."""
        return []

    # -- parts of a model by themselves, for benchmarks ------------------------------------------------------

    def sample_plan(self, operation: str, name: str) -> Plan:
        """The plan in which a protocol is counted and measured: the first plan with it in its place."""
        return next(iter(self.plans.values())).replace(**{operation: name})

    def count_task(self, task: Task) -> Bill:
        """The bill of `run_task`, on shapes alone: the rows of `Task.measured`.

        Raises:
            ConfigError: the suite runs whole models only.
            RangeError: the plan cannot run it.
        """
        raise ConfigError(f"the suite {self.name} runs no operations or blocks by themselves")

    def run_task(self, link: Link, task: Task, place: Place) -> TaskResult:
        """A party's part of an operation or of blocks, over a fresh link.

        Raises:
            ConfigError: the suite runs whole models only.
            PeerError: the peer or a helper went away or sent what it should not.
        """
        raise ConfigError(f"the suite {self.name} runs no operations or blocks by themselves")

    def deal_task(self, task: Task, place: Place) -> float:
        """What the dealer leaves in the place's folder before the parties begin, where correlations do not
        come while they run; seconds that it took."""
        raise ConfigError(f"the suite {self.name} deals for no tasks")

    def session_context(self, config: ModelConfig, max_context: int | None) -> int:
        """The most tokens of a session.

        Args:
            max_context: what the client asks for; None where it does not say.
        """
        return config.context

    # -- a session at a party --------------------------------------------------------------------------------

    def require_checkable(self, plan: Plan, *, folder: bool = False) -> None:
        """Raises ConfigError where ranges cannot be checked.

        Args:
            folder: correlations come from one.
        """
        raise ConfigError(f"--check-ranges: plan {plan.name} does not check the ranges of values")

    def require_batch(self, plan: Plan, config: ModelConfig, batch: Batch) -> None:
        """Raises ConfigError where passes of several prompts of a model cannot be run."""
        if batch.several:
            raise ConfigError(f"batch: plan {plan.name} runs one prompt a pass, not {batch.size}")

    def require_public_prefix(self, plan: Plan, config: ModelConfig, batch: Batch) -> None:
        """Raises ConfigError where passes cannot follow a public prefix."""
        raise ConfigError(
            f"public prefix: plan {plan.name} runs whole texts privately: leave --public-prefix out, or take "
            "a plan with a dealer, such as --plan fss"
        )

    def require_prefix(
        self, plan: Plan, config: ModelConfig, features: FeatureMap | None, batch: Batch = SINGLE
    ) -> None:
        """Raises ConfigError where attention cannot see a prefix of such features besides its keys."""
        if features is not None:
            raise ConfigError(f"prefix: plan {plan.name} has no attention over prefixes, plans of fss have")

    def ready(self, session_config: SessionConfig) -> SessionConfig:
        """A party's configuration, after what can be done before it meets the others.

        Raises:
            ConfigError: the plan cannot run the model.
            RangeError: the model's values do not fit.
        """
        if session_config.check_ranges:
            self.require_checkable(session_config.plan, folder=session_config.correlations is not None)
        plan, config, batch = session_config.plan, session_config.public.config, session_config.batch
        self.require_batch(plan, config, batch)
        if session_config.public_prefix is not None:
            self.require_public_prefix(plan, config, batch)
            if session_config.correlations is not None:
                raise ConfigError(
                    "public prefix: correlations from a folder are for texts that are private from their "
                    "first token on: take a dealer"
                )
        self.require_prefix(plan, config, session_config.prefix and session_config.prefix.features, batch)
        if session_config.prefix is not None:
            require_one_prefix(session_config.public_prefix)
        return session_config

    def share(self, session_config: SessionConfig) -> Shareable:
        """A server's weights in the form in which its sessions read them, to be in memory once for all of
        them: float weights, in 16 bits where that is exact.

        Raises:
            ConfigError: there are no weights, or the plan cannot run the model.
            RangeError: a weight is too large.
        """
        from mpcinfer.suites.shared_floats import share_floats

        return share_floats(session_config)

    def with_shared(self, session_config: SessionConfig, shared: Shareable) -> SessionConfig:
        """A session's configuration with the weights that `share` made, for the same plan and model.

        Raises ConfigError where they are in another form.
        """
        from mpcinfer.suites.shared_floats import with_floats

        return with_floats(session_config, shared)

    @abstractmethod
    def open(self, link: Link, session_config: SessionConfig) -> AbstractContextManager[PrivateSession]:
        """A party's session over a fresh link: handshakes, helpers, and weights first.

        Raises:
            ConfigError: the terms lack something.
            HandshakeFailed: the peer or a helper is of another version, plan or model.
            PeerError: the peer or a helper went away or sent what it should not.
        """

    # -- kernels ---------------------------------------------------------------------------------------------

    def compiled(self) -> bool:
        """Whether all its kernels are compiled on this machine."""
        return True

    def compile(self, tell: Callable[[int, int], None] | None = None) -> int:
        """Compiles those that are not, and returns how many they were.

        Args:
            tell: is told how many are compiled, and of how many, as far as can be known; from any thread.

        Raises:
            ConfigError: the cache folder is not the user's alone.
        """
        return 0

    def load_kernels(self, plan: Plan, public: PublicModel) -> None:
        """Loads into this process what a session of a model computes with, so that no client waits for it."""
        return

    # -- the dealer ------------------------------------------------------------------------------------------

    def warm_up_dealing(self) -> None:
        """What a dealer can do before parties come."""
        return

    def deal(self, server: Link, client: Link, document: Document) -> str:
        """Serves one session of both parties, as the document that they announced says; a line about it.

        Raises:
            PeerMismatch: the document says something else.
            PeerClosed, PeerTimeout: a party went away or said nothing before the channel's deadline.
        """
        raise PeerMismatch(f"the suite {self.name} takes no dealer")

    def deal_from(self, server: Link, client: Link, document: Document, stock: Stock) -> str:
        """As `deal`, from what was dealt ahead where there is some: the parties see no difference but speed.

        A suite that deals nothing ahead deals as ever.

        Raises:
            ConfigError: what was dealt ahead cannot be read, in the middle of a run.
        """
        return self.deal(server, client, document)

    def most_bundle_bytes(self, program: Document, schedule: Schedule) -> int:
        """What a bundle takes on disk, or somewhat more; it is counted on shapes.

        Args:
            program: as of `Stock.take`.

        Raises:
            ConfigError: the suite deals nothing ahead to a dealer's store.
            PeerMismatch: the program is none of this version.
        """
        raise ConfigError(f"the suite {self.name} deals nothing ahead to a dealer's store")

    def deal_bundle(
        self, program: Document, schedule: Schedule, folder: Path, proceed: Callable[[], bool]
    ) -> int | None:
        """Deals a bundle, for one conversation of one pair, into an empty folder.

        Args:
            proceed: is asked before every pass; False gives the bundle up.

        Returns:
            How many bytes it takes; None where it was given up.

        Raises:
            ConfigError: as `most_bundle_bytes`; or a full disk, whose error is the cause.
        """
        raise ConfigError(f"the suite {self.name} deals nothing ahead to a dealer's store")

    def deal_ahead(self, plan: Plan, config: ModelConfig, ranges: Mapping[str, float], job: Ahead) -> None:
        """Writes correlations for conversations to come: `out`/server for the server, `out`/client for the
        client. Whoever has both can decrypt what is computed with them.

        Raises:
            ConfigError: the plan takes none from a folder, tokens that do not fit the context, a folder that
                is not empty, or a full disk.
            RangeError: values of the model do not fit.
        """
        raise ConfigError(f"plan {plan.name} takes its correlations while it runs, none from a folder")

    def prepare(self, link: Link, session_config: SessionConfig, kept: Kept) -> int:
        """Makes correlations with the other party, which does the same, and keeps this party's part; how many
        bundles there are.

        Raises:
            ConfigError: the plan's correlations come from a dealer; passes that do not fit the context, a
                folder that is not empty, or a full disk.
            PeerError: the peer went away, or sent what it should not.
        """
        name = session_config.plan.name
        raise ConfigError(f"plan {name} has a dealer, which deals ahead: `mpcinfer deal`")

    def holds(self, folder: Path) -> bool:
        """Whether a folder has correlations of this suite."""
        return False

    def skip(self, folder: Path, to: int) -> tuple[int, int]:
        """Gives up the bundles of a party's folder before number `to`; how many these were and how many are
        left.

        Raises:
            ConfigError: it is not one of this suite's, or has no such bundle.
        """
        raise ConfigError(f"{folder}: no folder of correlations")
