"""Weights in fixed point before any session: for its usual terms, and where those for other terms are found.

A weight's entries depend on its fraction bits alone; rings, sequences a pass and what is masked are a
session's. Fraction bits depend on the session's maximum context, which the client chooses: sums over more
keys leave a ring less room.
"""

from __future__ import annotations

from collections.abc import Mapping

from mpcinfer.sessions.session_config import SessionConfig
from mpcinfer.suites.fss.program import Program
from mpcinfer.suites.fss.range_check import plain_name
from mpcinfer.suites.fss.shared_widths import session_context
from protocols.fss.preprocessing.matrix import Matrix


def usual_program(session_config: SessionConfig) -> Program:
    """The program of sessions that ask for no maximum context.

    Raises:
        ConfigError, RangeError: as `Program.of`.
    """
    public, prefix_tokens = session_config.public, session_config.prefix_tokens
    usual = session_context(public.config, None)
    return Program.of(
        session_config.plan,
        public.config,
        public.ranges,
        None if prefix_tokens < usual else public.config.context,
        check_ranges=session_config.check_ranges,
        public_prefix=prefix_tokens,
        prefix=session_config.prefix and session_config.prefix.features,
    )


def key_with(name: str, frac_bits: int) -> str:
    """The key of a weight in other fraction bits than the usual ones."""
    return f"{name}@{frac_bits}"


def found_ahead(ahead: Mapping[str, Matrix], wanted: Matrix) -> Matrix | None:
    """What was encoded ahead of a weight in the fraction bits that a session wants; None where nothing was.

    A second evaluation takes the first one's, whose entries are the same.

    Args:
        ahead: by name, and by `key_with`.
        wanted: its value is not read.
    """
    name = plain_name(wanted.name)
    for key in (wanted.name, name, key_with(name, wanted.frac_bits)):
        if key in ahead and ahead[key].frac_bits == wanted.frac_bits:
            return ahead[key]
    return None
