"""Where a command's model runs: in this process, in processes beside it, or at a server elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from mpcinfer.clear import ClearModel
from mpcinfer.cli.progress import announce
from mpcinfer.draft_model import load_draft
from mpcinfer.models.load import load_model, load_public
from mpcinfer.plans import plan_from
from mpcinfer.roles.addresses import Address
from mpcinfer.roles.client import NO_FOLDER, PrivateClient, connect_client
from mpcinfer.roles.terms import Progress
from mpcinfer.roles.together import private
from mpcinfer.speculation import Draft, look_up
from parties.errors import ConfigError
from parties.keys import load_secret
from protocols.plan import Plan

Runner = ClearModel | PrivateClient
"""What completes prompts: a model in the clear, or a connected client."""


class Local(StrEnum):
    """How to run without a server."""

    PLAIN = "plain"
    FIXED = "fixed"
    PRIVATE = "private"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parties:
    """What the command line says about the other parties.

    Attributes:
        room: the most tokens of a session; None for the engine's default.
        on_progress: is told how far the dealing is.
    """

    server: str | None
    server_key: Path | None
    dealer: str
    dealer_key: Path | None
    material: Path | None
    key: Path | None
    timeout_s: float
    insecure_dealer: bool
    on_progress: Callable[[Progress], None]
    room: int | None = None


@contextmanager
def running(
    model: str, local: Local | None, plan: str, choices: Sequence[str], parties: Parties
) -> Generator[Runner]:
    """A model that is ready for prompts, for the length of a block.

    Raises:
        ConfigError: the command line leaves open where to run, or names what there is not.
        PeerError: a party went away or sent what it should not.
    """
    if local in (Local.PLAIN, Local.FIXED):
        fixed = local is Local.FIXED
        room = parties.room if fixed else None  # rings, and so the last bits, depend on it
        yield ClearModel(load_model(model), fixed_point=fixed, plan=plan, choices=choices, room=room)
    elif local is Local.PRIVATE:
        with private(
            model,
            plan=plan,
            choices=choices,
            timeout_s=parties.timeout_s,
            insecure_dealer=parties.insecure_dealer,
            room=parties.room,
            say=announce,
            on_progress=parties.on_progress,
        ) as client:
            yield client
    else:
        with _connected(model, plan_from(plan, choices), parties) as client:
            yield client


@contextmanager
def _connected(model: str, plan: Plan, parties: Parties) -> Generator[PrivateClient]:
    """A client of a server elsewhere."""
    if parties.server is None or parties.server_key is None or parties.key is None:
        raise ConfigError(
            "say where the server is: --server, --server-key and --key (and --dealer, --dealer-key); or "
            "--local private to start one on this machine, --local plain to run without privacy"
        )
    dealer = None
    if not parties.insecure_dealer and parties.material is None:
        if parties.dealer_key is None:
            raise ConfigError(
                "say who the dealer is: --dealer-key, the dealer's .public file; or --material, a folder "
                "that `mpcinfer deal` made"
            )
        dealer = Address.load(parties.dealer, parties.dealer_key)
    with connect_client(
        load_public(model),
        plan,
        keys=load_secret(parties.key),
        server=Address.load(parties.server, parties.server_key),
        dealer=dealer,
        material=parties.material,
        room=parties.room,
        timeout_s=parties.timeout_s,
        on_progress=parties.on_progress,
    ) as client:
        yield client


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafting:
    """What the command line says about drafts.

    Raises:
        ConfigError: a draft model and no drafts, or drafts over a folder of correlations.
    """

    speculate: int
    draft_model: str | None
    material: Path | None = None

    def __post_init__(self) -> None:
        if self.draft_model is not None and not self.speculate:
            raise ConfigError("--draft-model drafts for --speculate N: say how many tokens")
        if self.material is not None and self.speculate:
            raise ConfigError(NO_FOLDER)

    def draft(self, runner: Runner) -> Draft:
        """What makes the drafts for a model.

        Raises:
            ConfigError: the draft model cannot be loaded, or has other tokens.
        """
        return look_up if self.draft_model is None else load_draft(self.draft_model, runner.public)
