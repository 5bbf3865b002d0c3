"""What a server serves, as the front and its workers are told: names and paths, no secret."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from mpcinfer.models.load import load_model, load_public
from mpcinfer.models.prefix_run import OnePrefixRun
from mpcinfer.plans import plan_from
from mpcinfer.prefix.file import load_part
from mpcinfer.public_prefix import PrefixText
from mpcinfer.roles.server import prefix_source
from mpcinfer.sessions.addresses import Address
from mpcinfer.sessions.session_config import IDLE_S, SessionConfig, require_source
from mpcinfer.sessions.step_limits import StepLimits
from mpcinfer.suites.registry import suite_of
from mpcinfer.suites.suite import DEALER
from parties.keys import load_secret
from parties.shaped import Shape

Weights = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTerms:
    """One server's configuration.

    Attributes:
        model: a name or a path.
        plan, choices: a preset or a plan file, and `operation=protocol` replacements.
        key: the server's .secret file.
        listen: `tcp://host:port`; workers listen at the same host.
        dealer: endpoint and public key; None where correlations come from elsewhere.
        correlations: a folder of them.
        public_prefix: its text, and whether it is a system message.
        prefix: a file of this party's part of an adapter, or its features.
        shaped: the network that connections behave like, as `Shape.to_text` says it.
        context, prompt_tokens, session_tokens, session_s: as in `StepLimits`.
        accept_s: how long a worker waits for its client.
        others: as in `SessionConfig`.
    """

    model: str
    plan: str
    choices: list[str]
    key: str
    listen: str
    dealer: tuple[str, str] | None = None
    correlations: str | None = None
    timeout_s: float = 60.0
    idle_s: float = IDLE_S
    check_ranges: bool = False
    insecure_dealer: bool = False
    shaped: str | None = None
    public_prefix: tuple[str, bool] | None = None
    prefix: str | None = None
    context: int | None = None
    prompt_tokens: int | None = None
    session_tokens: int | None = None
    session_s: float | None = None
    accept_s: float = 30.0

    def to_document(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> ServerTerms:
        """Of `to_document`."""
        fields = dict(document)
        for name in ("dealer", "public_prefix"):
            fields[name] = None if fields[name] is None else tuple(fields[name])
        return cls(**fields)

    @property
    def limits(self) -> StepLimits:
        """Of a session."""
        return StepLimits(
            context=self.context,
            prompt_tokens=self.prompt_tokens,
            session_tokens=self.session_tokens,
            session_s=self.session_s,
        )

    @property
    def shape(self) -> Shape | None:
        """What `shaped` says."""
        return None if self.shaped is None else Shape.from_text(self.shaped)

    def session_config(self, weights: Callable[[Callable[[], Weights]], Weights]) -> SessionConfig:
        """A configuration for sessions, not `ready` yet.

        Args:
            weights: makes weights of what loads them, at once or when they are looked at.

        Raises:
            ConfigError: the model, the plan, a key or a prefix cannot be used.
            InsecureRefused: neither a dealer nor correlations, and that was not asked for.
        """
        plan, public = plan_from(self.plan, self.choices), load_public(self.model)
        correlations = None if self.correlations is None else Path(self.correlations)
        dealer = None if self.dealer is None else Address(*self.dealer)
        if DEALER in suite_of(plan).helpers:
            require_source(dealer, correlations, self.insecure_dealer)
        own = weights(lambda: load_model(self.model).weights)
        prefix = None if self.public_prefix is None else PrefixText(*self.public_prefix).of(public)
        return SessionConfig(
            plan=plan,
            public=public,
            weights=own,
            keys=load_secret(Path(self.key)),
            dealer=dealer,
            correlations=correlations,
            timeout_s=self.timeout_s,
            idle_s=self.idle_s,
            check_ranges=self.check_ranges,
            insecure_dealer=self.insecure_dealer,
            shape=self.shape,
            public_prefix=prefix,
            prefix_run=None if prefix is None else OnePrefixRun(prefix_source(public, own, prefix)),
            prefix=None if self.prefix is None else load_part(self.prefix, public, "server"),
        )
