"""Rings of an FFN."""

from __future__ import annotations

from dataclasses import dataclass

from mpcinfer.suites.fss.attention_widths import NormWidths


@dataclass(frozen=True, slots=True, kw_only=True)
class FfnWidths:
    """Rings of one layer's FFN."""

    norm: NormWidths
    """The block's norm; where it has none, that of the profile."""
    in_bits: int
    reading: int
    """Fraction bits of the weights that read the norm or the residual."""
    preactivation_bits: int
    """Ring bits of the pre-activation as it is opened to the client."""
    index_bits: int
    activation_bits: int
    """Ring bits for the activation and the gated product."""
    out_bits: int
