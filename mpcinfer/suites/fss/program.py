"""The model as a program of FSS gates, as server, client and dealer run it: alike to the last bit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch

from mpcinfer.generation import Session
from mpcinfer.models.attention_state import FeatureMap
from mpcinfer.models.batch import SINGLE, Batch
from mpcinfer.models.column_weights import ColumnWeights
from mpcinfer.models.config import ModelConfig
from mpcinfer.models.decoder import Decoder, KVCache
from mpcinfer.models.folded import folded_config
from mpcinfer.models.prefix_formats import features_named
from mpcinfer.models.public_document import config_of_peer
from mpcinfer.models.state_cache import cache_of, require_no_public_prefix, require_states
from mpcinfer.prefix.part import PrefixPart
from mpcinfer.suites.fss.backend import FssBackend
from mpcinfer.suites.fss.prefix_states import opened_states, require_features
from mpcinfer.suites.fss.public_prefix import BRING_SHAPES, Bring, prefix_cache, prefix_matrices
from mpcinfer.suites.fss.range_check import CHECK, for_check, of_check, require_agreement
from mpcinfer.suites.fss.second_evaluation import Evaluation, second_evaluation
from mpcinfer.suites.fss.shared_widths import session_context
from mpcinfer.suites.fss.weights import Sharing, matrices
from mpcinfer.suites.fss.widths import Widths
from parties.errors import ConfigError, PeerMismatch
from parties.meter import CLIENT, Meter
from protocols.fss.executors.counting_executor import Counting
from protocols.fss.executors.executor import Executor
from protocols.fss.plans import is_faithful
from protocols.fss.preprocessing.matrix import Matrix
from protocols.fss.registry import check, has_polynomials
from protocols.fss.registry import resolve as resolve_fss
from protocols.plan import Plan
from protocols.share import Share


def widths_of(
    plan: Plan,
    folded: ModelConfig,
    ranges: Mapping[str, float],
    *,
    max_context: int,
    padded: bool,
    prefixed: bool,
) -> Widths:
    """Rings and fraction bits of a program's values.

    Args:
        folded: the shape as the plan runs it.
        ranges: as for `Program.of`.
        prefixed: every query sees a prefix besides the tokens.

    Raises:
        RangeError, ConfigError: as `Widths`, whose widths of layers are computed when they are asked for.
    """
    return Widths(
        folded,
        ranges or None,
        max_context=max_context,
        exact_truncation=is_faithful(plan),
        padded=padded,
        polynomial=has_polynomials(plan),
        state=prefixed,
        states=plan.chunk > 0,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """What a pass computes.

    Attributes:
        plan: says whether truncations are exact.
        config: the shape as the model has it; `folded` as it is run.
        max_context: the most tokens a session holds: sums over keys are as wide as that needs.
        second: evaluates every pass once more, which shows whether values stayed in range; None for none.
        batch: sequences of every pass.
        public_prefix: tokens of a public prefix, which all passes follow; 0 for none.
        prefix: features of what every query sees besides the tokens; None for nothing.
    """

    plan: Plan
    config: ModelConfig
    ranges: Mapping[str, float]
    max_context: int
    folded: ModelConfig
    widths: Widths
    second: Evaluation | None = None
    batch: Batch = SINGLE
    public_prefix: int = 0
    prefix: FeatureMap | None = None

    @classmethod
    def of(
        cls,
        plan: Plan,
        config: ModelConfig,
        ranges: Mapping[str, float],
        max_context: int | None = None,
        *,
        check_ranges: bool = False,
        batch: Batch = SINGLE,
        public_prefix: int = 0,
        prefix: FeatureMap | None = None,
    ) -> Program:
        """The program of a model.

        Args:
            ranges: calibrated ranges; empty for the profile of shapes without weights.
            max_context: at most the model's context; None for `DEFAULT_MAX_CONTEXT`, or the context where
                that is less.
            check_ranges: every pass is evaluated twice, in twice the rounds and over twice the bytes.
            batch: sequences of every pass.
            public_prefix: tokens of a public prefix, fewer than the maximum context.
            prefix: as the attribute.

        Raises:
            ConfigError: a maximum context beyond the model's, ranges that lack something, unknown protocols,
                or one that does not hold the model's values; ranges to be checked where there are none;
                padding that the model's attention cannot leave out; a prefix that it has no protocol for.
            RangeError: something needs more than 64 bits.
        """
        check(plan)
        if plan.chunk:
            require_states(config, plan.chunk)
            require_no_public_prefix(public_prefix)
        batch.require_maskable(config)
        require_features(prefix, config, padded=batch.padded, chunk=plan.chunk)
        max_context = session_context(config, max_context)
        if not 1 <= max_context <= config.context:
            raise ConfigError(
                f"a maximum context of {max_context} tokens; the model has a context of {config.context}"
            )
        if not 0 <= public_prefix < max_context:
            raise ConfigError(
                f"a public prefix of {public_prefix} tokens leaves no room in a maximum context of "
                f"{max_context}"
            )
        folded = folded_config(config) if plan.fold else config
        widths = widths_of(
            plan,
            folded,
            ranges,
            max_context=max_context,
            padded=batch.padded,
            prefixed=prefix is not None,
        )
        second = None
        if check_ranges:
            second = second_evaluation(
                plan,
                folded,
                ranges,
                max_context=max_context,
                padded=batch.padded,
                state=prefix is not None,
            )
        program = cls(
            plan, config, dict(ranges), max_context, folded, widths, second, batch, public_prefix, prefix
        )
        # All limits are met now, not in the middle of a run.
        counting = Counting(Meter(timed=False), exact_truncation=is_faithful(plan))
        program.walk(counting, program.matrices(), cache_of(plan.chunk), 1)
        return program

    def matrices(self) -> dict[str, Matrix]:
        """Names, shapes and rings of the weights, those of a second evaluation after the others."""
        result = self._matrices(self.widths)
        if self.second is not None:
            result |= for_check(self._matrices(self.second.widths))
        return result

    def _matrices(self, widths: Widths) -> dict[str, Matrix]:
        """Of one evaluation."""
        public_prefix = prefix_matrices(self.folded, widths, self.public_prefix)
        return matrices(self.folded, widths, sharing=self.sharing) | public_prefix

    def cache(
        self, weights: Mapping[str, Matrix] | None = None, bring: Bring = BRING_SHAPES, *, reversible: int = 0
    ) -> KVCache[Share]:
        """What the first pass of a session follows, as the plan keeps it: nothing, or a public prefix.

        Args:
            weights: named as those of `matrices`; None for the shapes of these.
            bring: makes somebody's part of a prefix's keys or values.
            reversible: as of `StateCache`.
        """
        if not self.public_prefix:
            return cache_of(self.plan.chunk, reversible)
        weights = self.matrices() if weights is None else weights
        layers, batch = self.folded.layers, self.batch.size
        cache = prefix_cache(weights, layers, batch, bring)
        if self.second is not None:
            cache.other = prefix_cache(of_check(weights), layers, batch, bring)
        return cache

    @property
    def layers(self) -> int:
        """How many layers a pass goes through."""
        return self.folded.layers * (1 if self.second is None else 2)

    @property
    def sharing(self) -> Sharing:
        """What the plan does with weights."""
        return Sharing.of(resolve_fss(self.plan))

    def walk(
        self,
        executor: Executor,
        weights: Mapping[str, Matrix],
        cache: KVCache[Share],
        count: int,
        ids: Sequence[int] | None = None,
        *,
        rows: int = 1,
        padding: Sequence[int] | None = None,
        prefix: PrefixPart | None = None,
        columns: ColumnWeights | None = None,
    ) -> torch.Tensor | None:
        """One pass over `count` tokens of each sequence after those in the cache.

        Args:
            padding: tokens at the start of each sequence that are padding, where the executor knows.
            prefix: this executor's summands of the prefix's states, where it has some; opened in a pass that
                begins a conversation.
            columns: weights of keys, at the client and in the clear; None for none.

        Returns:
            The logits [B * rows, V] after the last `rows` of them, where this executor gets them.

        Raises:
            RangeError: where it does and ranges are checked: a value left its range. The pass is over.
        """
        known = (padding, columns, prefix)
        usual = self._session(executor, Evaluation(self.plan, self.widths), weights, cache, *known)
        logits = usual.opened(ids, count, rows, padding)
        if self.second is not None:
            with executor.meter.span(CHECK):
                beside = self._session(executor, self.second, of_check(weights), cache.beside(), *known)
                other = beside.opened(ids, count, rows, padding)
            if logits is not None and other is not None:
                require_agreement(logits, other, self.ranges)
        return None if logits is None else usual.decoder.answered(logits)

    def _session(
        self,
        executor: Executor,
        evaluation: Evaluation,
        weights: Mapping[str, Matrix],
        cache: KVCache[Share],
        padding: Sequence[int] | None,
        columns: ColumnWeights | None,
        prefix: PrefixPart | None,
    ) -> Session[Share, Matrix]:
        """What runs one evaluation of a pass."""
        backend = FssBackend(
            executor,
            self.folded,
            evaluation.widths,
            resolve_fss(evaluation.plan),
            self.batch.size,
            padding,
        )
        backend.column_weights = columns
        if self.prefix is not None and cache.length == 0:
            of_layers = [evaluation.widths.attention(layer) for layer in range(self.folded.layers)]
            cache.prefix = opened_states(executor, self.folded, of_layers, self.prefix, prefix)
        return Session(Decoder(backend, self.folded, weights, cache.prefix), cache)

    def dealt_bytes(self, tokens: int) -> int:
        """What a dealer sends the client for a first pass; it is counted, in a tenth of a second."""
        counting = Counting(Meter(timed=False), exact_truncation=is_faithful(self.plan))
        self.walk(counting, self.matrices(), self.cache(), tokens)
        return counting.meter.bill().total.offline_bytes_to_client - counting.encrypted.sent[CLIENT]

    def to_document(self) -> dict[str, Any]:
        """What the dealer must know, as plain values."""
        checked: dict[str, Any] = {} if self.second is None else {"check_ranges": True}
        checked |= {} if self.prefix is None else {"prefix": self.prefix}
        return {
            "plan": self.plan.to_json(),
            "model": self.config.to_json(),
            "ranges": dict(self.ranges),
            "max_context": self.max_context,
            **checked,
            **({"public_prefix": self.public_prefix} if self.public_prefix else {}),
            **self.batch.to_document(),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Program:
        """The program of `to_document`.

        Raises:
            PeerMismatch: the document is none.
        """
        try:
            plan = Plan.from_json(document["plan"])
            config = config_of_peer(cast(dict[str, Any], document["model"]), "the model")
            ranges = {str(key): float(value) for key, value in document["ranges"].items()}
            check_ranges = document.get("check_ranges") is True
            return cls.of(
                plan,
                config,
                ranges,
                int(document["max_context"]),
                check_ranges=check_ranges,
                batch=Batch.from_document(document),
                public_prefix=int(document.get("public_prefix", 0)),
                prefix=features_named(document.get("prefix")),
            )
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError, ConfigError) as error:
            raise PeerMismatch(f"no description of a model to deal for: {error}") from None
