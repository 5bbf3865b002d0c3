"""Rings of norms that come last, and of what reads them."""

from __future__ import annotations

from mpcinfer.models.site import Site
from mpcinfer.suites.fss.attention_widths import NormWidths
from mpcinfer.suites.fss.precision import fits
from mpcinfer.suites.fss.widths import Widths


def residual_gain_bits(widths: Widths, name: str) -> int:
    """The ring of a norm's rows that a residual reads through a gain, or the client at the end.

    Args:
        name: of the gain.
    """
    part = name.rpartition(".")[0]
    if part.endswith("head.residual"):
        return widths.head_bits
    layer = int(part.split(".")[0].removeprefix("layer"))
    norm = widths.attention(layer).norm if part.endswith("residual1") else widths.ffn(layer).norm
    scale = norm.held + widths.residual_gain_frac
    return fits(widths.residual_bits + max(scale - widths.precision.residual, 0), name)


def post_norm(widths: Widths, site: Site) -> tuple[NormWidths, int]:
    """A norm that comes last, and the ring in which its rows go to the server: that of the linear layer that
    reads them or of the residual's gain, whichever is wider."""
    if site.part == "norm1":
        assert site.layer is not None
        ffn = widths.ffn(site.layer)
        return ffn.norm, max(ffn.in_bits, residual_gain_bits(widths, f"layer{site.layer}.residual2.weight"))
    following = 0 if site.layer is None else site.layer + 1
    if following < widths.config.layers:
        attention = widths.attention(following)
        gain = residual_gain_bits(widths, f"layer{following}.residual1.weight")
        return attention.norm, max(attention.qkv_bits, gain)
    if widths.config.pooler != "none":
        return widths.pooler.norm, widths.pooler.in_bits
    return widths.head_norm, widths.head_bits
