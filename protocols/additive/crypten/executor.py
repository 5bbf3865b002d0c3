"""CrypTen's protocols as an `Arithmetic` executor: Beaver multiplication, A2B/B2A comparison, local
truncation.

Costs, n elements, bytes that one party sends (the other sends as many):

    mul                 1 round    16 n           offline 8 n to the server
    square              1 round    8 n            offline 8 n
    matmul [m,k][k,n]   1 round    8 (mk + kn)    offline 8 mn
    linear, session     1 round    8 mk           offline 8 mn; setup 8 kn, server to client, once
    linear, beaver      as matmul
    less_than_zero      4 rounds   8.125 n        offline 31.4 n (packed, of 32 bits; 16.5 n of 64)
                        8 rounds   216 n          offline 112 n (words)
    truncate, local     none
    truncate, exact     1 round    8 n            offline 16 n
    share_from          none
    open_to             1 one-way message of 8 n bytes
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager

import torch

from parties.errors import ConfigError, CorrelationExhausted, RangeError
from parties.link import Link
from parties.meter import SERVER, Phase
from protocols.additive.correlations import Kind, Request, words
from protocols.additive.crypten import beaver, packed_comparison
from protocols.additive.crypten.native import native
from protocols.additive.crypten.session import CrypTenSession, Keys
from protocols.additive.crypten.word_comparison import less_than_zero as words_less_than_zero
from protocols.additive.primitives import FRAC_BITS, check_primitives
from protocols.additive.source import InsecureServerDealer
from protocols.arithmetic.arithmetic import Arithmetic
from protocols.arithmetic.weight import Weight
from protocols.kernels.ring_products import ring_matmul, ring_matmul_transposed
from protocols.plan import Plan
from protocols.share import Share

_BIAS = 1 << 62


@contextmanager
def crypten_executor(
    link: Link, dealer: Link | InsecureServerDealer, plan: Plan, keys: Keys
) -> Generator[CrypTenArithmetic]:
    """The executor, for the calling thread, while inside. See `CrypTenSession` for arguments and errors."""
    with CrypTenSession(link, dealer, keys, FRAC_BITS) as session:
        yield CrypTenArithmetic(
            session,
            linear=plan.choices["linear"],
            truncation=plan.choices["truncation"],
            comparison=plan.choices["comparison"],
        )


class CrypTenArithmetic(Arithmetic):
    """The primitives over CrypTen.

    Args:
        session: an open session.
        linear: `session` opens weights minus a mask once; `beaver` opens both factors on every call.
        truncation: `local` divides each share, as CrypTen does; `exact` spends a dealer's pair and a round.
        comparison: `packed` sends bits; `words` sends 64-bit words for them, as CrypTen does.

    Raises:
        ConfigError: an unknown choice.
    """

    def __init__(
        self,
        session: CrypTenSession,
        *,
        linear: str = "session",
        truncation: str = "local",
        comparison: str = "packed",
    ) -> None:
        super().__init__(session.rank, session.link.meter, session.frac_bits)
        check_primitives(linear=linear, truncation=truncation, comparison=comparison)
        self.session, self._linear, self._truncation = session, linear, truncation
        self._comparison = comparison
        self._masked: set[str] = set()
        self._communicator = session.communicator

    def prefetch(self, requests: Iterable[Request]) -> None:
        """Announces the correlations of what comes next, in order; the dealer then sends them ahead."""
        self.session.source.prefetch(requests)

    # -- products -----------------------------------------------------------------------------------------

    def mul(self, a: Share, b: Share) -> Share:
        return self.rescaled(beaver.mul(self.session, a.value, b.value), a, b)

    def square(self, a: Share) -> Share:
        return self.rescaled(beaver.square(self.session, a.value), a, a)

    def matmul(self, a: Share, b: Share) -> Share:
        return self.rescaled(beaver.matmul(self.session, a.value, b.value), a, b)

    def less_than_zero(self, a: Share, largest: float | None = None, tolerance: float = 0.0) -> Share:
        if self._comparison == "words":
            return Share(words_less_than_zero(self.session, a.value), 0)
        bits = self.sign_bits(a, largest)
        return Share(packed_comparison.less_than_zero(self.session, a.value, bits), 0)

    # -- weights ------------------------------------------------------------------------------------------

    def weight(self, name: str, value: torch.Tensor | None, shape: Sequence[int]) -> Weight:
        """See `Arithmetic.weight`. A matrix in session mode costs one message of 8 bytes an element.

        Reveals: the weight minus a mask that the server and the dealer know and the client does not.
        Raises: CorrelationExhausted for a second weight of one name, whose mask would be used twice.
        """
        length = tuple(shape)
        if self._linear == "beaver" or len(length) != 2:
            return Weight(name, self.share_from(SERVER, value, length))
        if name in self._masked:
            raise CorrelationExhausted(f"the mask of weight {name!r} is spent: it hid a weight of that name")
        self._masked.add(name)
        label = f"{self.meter.label}/weight"
        mask = self.session.source.weight_mask(name, length)
        with self.meter.phase(Phase.SETUP):
            if mask is None:
                like = torch.empty(length, dtype=torch.int64)
                [opened] = self._communicator.recv_tensors([like], label)
                return Weight(name, Share(torch.zeros(()).long().expand(length), self.frac_bits), opened)
            encoded = self._encoded(name, value, length, self.frac_bits)
            opened = encoded - mask
            self._communicator.send_tensors([opened], label)
        return Weight(name, Share(encoded, self.frac_bits), opened)

    def linear(
        self, x: Share, weight: Weight, *, transposed: bool = False, bias: Share | None = None
    ) -> Share:
        """See `Arithmetic.linear`.

        1. Take shares of (a, a B) for a fresh a and the weight's mask B (a B^T for a transpose).
        2. The client sends its shares of x - a. The server adds its own: E = x - a.
        3. x W = a B + a (W - B) + E W; the server, who knows W, adds the last term.

        The client needs nothing of E, so half of an opening is enough.
        """
        if weight.opened is None:
            factor = self.rearrange(weight.share, torch.t) if transposed else weight.share
            product = beaver.matmul(self.session, x.value, factor.value)
            return self.rescaled(self.with_bias(product, x, weight, bias), x, weight.share)
        kind = Kind.LINEAR_TRANSPOSED if transposed else Kind.LINEAR
        multiply = ring_matmul_transposed if transposed else ring_matmul
        dealt = self.session.provider.take(kind, x.value.shape, weight.opened.shape, weight=weight.name)
        [mask], [product] = dealt.masks, dealt.results
        product += multiply(mask, weight.opened)
        masked = self._communicator.sum_at(SERVER, x.value - mask)
        if masked is not None:
            product += multiply(masked, weight.share.value)
        return self.rescaled(self.with_bias(product, x, weight, bias), x, weight.share)

    # -- in and out ---------------------------------------------------------------------------------------

    def share_from(
        self, owner: int, value: torch.Tensor | None, shape: Sequence[int], frac_bits: int | None = None
    ) -> Share:
        """See `Arithmetic.share_from`. No message: the mask comes from a stream both parties have."""
        length, bits = tuple(shape), self.frac_bits if frac_bits is None else frac_bits
        zero = words(self.session.zero, length)
        if self.rank != owner:
            return Share(-zero, bits)
        return Share(self._encoded("input", value, length, bits) + zero, bits)

    def open_to(self, receiver: int, a: Share) -> torch.Tensor | None:
        """See `Arithmetic.open_to`. Decoded here: CrypTen's own decode is off by one for some negatives."""
        with self._communicator.opening("output"):
            ring = self._communicator.reduce(a.value, receiver)
        return None if ring is None else self.decode(ring, a.frac_bits)

    # -- truncation ---------------------------------------------------------------------------------------

    def truncate(self, a: Share, frac_bits: int) -> Share:
        """See `Arithmetic.truncate`. Drops b = a.frac_bits - frac_bits bits.

        `local`: each party divides its share toward zero. No message; the result is within one unit of
        a / 2^b, except that with probability |a| / 2^64 (a as a ring integer, all its fraction bits
        included) an element is wrong by 2^(64 - b): for a product of two numbers with 16 fraction bits,
        |value| / 2^32 for an error of 2^32. Nothing detects it. `exact` cannot fail for |a| < 2^62.
        """
        drop = a.frac_bits - frac_bits
        if drop == 0:
            return a
        if not 1 <= drop <= 62:
            raise RangeError(f"{self.meter.label}: cannot drop {drop} fraction bits")
        if self._truncation == "exact":
            return Share(self._truncate_exactly(a.value, drop), frac_bits)
        return Share(torch.div(a.value, 1 << drop, rounding_mode="trunc"), frac_bits)

    def _truncate_exactly(self, value: torch.Tensor, drop: int) -> torch.Tensor:
        """Truncate and extend: x / 2^drop rounded down or up, up with the probability of the fraction.

        1. Take shares of r, r >> drop and msb(r) 2^(64 - drop).
        2. Open c = x + 2^62 + r (mod 2^64): x + 2^62 is below 2^63, so c wrapped just if msb(r) = 1 and
           msb(c) = 0.
        3. (c >> drop) - 2^(62 - drop) - (r >> drop), plus 2^(64 - drop) where c wrapped.

        Reveals: c, which r masks perfectly. The rounding bit is a function of c.
        Source: SIGMA (PETS 2024), truncate-reduce with the wrap correction in place of a comparison.
        """
        dealt = self.session.provider.take(Kind.TRUNCATION, value.shape, bits=drop)
        [mask], [shifted, top] = dealt.masks, dealt.results
        server = self.rank == SERVER
        [masked] = self._communicator.open_sum([value + mask + _BIAS if server else value + mask])
        wrapped = torch.where(masked >= 0, top, 0)
        if not server:
            return wrapped - shifted
        public = ((masked >> drop) & ((1 << (64 - drop)) - 1)) - (1 << (62 - drop))
        return public + wrapped - shifted

    # -- the library itself -------------------------------------------------------------------------------

    def native(
        self,
        name: str,
        *operands: Share,
        within: tuple[float, float] | None = None,
        settings: Mapping[str, object] | None = None,
        **options: object,
    ) -> Share:
        """Runs one of CrypTen's own functions, `softmax`, `exp`, `reciprocal`, ..., on shares.

        Args:
            name: a method of the library's MPCTensor; of a result that is a tuple, the first is taken.
            operands: at this executor's fraction bits, or integers.
            within: public bounds of the first operand; needed wherever CrypTen is wrong outside of some.
            settings: CrypTen's configuration while it runs, `{"functions.reciprocal_all_pos": True}`.
            options: the method's own keywords.

        Raises:
            ConfigError: a function that is wrong in CrypTen 0.4.1, or not known to be right.
            RangeError: bounds are missing, or wider than the function can take.
        """
        return native(self.session, name, *operands, within=within, settings=settings or {}, options=options)

    # -- helpers ------------------------------------------------------------------------------------------

    def _encoded(
        self, name: str, value: torch.Tensor | None, shape: tuple[int, ...], frac_bits: int
    ) -> torch.Tensor:
        if value is None or tuple(value.shape) != shape:
            got = "nothing" if value is None else list(value.shape)
            raise ConfigError(f"{name}: its owner must give a tensor of shape {list(shape)}, got {got}")
        return self.encode(value, frac_bits)
