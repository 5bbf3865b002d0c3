"""Every error this project raises on purpose, in one tree.

    MpcInferError
      ConfigError            a file, an option or a model that cannot be used
      HandshakeFailed        the peer is of another version, plan, model or key
      PeerError              what the peer sent or did
        PeerClosed           it went away
        PeerTimeout          it said nothing before the deadline
        PeerMismatch         a well-formed frame that is not the one expected here
        MalformedFrame       bytes that are no frame
      CorrelationExhausted   no correlated randomness is left, or it would be used twice
      RangeError             a value outside what a protocol or a ring can hold
      InsecureRefused        something insecure that was not explicitly allowed
      AdmissionRefused       a server or a dealer that serves many does not take this session now

Messages give expected, got, label and rank; never a share or a secret. Where one may quote a peer, it is
printable, on one line, and of at most `MOST_LETTERS` letters, so that nobody writes lines of a log but its
owner.
"""

from __future__ import annotations

MOST_LETTERS = 600
_FIRST, _LAST = 400, 150


def one_line(message: str) -> str:
    """A message as one short printable line; what is left out is its middle."""
    shown = "".join(map(_printable, _cut(message)))
    return _cut(shown)


def _cut(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else f"{text[:_FIRST]} ... {text[-_LAST:]}"


def _printable(letter: str) -> str:
    return letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")


class _Quoting(Exception):
    """An error whose message may hold words of a peer."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class MpcInferError(Exception):
    """Base of all errors a user of this project may want to catch."""


class ConfigError(MpcInferError):
    """A file, an option or a model that cannot be used."""


class HandshakeFailed(_Quoting, MpcInferError):
    """The peer is of another version, plan, model or key."""


class PeerError(MpcInferError):
    """What the peer sent or did."""


class PeerClosed(PeerError):
    """The peer went away."""


class PeerTimeout(PeerError):
    """The peer said nothing before the deadline."""


class PeerMismatch(_Quoting, PeerError):
    """A well-formed frame that is not the one expected here."""


class MalformedFrame(_Quoting, PeerError):
    """Bytes that are no frame."""


class CorrelationExhausted(MpcInferError):
    """No correlated randomness is left, or it would be used twice."""


class RangeError(MpcInferError):
    """A value outside what a protocol or a ring can hold."""


class InsecureRefused(MpcInferError):
    """Something insecure that was not explicitly allowed."""


class AdmissionRefused(_Quoting, MpcInferError):
    """A server or a dealer does not take this session now, or ends it by a limit of its own.

    Attributes:
        reason: one of `parties.refusals.REASONS`.
        message: for people.
        retry_s: in how many seconds to try again; None where that does not help.
    """

    def __init__(self, reason: str, message: str, retry_s: float | None = None) -> None:
        hint = "" if retry_s is None else f"; try again in {retry_s:.0f} s"
        super().__init__(f"{message} ({reason}){hint}")
        self.reason, self.message, self.retry_s = reason, message, retry_s
