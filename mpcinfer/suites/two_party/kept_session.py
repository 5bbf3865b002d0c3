"""A session over correlations that both parties made before and kept on disk."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from mpcinfer.sessions.session import PrivateSession
from mpcinfer.sessions.session_config import SessionConfig, greet
from mpcinfer.sessions.tally import Tally
from mpcinfer.suites.two_party.session import TwoPartySession
from parties.errors import ConfigError
from parties.link import Link
from protocols.two_party.bundle_store import KeptFolder
from protocols.two_party.stored_source import KeptSource


class KeptSession(TwoPartySession):
    """As `TwoPartySession`, for conversations of the lengths that the folder was made for.

    Args:
        kept: both parties have the same bundles.
    """

    def __init__(self, link: Link, session_config: SessionConfig, kept: KeptSource) -> None:
        progress = Tally(session_config.on_progress)
        plan, public, weights = session_config.plan, session_config.public, session_config.weights
        super().__init__(link, plan, public, weights, progress=progress, kept=kept)
        self._kept = kept

    @property
    def on_demand(self) -> bool:
        return False

    @property
    def first_tokens(self) -> int | None:
        return self._kept.folder.manifest.lengths[0]

    @property
    def notes(self) -> list[str]:
        made = "correlations come from a folder; offline figures are those of their making"
        return [made, *super().notes]

    def wanted(self, tokens: int, rows: int, then: int) -> tuple[int, int, int] | None:
        return None if self.is_next(tokens, rows) else (self.length, tokens, rows)

    def check(self, start: int, lengths: Sequence[int], rows: int = 1) -> None:
        self._kept.check(start, lengths, rows)

    def prepare(self, lengths: Sequence[int], rows: int = 1) -> None:
        self._kept.begin(self.prepared_end, lengths, rows)
        super().prepare(lengths, rows)

    def rewind(self, length: int) -> None:
        if self.asked or length < self.length:
            self._kept.give_up()
        super().rewind(length)


@contextmanager
def kept_session(link: Link, session_config: SessionConfig, path: Path) -> Generator[PrivateSession]:
    """A session over a folder, after the handshake with the other party, which must have the other half.

    Raises:
        ConfigError: a folder that cannot be used, or is for another plan or model; several prompts a pass.
        HandshakeFailed: the other party is of another version, plan or model, or has other correlations.
    """
    if session_config.batch.several:
        raise ConfigError(f"batch: {path} is for one prompt a pass; leave --correlations out")
    plan, public = session_config.plan, session_config.public
    folder = KeptFolder(path)
    with closing(folder):
        manifest = folder.manifest
        if (manifest.plan, manifest.model) != (plan.digest(), public.digest()):
            raise ConfigError(
                f"{path} was made for another model or plan, not for {public.name} under {plan.name}; for "
                f"these: {manifest.command}"
            )
        source = KeptSource(link, folder)
        greet(link, f"{plan.digest()}, correlations {manifest.id}", public.digest())
        with closing(source):
            yield KeptSession(link, session_config, source)
