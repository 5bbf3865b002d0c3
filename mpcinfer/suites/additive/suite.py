"""The suite `crypten`: additive shares of Z_2^64 on CrypTen's primitives, with a dealer."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from mpcinfer.suites.requests import Run
from mpcinfer.suites.suite import Document, Suite
from parties.errors import ConfigError
from protocols.additive import plans
from protocols.plan import Plan

if TYPE_CHECKING:
    from mpcinfer.models.batch import Batch
    from mpcinfer.models.config import ModelConfig
    from mpcinfer.models.decoder import Decoder, KVCache
    from mpcinfer.models.depth import DepthReport
    from mpcinfer.models.model import Model
    from mpcinfer.models.prefix_run import PrefixRun
    from mpcinfer.prefix.adapter import PrefixAdapter
    from mpcinfer.sessions.session import PrivateSession
    from mpcinfer.sessions.session_config import SessionConfig
    from mpcinfer.suites.entry import Entry
    from mpcinfer.suites.task import Place, Task, TaskResult
    from parties.bill import Bill
    from parties.link import Link


class AdditiveSuite(Suite):
    """Everything in 64 bits with 16 fraction bits; correlations from a dealer while a step runs."""

    name = plans.NAME
    plans = plans.PLANS
    modules = ("mpcinfer.suites.additive.session", "protocols.additive.dealer")
    dealt_while_running = True

    @property
    def operations(self) -> Mapping[str, Mapping[str, object]]:
        from protocols.additive.registry import OPERATIONS

        return OPERATIONS

    def is_polynomial(self, plan: Plan) -> bool:
        from protocols.additive.registry import is_polynomial

        return is_polynomial(plan)

    def require(self) -> None:
        from protocols.additive.crypten.compat import import_crypten

        import_crypten()

    def count(self, plan: Plan, run: Run) -> Bill:
        from mpcinfer.suites.additive.counting import count_additive

        return count_additive(plan, run)

    def reference(
        self,
        model: Model,
        plan: Plan,
        *,
        max_context: int | None = None,
        prefix: PrefixAdapter | None = None,
    ) -> Decoder[Any, Any]:
        """Norms folded, every product truncated exactly; no approximation of a plan's protocols.

        Of a polynomial plan the polynomials themselves: they are the model.
        """
        from mpcinfer.suites.arithmetic import reference
        from protocols.additive.primitives import FRAC_BITS
        from protocols.additive.registry import resolve

        self.require_prefix(plan, model.config, prefix and prefix.features)
        if self.is_polynomial(plan):
            return reference.polynomial_decoder(model, plan, resolve(plan), FRAC_BITS)
        return reference.reference_decoder(model, FRAC_BITS)

    def depth(self, plan: Plan, run: Run) -> DepthReport:
        from mpcinfer.suites.additive.depth import count_depth

        if not self.is_polynomial(plan):
            return super().depth(plan, run)
        return count_depth(plan, run)

    def entries(self, config: ModelConfig, tokens: int) -> list[Entry]:
        from mpcinfer.suites.additive.catalogue import crypten_entries

        return crypten_entries(config, tokens)

    def sample_plan(self, operation: str, name: str) -> Plan:
        return plans.PLANS["crypten"].replace(**{operation: name})

    def count_task(self, task: Task) -> Bill:
        from mpcinfer.suites.additive.tasks import count_task

        return count_task(task)

    def run_task(self, link: Link, task: Task, place: Place) -> TaskResult:
        from mpcinfer.suites.additive.tasks import run_task

        return run_task(link, task, place)

    def require_checkable(self, plan: Plan, *, folder: bool = False) -> None:
        raise ConfigError(
            "--check-ranges is for plans of the suite fss, whose rings are as wide as values were seen to "
            f"get; plan {plan.name} computes in 64 bits throughout"
        )

    def require_batch(self, plan: Plan, config: ModelConfig, batch: Batch) -> None:
        from mpcinfer.suites.additive.batch import require_maskable

        require_maskable(plan, config, batch)

    def require_public_prefix(self, plan: Plan, config: ModelConfig, batch: Batch) -> None:
        from mpcinfer.models.prefix_run import require_prefix_possible

        require_prefix_possible(config, batch)

    def reference_cache(self, decoder: Decoder[Any, Any], run: PrefixRun) -> KVCache[Any]:
        from mpcinfer.suites.arithmetic.public_prefix import reference_cache

        return reference_cache(decoder, run)

    def open(self, link: Link, session_config: SessionConfig) -> AbstractContextManager[PrivateSession]:
        from mpcinfer.suites.additive.session import crypten_session

        return crypten_session(link, session_config)

    def deal(self, server: Link, client: Link, document: Document) -> str:
        from protocols.additive.dealer import serve_dealer

        dealt = serve_dealer(server, client)
        return f"{dealt.correlations:,} correlations, {dealt.bytes_to_server:,} bytes"
