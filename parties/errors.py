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

Messages give expected, got, label and rank; never a share or a secret.
"""

from __future__ import annotations


class MpcInferError(Exception):
    """Base of all errors a user of this project may want to catch."""


class ConfigError(MpcInferError):
    """A file, an option or a model that cannot be used."""


class HandshakeFailed(MpcInferError):
    """The peer is of another version, plan, model or key."""


class PeerError(MpcInferError):
    """What the peer sent or did."""


class PeerClosed(PeerError):
    """The peer went away."""


class PeerTimeout(PeerError):
    """The peer said nothing before the deadline."""


class PeerMismatch(PeerError):
    """A well-formed frame that is not the one expected here."""


class MalformedFrame(PeerError):
    """Bytes that are no frame."""


class CorrelationExhausted(MpcInferError):
    """No correlated randomness is left, or it would be used twice."""


class RangeError(MpcInferError):
    """A value outside what a protocol or a ring can hold."""


class InsecureRefused(MpcInferError):
    """Something insecure that was not explicitly allowed."""


class AdmissionRefused(MpcInferError):
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
