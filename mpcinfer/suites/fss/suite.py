"""The suite `fss`: masked values and function secret sharing, with a dealer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpcinfer.models.batch import SINGLE, Batch
from mpcinfer.suites import kernel_mark
from mpcinfer.suites.requests import Ahead, Run
from mpcinfer.suites.suite import Document, Suite
from parties.errors import ConfigError
from protocols.fss import plans
from protocols.plan import Plan

if TYPE_CHECKING:
    from mpcinfer.models.attention_state import FeatureMap
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


class FssSuite(Suite):
    """Rings as narrow as a model's ranges allow, and kernels compiled for the processor.

    Correlations come from a dealer, or from a folder that one wrote."""

    name = plans.NAME
    plans = plans.PLANS
    keeps_states = True
    modules = ("mpcinfer.suites.fss.connect", "mpcinfer.suites.fss.dealing", "mpcinfer.suites.fss.ready")

    @property
    def operations(self) -> Mapping[str, Mapping[str, object]]:
        from protocols.fss.registry import OPERATIONS

        return OPERATIONS

    def check(self, plan: Plan) -> None:
        from protocols.fss.registry import check

        check(plan)

    def is_polynomial(self, plan: Plan) -> bool:
        from protocols.fss.registry import is_polynomial

        return is_polynomial(plan)

    def depth(self, plan: Plan, run: Run) -> DepthReport:
        """Of the suite `crypten` alone, whose tensors can hold levels."""
        if not self.is_polynomial(plan):
            return super().depth(plan, run)
        raise ConfigError(
            f"plan {plan.name} multiplies masked values, which have no levels to count: take --plan poly of "
            "the suite crypten"
        )

    def count(self, plan: Plan, run: Run) -> Bill:
        from mpcinfer.suites.fss.counting import count_fss

        return count_fss(plan, run)

    def reference(
        self,
        model: Model,
        plan: Plan,
        *,
        max_context: int | None = None,
        prefix: PrefixAdapter | None = None,
    ) -> Decoder[Any, Any]:
        """With exact truncation, whatever the plan's: `fss-faithful` equals it bit by bit."""
        from mpcinfer.suites.fss.reference import reference_decoder

        return reference_decoder(model, plan, max_context=max_context, prefix=prefix)

    def session_context(self, config: ModelConfig, max_context: int | None) -> int:
        from mpcinfer.suites.fss.shared_widths import session_context

        return session_context(config, max_context)

    def rounding_of_logits(self, plan: Plan, ranges: Mapping[str, float]) -> float:
        return 0.0 if plans.is_faithful(plan) else super().rounding_of_logits(plan, ranges)

    def entries(self, config: ModelConfig, tokens: int) -> list[Entry]:
        from mpcinfer.suites.fss.catalogue import fss_entries

        return fss_entries(config, tokens)

    def gates(self, config: ModelConfig, tokens: int) -> list[Entry]:
        from mpcinfer.suites.fss.gates import gate_entries

        return gate_entries(config, tokens)

    def sample_plan(self, operation: str, name: str) -> Plan:
        """Of exact truncation, the plan that has what goes with it."""
        from mpcinfer.suites.fss.catalogue import sample_plan

        return sample_plan(operation, name)

    def count_task(self, task: Task) -> Bill:
        from mpcinfer.suites.fss.tasks import count_task

        return count_task(task)

    def run_task(self, link: Link, task: Task, place: Place) -> TaskResult:
        from mpcinfer.suites.fss.tasks import run_task

        return run_task(link, task, place)

    def deal_task(self, task: Task, place: Place) -> float:
        from mpcinfer.suites.fss.tasks import deal_task

        return deal_task(task, place)

    def require_checkable(self, plan: Plan, *, folder: bool = False) -> None:
        from mpcinfer.suites.fss.second_evaluation import require_no_polynomials

        require_no_polynomials(plan)
        if folder:
            raise ConfigError(
                "--check-ranges needs a dealer: correlations from `mpcinfer deal` is for one evaluation a "
                "pass"
            )

    def require_batch(self, plan: Plan, config: ModelConfig, batch: Batch) -> None:
        batch.require_maskable(config)

    def require_public_prefix(self, plan: Plan, config: ModelConfig, batch: Batch) -> None:
        from mpcinfer.models.prefix_run import require_prefix_possible

        require_prefix_possible(config, batch)

    def reference_cache(self, decoder: Decoder[Any, Any], run: PrefixRun) -> KVCache[Any]:
        from mpcinfer.suites.fss.reference import reference_cache

        return reference_cache(decoder, run)

    def require_prefix(
        self, plan: Plan, config: ModelConfig, features: FeatureMap | None, batch: Batch = SINGLE
    ) -> None:
        from mpcinfer.suites.fss.prefix_states import require_features

        require_features(features, config, padded=batch.padded, chunk=plan.chunk)

    def ready(self, session_config: SessionConfig) -> SessionConfig:
        from mpcinfer.suites.fss.ready import ready

        return ready(super().ready(session_config))

    def share(self, session_config: SessionConfig) -> Shareable:
        """Encoded, in 16 bits where weights fit these."""
        from mpcinfer.suites.fss.shared_matrices import share_matrices

        return share_matrices(session_config)

    def with_shared(self, session_config: SessionConfig, shared: Shareable) -> SessionConfig:
        from mpcinfer.suites.fss.shared_matrices import with_matrices

        return with_matrices(session_config, shared)

    def open(self, link: Link, session_config: SessionConfig) -> AbstractContextManager[PrivateSession]:
        from mpcinfer.suites.fss.connect import fss_session

        return fss_session(link, session_config)

    def compiled(self) -> bool:
        return kernel_mark.is_warm()

    def compile(self, tell: Callable[[int, int], None] | None = None) -> int:
        from mpcinfer.suites.fss.warm import warm

        return warm(tell)

    def load_kernels(self, plan: Plan, public: PublicModel) -> None:
        from mpcinfer.suites.fss.ready import warm_up

        warm_up(plan, public.config, public.ranges)

    def warm_up_dealing(self) -> None:
        from mpcinfer.suites.fss.ready import warm_up_dealing

        warm_up_dealing()

    def deal(self, server: Link, client: Link, document: Document) -> str:
        from mpcinfer.suites.fss.dealing import serve_fss
        from mpcinfer.suites.fss.program import Program

        runs, size = serve_fss(server, client, Program.from_document(document))
        return f"{runs:,} passes, {size:,} bytes"

    def deal_from(self, server: Link, client: Link, document: Document, stock: Stock) -> str:
        from mpcinfer.suites.fss.stored_dealing import serve_stocked

        return serve_stocked(server, client, document, stock)

    def most_bundle_bytes(self, program: Document, schedule: Schedule) -> int:
        from mpcinfer.suites.fss.stored_dealing import most_bundle_bytes

        return most_bundle_bytes(program, schedule)

    def deal_bundle(
        self, program: Document, schedule: Schedule, folder: Path, proceed: Callable[[], bool]
    ) -> int | None:
        from mpcinfer.suites.fss.stored_dealing import deal_bundle

        return deal_bundle(program, schedule, folder, proceed)

    def deal_ahead(self, plan: Plan, config: ModelConfig, ranges: Mapping[str, float], job: Ahead) -> None:
        from mpcinfer.suites.fss.deal_to_disk import deal_to_disk

        deal_to_disk(plan, config, ranges, job)

    def holds(self, folder: Path) -> bool:
        from protocols.fss.preprocessing.bundle_store import MANIFEST

        return (folder / MANIFEST).exists()

    def skip(self, folder: Path, to: int) -> tuple[int, int]:
        from mpcinfer.suites.fss.deal_to_disk import skip

        return skip(folder, to)
