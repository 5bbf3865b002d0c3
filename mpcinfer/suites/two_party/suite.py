"""The suite `two-party`: additive shares between two parties and nobody else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpcinfer.suites import kernel_mark
from mpcinfer.suites.requests import Ahead, Kept, Run
from mpcinfer.suites.suite import Suite, no_dealer
from parties.errors import ConfigError
from protocols.plan import Plan
from protocols.two_party import plans

if TYPE_CHECKING:
    from mpcinfer.models.batch import Batch
    from mpcinfer.models.config import ModelConfig
    from mpcinfer.models.decoder import Decoder
    from mpcinfer.models.model import Model
    from mpcinfer.prefix.adapter import PrefixAdapter
    from mpcinfer.sessions.session import PrivateSession
    from mpcinfer.sessions.session_config import SessionConfig
    from mpcinfer.suites.entry import Entry
    from mpcinfer.suites.task import Place, Task, TaskResult
    from parties.bill import Bill
    from parties.link import Link


class TwoPartySuite(Suite):
    """One ring for all of a run, 16 fraction bits; correlations by oblivious transfer and encryption."""

    name = plans.NAME
    plans = plans.PLANS
    helpers = ()
    modules = ("mpcinfer.suites.two_party.session",)
    dealt_while_running = True

    @property
    def operations(self) -> Mapping[str, Mapping[str, object]]:
        from protocols.two_party.registry import OPERATIONS

        return OPERATIONS

    def is_polynomial(self, plan: Plan) -> bool:
        from protocols.two_party.registry import is_polynomial

        return is_polynomial(plan)

    def count(self, plan: Plan, run: Run) -> Bill:
        from mpcinfer.suites.two_party.counting import count_two_party

        return count_two_party(plan, run)

    def reference(
        self,
        model: Model,
        plan: Plan,
        *,
        max_context: int | None = None,
        prefix: PrefixAdapter | None = None,
    ) -> Decoder[Any, Any]:
        """As the suite `crypten`'s: its protocols are the same, on other primitives."""
        from mpcinfer.suites.arithmetic import reference
        from protocols.two_party.primitives import FRAC_BITS
        from protocols.two_party.registry import resolve

        self.require_prefix(plan, model.config, prefix and prefix.features)
        if self.is_polynomial(plan):
            return reference.polynomial_decoder(model, plan, resolve(plan), FRAC_BITS)
        return reference.reference_decoder(model, FRAC_BITS)

    def entries(self, config: ModelConfig, tokens: int) -> list[Entry]:
        from mpcinfer.suites.two_party.catalogue import two_party_entries

        return two_party_entries(config, tokens)

    def count_task(self, task: Task) -> Bill:
        from mpcinfer.suites.two_party.tasks import count_task

        return count_task(task)

    def run_task(self, link: Link, task: Task, place: Place) -> TaskResult:
        from mpcinfer.suites.two_party.tasks import run_task

        return run_task(link, task)

    def require_checkable(self, plan: Plan, *, folder: bool = False) -> None:
        raise ConfigError(
            "--check-ranges is for plans of the suite fss, whose rings are as wide as values were seen to "
            f"get; plan {plan.name} leaves room for twice as much: --verify compares with the model"
        )

    def deal_ahead(self, plan: Plan, config: ModelConfig, ranges: Mapping[str, float], job: Ahead) -> None:
        raise ConfigError(
            f"{no_dealer(plan)}, so nothing can be dealt: leave `mpcinfer deal` out; they are made while "
            "`serve` and `generate` run, or before the prompt is known by `PrivateClient.prepare`"
        )

    def require_batch(self, plan: Plan, config: ModelConfig, batch: Batch) -> None:
        batch.require_maskable(config)

    def ready(self, session_config: SessionConfig) -> SessionConfig:
        require_no_dealer(session_config)
        return super().ready(session_config)

    def compiled(self) -> bool:
        return kernel_mark.is_warm(*plans.KERNEL_SOURCES)

    def compile(self, tell: Callable[[int, int], None] | None = None) -> int:
        from mpcinfer.suites.two_party.warm import warm

        return warm(tell)

    def open(self, link: Link, session_config: SessionConfig) -> AbstractContextManager[PrivateSession]:
        if session_config.correlations is not None:
            from mpcinfer.suites.two_party.kept_session import kept_session

            return kept_session(link, session_config, session_config.correlations)
        from mpcinfer.suites.two_party.session import two_party_session

        return two_party_session(link, session_config)

    def prepare(self, link: Link, session_config: SessionConfig, kept: Kept) -> int:
        from mpcinfer.suites.two_party.prepare import prepare

        require_no_dealer(session_config)
        return prepare(link, session_config, kept)

    def holds(self, folder: Path) -> bool:
        from protocols.two_party.bundle_store import MANIFEST

        return (folder / MANIFEST).exists()

    def skip(self, folder: Path, to: int) -> tuple[int, int]:
        from mpcinfer.suites.two_party.prepare import skip

        return skip(folder, to)


def require_no_dealer(session_config: SessionConfig) -> None:
    """Raises ConfigError where correlations are to come from a dealer."""
    given = (session_config.dealer, session_config.insecure_dealer or None)
    if any(each is not None for each in given):
        raise ConfigError(no_dealer(session_config.plan))
