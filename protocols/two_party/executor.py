"""The primitives between two parties who take correlations that they made together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from parties.errors import ConfigError, CorrelationExhausted, RangeError
from parties.link import Link
from parties.meter import CLIENT, SERVER
from parties.wire import Spec
from protocols.arithmetic.causal_rows import CausalRows
from protocols.arithmetic.lines import Lines
from protocols.arithmetic.shapes import broadcast_shape
from protocols.arithmetic.weight import Weight
from protocols.kernels.ring_products import ring_bmm, ring_matmul, ring_matmul_transposed
from protocols.share import Share
from protocols.tensors import to_tensor, to_words
from protocols.two_party import steps
from protocols.two_party.codes import codes_of
from protocols.two_party.comparison import less_than
from protocols.two_party.correlations import Correlations, Parts
from protocols.two_party.index import dropped, is_negative
from protocols.two_party.kv_cache import Cached, CachingArithmetic, Factor, Queries, product_share
from protocols.two_party.look_up import look_up
from protocols.two_party.primitives import CHOICE_FRAC_BITS
from protocols.two_party.steps import Step

Product = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class TwoPartyArithmetic(CachingArithmetic):
    """Shares of Z_2^ring_bits; every opened value has a fresh uniform mask of its own width.

    Args:
        link: to the other party; its rank is this party's.
        correlations: this party's.
        ring_bits: of all shares.
        frac_bits: of every non-integer result.

    Costs, n elements, L = ring_bits, bits that one party sends: see `protocols.two_party.steps`.
    """

    choice_frac_bits = CHOICE_FRAC_BITS

    def __init__(self, link: Link, correlations: Correlations, ring_bits: int, frac_bits: int) -> None:
        assert link.rank is not None
        super().__init__(link.rank, link.meter, frac_bits, ring_bits)
        self._link, self.correlations = link, correlations

    # -- products -------------------------------------------------------------------------------------------

    def mul(self, a: Share, b: Share) -> Share:
        """See `Arithmetic.mul`. Beaver's product: reveals a - r and b - s, uniform."""
        bits = self.product_bits(a, b)
        shares = self._take(steps.product(a.shape, b.shape, bits))
        opened = self._open_factors("product", a, b, shares, bits)
        return self.rescaled(self._beaver(torch.mul, opened, shares), a, b, bits)

    def square(self, a: Share) -> Share:
        """See `Arithmetic.square`. Reveals a - r, uniform."""
        bits = self.product_bits(a, a)
        (r, rr) = self._take(steps.square(a.shape, bits))
        (d,) = self._open("square", (a.value - r, bits))
        value = rr + 2 * d * r
        return self.rescaled(value + d * d if self.rank == SERVER else value, a, a, bits)

    def matmul(self, a: Share, b: Share) -> Share:
        """See `Arithmetic.matmul`. As `mul`; of a cached factor the other one alone is opened, or was."""
        if isinstance(b, Cached):
            return self._times_cached(a, b)
        bits = self.product_bits(a, b)
        shares = self._take(steps.matmul(a.shape, b.shape, bits))
        opened = self._open_factors("matmul", a, b, shares, bits)
        return self.rescaled(self._beaver(ring_bmm, opened, shares), a, b, bits)

    def attention_factors(
        self, name: str, q: Share, k: Share, v: Share, start: int, bits: tuple[int, int]
    ) -> tuple[Share, Share, Share]:
        """See `Arithmetic.attention_factors` and `kv_cache.py`. Reveals q, k, v, minus masks: uniform."""
        step = steps.attention_factors(name, q.shape, k.shape, v.shape, start, bits)
        (s, r, product), (s_mix, r_mix, product_mix) = map(self.correlations.take, step.requests)
        by_head = [part.flatten(-4, -3) for part in (s, product, s_mix, product_mix)]
        masked = ((q, by_head[0]), (k, r), (v, r_mix))
        sizes = (bits[0], *bits)
        pairs = zip(masked, sizes, strict=True)
        e, d, d_mix = self._open("kept", *((x.value - mask, size) for (x, mask), size in pairs))
        return (
            Queries(q.value, q.frac_bits, opened=e, factor=Factor(*by_head[:2])),
            Cached(k.value, k.frac_bits, opened=d, bits=bits[0]),
            Cached(v.value, v.frac_bits, opened=d_mix, bits=bits[1], factor=Factor(*by_head[2:])),
        )

    def _times_cached(self, a: Share, b: Cached) -> Share:
        """a [..., H, T, n] times a cached factor [..., H, n, m]. Weights of later tokens are zero, and so are
        their masks: of those nothing is opened."""
        if isinstance(a, Queries):
            product = product_share(a.opened, a.factor, b)
        else:
            if b.factor is None:
                raise CorrelationExhausted(f"{self.meter.label}: values without masks of the weights")
            b.factor.use()
            rows = CausalRows(a.shape[-2], a.shape[-1] - a.shape[-2])
            seen = rows.pack(self, Share(a.value - b.factor.mask, a.frac_bits))
            (opened,) = self._open("mixed", (seen.value, b.bits))
            weights = rows.unpack(self, Share(opened, a.frac_bits))
            product = product_share(weights.value, b.factor, b)
        return self.rescaled(product, a, b, b.bits)

    def select(self, a: Share, bit: Share) -> Share:
        """See `Arithmetic.select`. The lowest bits of additive shares of a bit are XOR shares of it.

        1. With a random bit m and a random number s: open e = bit ^ m and d = a - s.
        2. bit * a = (e + (1 - 2 e) m) (d + s).

        Reveals: e and d, uniform.
        """
        shape = broadcast_shape(a.shape, bit.shape)
        return self._selected(Share(a.value.expand(shape), a.frac_bits), bit.value.expand(shape) & 1)

    def positive_part(self, a: Share, largest: float, tolerance: float = 0.0) -> Share:
        """See `Arithmetic.positive_part`. Where few enough bits decide it: their sign by look-up,
        which chooses without becoming a number.
        """
        ignored = self.ignored_bits(a, tolerance)
        bits = self.sign_bits(a, largest) - ignored
        if not steps.sign_bits_by_place(bits):
            return super().positive_part(a, largest, tolerance)
        own = dropped(self._link, a.value.reshape(-1), 0, ignored)
        negative = is_negative(self._link, self.correlations, to_tensor(own), bits).reshape(a.shape)
        return self._selected(a, negative ^ 1 if self.rank == SERVER else negative)

    def less_than_zero(self, a: Share, largest: float | None = None, tolerance: float = 0.0) -> Share:
        """See `Arithmetic.less_than_zero`.

        1. Modulo 2^k, k bits deciding the sign, a is negative where the XOR of both shares' top bits and of
           the carry out of the bits below is 1. There is a carry where the server's 2^(k-1) - 1 - u is less
           than the client's v: `comparison.py`. Without their low bits, shares of a small a >= 0 may add up
           to what counts as negative: a carry is lost.
        2. That bit, XOR-shared, to an additive share: open it XOR a random bit.

        Reveals: bits XOR uniform bits.
        """
        bits, ignored = self.sign_bits(a, largest), self.ignored_bits(a, tolerance)
        word = (a.value.reshape(-1) & ((1 << bits) - 1)) >> ignored
        bits -= ignored
        below, top = word & ((1 << (bits - 1)) - 1), word >> (bits - 1)
        own = (1 << (bits - 1)) - 1 - below if self.rank == SERVER else below
        negative = less_than(self._link, self.correlations, own, bits - 1) ^ top
        flips, m = self._take(steps.to_additive(word.numel(), self.ring_bits))
        (opened,) = self._open("sign", (negative ^ flips, 1))
        opened &= 1
        value = (1 - 2 * opened) * m
        return Share((value + opened if self.rank == SERVER else value).reshape(a.shape), 0)

    def lines(self, x: Share, *tables: Lines) -> Share:
        """See `Arithmetic.lines` and `look_up.py`. Reveals what is uniform: an index minus a random one, bits
        XOR random ones, and numbers minus random ones.
        """
        codes = codes_of(tables, x.frac_bits)
        product = look_up(self._link, self.correlations, x.value.reshape(-1), codes)
        exact = Share(product.reshape(x.shape), x.frac_bits + codes.fraction_bits, codes.ring_bits)
        return self.truncate(exact, x.frac_bits)

    # -- weights --------------------------------------------------------------------------------------------

    def weight(self, name: str, value: torch.Tensor | None, shape: Sequence[int]) -> Weight:
        """See `Arithmetic.weight`. The server keeps it; nothing is sent."""
        share = self.share_from(SERVER, value, shape)
        self.correlations.hold(name, share.value if self.rank == SERVER else None, tuple(shape))
        return Weight(name, share)

    def linear(
        self, x: Share, weight: Weight, *, transposed: bool = False, bias: Share | None = None
    ) -> Share:
        """See `Arithmetic.linear`. The client sends its share minus its mask a; the server multiplies what it
        then has, x - a, with the weight; both add their shares of a W.

        Reveals: the client's share minus a, to the server, who does not know a.
        """
        bits = self.product_bits(x, weight.share)
        parts = self._take(steps.linear(x.shape, weight.shape, weight.name, bits, transposed=transposed))
        label = f"{self.meter.label}/linear"
        if self.rank == CLIENT:
            mask, product = parts
            self._link.send([to_words(x.value - mask)], bits, label)
        else:
            (own,) = parts
            (words,) = self._link.recv([Spec(bits, x.shape)], label)
            multiply = ring_matmul_transposed if transposed else ring_matmul
            product = own + multiply(x.value + to_tensor(words), weight.share.value)
        return self.rescaled(self.with_bias(product, x, weight, bias), x, weight.share, bits)

    # -- in and out -----------------------------------------------------------------------------------------

    def share_from(
        self, owner: int, value: torch.Tensor | None, shape: Sequence[int], frac_bits: int | None = None
    ) -> Share:
        """See `Arithmetic.share_from`. The owner's share is the value, the other's zero: nothing is sent."""
        length, bits = tuple(shape), self.frac_bits if frac_bits is None else frac_bits
        if self.rank != owner:
            return Share(torch.zeros((), dtype=torch.int64).expand(length), bits)
        if value is None or tuple(value.shape) != length:
            got = "nothing" if value is None else list(value.shape)
            raise ConfigError(f"its owner must give a tensor of shape {list(length)}, got {got}")
        return Share(self.encode(value, bits), bits)

    def open_to(self, receiver: int, a: Share) -> torch.Tensor | None:
        """See `Arithmetic.open_to`."""
        label = f"{self.meter.label}/output"
        if self.rank != receiver:
            self._link.send([to_words(a.value)], self.ring_bits, label)
            return None
        (words,) = self._link.recv([Spec(self.ring_bits, a.shape)], label)
        return self.decode(a.value + to_tensor(words), a.frac_bits)

    # -- truncation -----------------------------------------------------------------------------------------

    def truncate(self, a: Share, frac_bits: int) -> Share:
        """See `Arithmetic.truncate`. a / 2^b rounded down, or a unit more, b = a.frac_bits - frac_bits.

        Needs |a| < 2^(K - 2), a as a ring element with all its fraction bits, modulo 2^K.

        1. x = a + 2^(K - 2) is below 2^(K - 1), so that its shares, from 0 to below 2^K, add up to x without
           coming round just if neither has its top bit: w = 1 - n n', n and n' one minus these bits.
        2. Shares of n n': with random bits m of the server's, m' of the client's and shares of m m', the
           parties tell each other n ^ m and n' ^ m'.
        3. x / 2^b is the sum of both shares shifted down, and 1 or 0 more, less w 2^(K - b), in a ring of L
           bits: of w its lowest L - K + b bits are needed.

        Reveals: n ^ m and n' ^ m', uniform to who does not know them.
        Source: one-bit-error truncation of numbers of known sign, Cheetah (USENIX Security 2022), with the
        product of two private bits made ahead.
        """
        drop, ring = a.frac_bits - frac_bits, min(a.ring_bits, self.ring_bits)
        if drop == 0:
            return a
        if not 1 <= drop <= ring - 2:
            raise RangeError(f"{self.meter.label}: cannot drop {drop} fraction bits of {ring}")
        server, offset = self.rank == SERVER, 1 << (ring - 2)
        word = (a.value + offset if server else a.value) & ((1 << ring) - 1)
        own_clear = 1 - (word >> (ring - 1))
        bit, shared = self._take(steps.truncate(a.shape, self.ring_bits - ring + drop))
        mine = own_clear ^ bit
        theirs = self._send_bits("truncate", mine)
        # n n' = (e + (1 - 2 e) m) (e' + (1 - 2 e') m'): terms of m m' are shared, the others one party's own.
        both = (1 - 2 * mine) * (1 - 2 * theirs) * shared + (1 - 2 * mine) * theirs * bit
        if server:
            both = both + mine * theirs
        shifted = (word >> drop) + (both << (ring - drop))
        if server:
            shifted = shifted + (1 - (1 << (ring - drop)) - (offset >> drop))
        return Share(shifted, frac_bits)

    # -- helpers --------------------------------------------------------------------------------------------

    def _selected(self, a: Share, own_bit: torch.Tensor) -> Share:
        """a times bits that are XOR-shared."""
        flips, m, s, ms = self._take(steps.select(a.shape, self.ring_bits))
        e, d = self._open("select", (own_bit ^ flips, 1), (a.value - s, self.ring_bits))
        e &= 1
        value = e * s + (1 - 2 * e) * (m * d + ms)
        return Share(value + e * d if self.rank == SERVER else value, a.frac_bits)

    def _take(self, step: Step) -> Parts:
        (request,) = step.requests
        return self.correlations.take(request)

    def _open(self, reason: str, *masked: tuple[torch.Tensor, int]) -> list[torch.Tensor]:
        """Sums of what both parties have; bits are to be reduced modulo 2: one round."""
        label = f"{self.meter.label}/{reason}"
        self._link.send([to_words(value) for value, _ in masked], [bits for _, bits in masked], label)
        specs = [Spec(bits, tuple(value.shape)) for value, bits in masked]
        theirs = self._link.recv(specs, label)
        return [value + to_tensor(words) for (value, _), words in zip(masked, theirs, strict=True)]

    def _open_factors(self, reason: str, a: Share, b: Share, masks: Parts, bits: int) -> list[torch.Tensor]:
        """Both factors, each minus its mask."""
        pairs = zip((a, b), masks, strict=False)
        return self._open(reason, *((x.value - mask, bits) for x, mask in pairs))

    def _send_bits(self, reason: str, bits: torch.Tensor) -> torch.Tensor:
        """The other party's bits for this one's: one round."""
        label = f"{self.meter.label}/{reason}"
        self._link.send([to_words(bits)], 1, label)
        (theirs,) = self._link.recv([Spec(1, tuple(bits.shape))], label)
        return to_tensor(theirs)

    def _beaver(
        self, product: Product, opened: Sequence[torch.Tensor], shares: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """(d + r)(e + s) of opened d and e, and shares of r, s and r s."""
        (d, e), (r, s, rs) = opened, shares
        value = rs + product(d, s) + product(r, e)
        return value + product(d, e) if self.rank == SERVER else value
