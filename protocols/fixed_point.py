"""Fixed-point numbers on Z_2^64: encoding, exact products, exact truncation, and the range they need.

A real number v is held as the int64 nearest to v * 2^frac_bits, read as a signed element of Z_2^64. A
product of two such numbers has twice the fraction bits until it is truncated. Ring arithmetic wraps in
silence, so the functions here that multiply or add prove that the true result is below `LIMIT`, and raise
RangeError with the tensor's name when they cannot. The limit of 2^62 leaves one bit of headroom below the
sign: the range in which truncation of a masked value is exact.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from parties.errors import ConfigError, RangeError
from protocols.kernels.ring_products import ring_bmm

Product = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

RING_BITS = 64
LIMIT = 1 << 62
"""Every value, before truncation too, is smaller than this in magnitude."""
MAX_FRAC_BITS = 30
"""A product at twice this many fraction bits still holds numbers up to 4."""


def check_frac_bits(frac_bits: int) -> None:
    """Raises ConfigError unless `frac_bits` is from 0 to `MAX_FRAC_BITS`."""
    if not 0 <= frac_bits <= MAX_FRAC_BITS:
        raise ConfigError(f"frac_bits must be from 0 to {MAX_FRAC_BITS} on Z_2^{RING_BITS}, got {frac_bits}")


def encode(x: torch.Tensor, frac_bits: int, name: str) -> torch.Tensor:
    """Real numbers to ring elements, rounded to nearest (ties to even): error at most 2^-(frac_bits + 1).

    Args:
        x: floats of any shape, smaller than 2^(62 - frac_bits) in magnitude.
        frac_bits: fraction bits of the result, 0 to `MAX_FRAC_BITS`.
        name: what the error calls this tensor.

    Returns:
        int64 of x's shape.

    Raises:
        RangeError: an entry is too large, infinite or not a number.
    """
    scaled = x.to(torch.float64, copy=True).mul_(2.0**frac_bits).round_()
    if scaled.numel():
        low, high = torch.aminmax(scaled)  # both are NaN where any entry is
        largest = max(-low.item(), high.item())
        if not largest < LIMIT:
            raise RangeError(range_message(name, largest, frac_bits))
    return scaled.to(torch.int64)


def encode_number(value: float, frac_bits: int, name: str) -> int:
    """One real number to a signed ring element, as `encode`."""
    return int(encode(torch.tensor(value, dtype=torch.float64), frac_bits, name).item())


def decode(x: torch.Tensor, frac_bits: int) -> torch.Tensor:
    """Ring elements to float64: exact below 2^53 in magnitude, rounded to 53 bits above."""
    return x.to(torch.float64) * 2.0**-frac_bits


def truncate(x: torch.Tensor, bits: int) -> torch.Tensor:
    """Exact truncation: floor(x / 2^bits) of signed values, exactly, for every int64."""
    return x >> bits


def largest_magnitude(x: torch.Tensor) -> int:
    """The largest |entry| of an int64 tensor, exactly (2^63 included); 0 of an empty one."""
    if x.numel() == 0:
        return 0
    low, high = torch.aminmax(x)
    return max(-int(low.item()), int(high.item()))


def range_message(name: str, largest: int | float, frac_bits: int) -> str:
    """What a RangeError says: the tensor, its largest value, the limit, in units of the encoded number."""
    scale = 2.0**-frac_bits
    return (
        f"{name}: largest magnitude {largest * scale:.6g}, must be below {LIMIT * scale:.6g} "
        f"(2^{62 - frac_bits}: Z_2^{RING_BITS} with {frac_bits} fraction bits and one bit of headroom)"
    )


def check_range(x: torch.Tensor, frac_bits: int, name: str) -> None:
    """Raises RangeError where an entry of x, at `frac_bits` fraction bits, reaches `LIMIT`."""
    largest = largest_magnitude(x)
    if largest >= LIMIT:
        raise RangeError(range_message(name, largest, frac_bits))


def add(a: torch.Tensor, b: torch.Tensor, frac_bits: int, name: str) -> torch.Tensor:
    """a + b, both below `LIMIT` (so the int64 sum cannot wrap), checked to stay below it."""
    total = a + b
    check_range(total, frac_bits, name)
    return total


def matmul(a: torch.Tensor, b: torch.Tensor, frac_bits: int, name: str) -> torch.Tensor:
    """The exact product of a [..., m, k] and b [..., k, n], not yet truncated.

    Partial sums may wrap: only the true value of each entry must be below `LIMIT`, as on shares.

    Args:
        a: int64 entries.
        b: int64 entries.
        frac_bits: fraction bits of the product (both factors' together), for the message.
        name: what the error calls the product.

    Raises:
        RangeError: an entry's magnitude reaches `LIMIT`, or comes within the rounding error of a float64
            product of it, about k * 2^-52 times the product of magnitudes.
    """
    return _checked_product(torch.matmul, ring_bmm, a, b, terms=a.shape[-1], frac_bits=frac_bits, name=name)


def mul(a: torch.Tensor, b: torch.Tensor, frac_bits: int, name: str) -> torch.Tensor:
    """The exact elementwise product (broadcasting), not yet truncated; arguments and errors as `matmul`."""
    return _checked_product(torch.mul, torch.mul, a, b, terms=1, frac_bits=frac_bits, name=name)


def _checked_product(
    product: Product,
    exact: Product,
    a: torch.Tensor,
    b: torch.Tensor,
    *,
    terms: int,
    frac_bits: int,
    name: str,
) -> torch.Tensor:
    """A bilinear map of int64 tensors, each entry a sum of `terms` products, proved not to have wrapped.

    `product` is the map of floats, `exact` that of int64 modulo 2^64.
    """
    if terms * largest_magnitude(a) * largest_magnitude(b) < LIMIT:  # Python integers: no wrap here
        return exact(a, b)
    # Any order of summation in float64, conversion of the factors included, is off by at most
    # (terms + 2) u / (1 - (terms + 2) u) times the sum of magnitudes, u = 2^-53 (Higham, Accuracy and
    # Stability of Numerical Algorithms, 3.1); twice that also covers rounding in the sum of magnitudes.
    a_float, b_float = a.to(torch.float64), b.to(torch.float64)
    error = product(a_float.abs(), b_float.abs()) * ((terms + 2) * 2.0**-52)
    bound = product(a_float, b_float).abs() + error
    largest = bound.max().item() if bound.numel() else 0.0
    if not largest < LIMIT:
        raise RangeError(range_message(name, largest, frac_bits))
    return exact(a, b)
