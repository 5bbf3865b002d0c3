"""Linear layers whose weights the server knows: one message ahead of the input, none when it is there.

Of x the server knows x - a and the client a. Both get additive shares of aW, and the client sends its own
ahead, masked. Online the server computes (x - a) W and has the result, masked. Shares of aW come

* from the dealer: once a session the server sends D = W - B to the client, B uniform and known to server and
  dealer. The dealer sends the server aB - t, and the client computes aD + t.
* or by encryption, of weights that are `encrypted`: as in Delphi (USENIX Security 2020), without the dealer,
  who knows a and nothing of W (`preprocessing/encrypted.py`).

Source: docs/protocols.md, section 3; the former is Delphi's product with a dealer in place of encryption.
"""

from __future__ import annotations

import math
from typing import ClassVar, final

import torch

from parties.errors import ConfigError
from parties.meter import CLIENT, SERVER
from protocols.fss.executors.clear_side import ClearSide
from protocols.fss.executors.dealer_side import DealerSide, sum_of_draws
from protocols.fss.executors.gate import Gate, Message, Shares, shape_only
from protocols.fss.executors.offline_side import OfflineSide
from protocols.fss.executors.party_side import PartySide
from protocols.fss.preprocessing.encrypted import EncryptedProduct
from protocols.fss.preprocessing.matrix import Matrix, Products, times
from protocols.share import Held, Share


@final
class ToServerHeld(Gate):
    """Additive shares to a server-held value: the client sends its share minus a fresh uniform mask.

    Cost: 1 message to the server; ring_bits an element; no key.
    Reveals: the client's share minus a, to the server, who does not know a: uniform.
    """

    reason: ClassVar[str] = "hold"

    def messages(self, *inputs: Share) -> tuple[Message, ...]:
        (x,) = inputs
        return (Message((SERVER,), ((x.ring_bits, x.shape),)),)

    def outputs(self, *inputs: Share) -> Shares:
        (x,) = inputs
        return (shape_only(x.shape, x.frac_bits, x.ring_bits, Held.SERVER_HELD),)

    def run(self, party: PartySide, *inputs: Share) -> Shares:
        (x,) = inputs
        if party.rank == CLIENT:
            party.send([(x.value - party.prepared.popleft(), x.ring_bits)], self.reason)
            return self.outputs(x)
        (theirs,) = party.receive([(x.ring_bits, x.shape)], self.reason)
        return (Share(x.value + theirs, x.frac_bits, x.ring_bits, Held.SERVER_HELD),)

    def deal(self, dealing: DealerSide, *inputs: Share) -> Shares:
        (x,) = inputs
        mask = sum_of_draws(dealing.linear_streams[CLIENT:], x.shape, x.ring_bits)
        return (Share(mask, x.frac_bits, x.ring_bits, Held.SERVER_HELD),)

    def clear(self, clear: ClearSide, *inputs: Share) -> Shares:
        (x,) = inputs
        return (Share(x.value, x.frac_bits, x.ring_bits, Held.SERVER_HELD),)

    def prepare(self, preparation: OfflineSide, *inputs: Share) -> Shares:
        (x,) = inputs
        if preparation.rank == SERVER:
            return self.outputs(x)
        mask = preparation.draw(x.shape, x.ring_bits)
        preparation.prepared.append(mask)
        return (Share(mask, x.frac_bits, x.ring_bits, Held.SERVER_HELD),)


@final
class MaskAtServer(Gate):
    """A server-held value to one that the server may publish: it adds a mask of its own.

    Cost: no message; no key.
    """

    reason: ClassVar[str] = "mask at the server"

    def outputs(self, *inputs: Share) -> Shares:
        (x,) = inputs
        return (shape_only(x.shape, x.frac_bits, x.ring_bits, Held.SERVER_MASKED),)

    def run(self, party: PartySide, *inputs: Share) -> Shares:
        (x,) = inputs
        if party.rank == CLIENT:
            return self.outputs(x)
        return (Share(x.value + party.prepared.popleft(), x.frac_bits, x.ring_bits, Held.SERVER_MASKED),)

    def deal(self, dealing: DealerSide, *inputs: Share) -> Shares:
        (x,) = inputs
        own = sum_of_draws(dealing.linear_streams[:CLIENT], x.shape, x.ring_bits)
        return (Share(own - x.value, x.frac_bits, x.ring_bits, Held.SERVER_MASKED),)

    def clear(self, clear: ClearSide, *inputs: Share) -> Shares:
        (x,) = inputs
        return (Share(x.value, x.frac_bits, x.ring_bits, Held.SERVER_MASKED),)

    def prepare(self, preparation: OfflineSide, *inputs: Share) -> Shares:
        (x,) = inputs
        if preparation.rank == SERVER:
            preparation.prepared.append(preparation.draw(x.shape, x.ring_bits))
        return self.outputs(x)


@final
class Linear(Gate):
    """A server-held x times a weight: nothing is sent online.

    Args:
        weight: masked in x's ring or a wider one, or multiplied under encryption.
        transposed: multiply by the transpose.
        columns: multiply every row of x [.., H, T, K] by a number of its own: these columns of a weight
            [H, context].
        held: SERVER_MASKED, for the server to publish; or SERVER_HELD, for the next layer or the client.

    Cost: no round; offline, ring_bits an element of the result from the client to the server, and as many
        from the dealer to the server, or what `EncryptedCosts` has.
    Reveals: to the server, ahead of time, the client's share plus a uniform mask of the client's.

    Raises:
        ConfigError: rows are multiplied by numbers of their own under encryption.
    """

    reason: ClassVar[str] = "linear"

    def __init__(
        self,
        weight: Matrix,
        *,
        transposed: bool = False,
        columns: slice | None = None,
        held: Held = Held.SERVER_MASKED,
    ) -> None:
        if columns is not None and weight.encrypted:
            raise ConfigError(
                f"linear=rlwe does not multiply rows by learned numbers of their own, as {weight.name} does: "
                "take --set linear=dealt"
            )
        self._weight, self._transposed, self._columns, self._held = weight, transposed, columns, held

    def offline_messages(self, *inputs: Share) -> tuple[Message, ...]:
        (y,) = self.outputs(*inputs)
        share = Message((SERVER,), ((y.ring_bits, y.shape),))
        return (share,) if self._weight.encrypted else (share, share)  # from the client, and from the dealer

    def encrypted_product(self, *inputs: Share) -> EncryptedProduct | None:
        (x,), (y,) = inputs, self.outputs(*inputs)
        weight = self._weight
        if not weight.encrypted:
            return None
        rows, inner, columns = math.prod(x.shape[:-1]), x.shape[-1], y.shape[-1]
        transposed = self._transposed
        return EncryptedProduct(weight.name, rows, inner, columns, x.ring_bits, weight.frac_bits, transposed)

    def outputs(self, *inputs: Share) -> Shares:
        (x,) = inputs
        weight, columns = self._weight, x.shape[-1]
        if x.ring_bits > weight.ring_bits:
            raise ConfigError(
                f"{weight.name} is masked in a ring of {weight.ring_bits} bits, and multiplies a value in "
                f"one of {x.ring_bits}: the value must be brought to at most as many"
            )
        if self._columns is None and len(weight.shape) > 1:
            columns = weight.shape[0 if self._transposed else 1]
        frac_bits = x.frac_bits + weight.frac_bits
        return (shape_only((*x.shape[:-1], columns), frac_bits, x.ring_bits, self._held),)

    def run(self, party: PartySide, *inputs: Share) -> Shares:
        (x,), (y,) = inputs, self.outputs(*inputs)
        if party.rank == CLIENT:
            return (y,)
        weight = self._weight.value
        product = self._times(x.value, weight, y.ring_bits)
        result = product + party.prepared.popleft() + self._bias(y)
        return (Share(result, y.frac_bits, y.ring_bits, self._held),)

    def deal(self, dealing: DealerSide, *inputs: Share) -> Shares:
        (x,), (y,) = inputs, self.outputs(*inputs)
        if not self._weight.encrypted:
            rest = sum_of_draws(dealing.linear_streams[CLIENT:], y.shape, y.ring_bits)
            product = self._product(dealing.products, x.value, y.ring_bits)
            dealing.give_linear(product - rest, y.ring_bits)
        own = dealing.linear_streams[CLIENT:] if self._held is Held.SERVER_HELD else dealing.linear_streams
        mask = sum_of_draws(own, y.shape, y.ring_bits)
        return (Share(mask, y.frac_bits, y.ring_bits, self._held),)

    def clear(self, clear: ClearSide, *inputs: Share) -> Shares:
        (x,), (y,) = inputs, self.outputs(*inputs)
        weight = self._weight.value
        if self._columns is not None:
            sizes = x.value.double() * weight.double()[:, self._columns, None]
            clear.check_magnitude(sizes, y.ring_bits, y.frac_bits)
        elif not clear.fits_words(x.value, weight, transposed=self._transposed):
            wide = weight.double().T if self._transposed else weight.double()
            sizes = x.value.double() * wide if weight.dim() == 1 else x.value.double() @ wide
            clear.check_magnitude(sizes, y.ring_bits, y.frac_bits)
        result = self._times(x.value, weight) + self._bias(y)
        return (Share(result, y.frac_bits, y.ring_bits, self._held),)

    def prepare(self, preparation: OfflineSide, *inputs: Share) -> Shares:
        (x,), (y,) = inputs, self.outputs(*inputs)
        ahead = self._held is Held.SERVER_HELD
        share = self._share(preparation, x, y)
        if preparation.rank == SERVER:
            own = 0 if ahead else preparation.draw(y.shape, y.ring_bits)
            theirs = preparation.receive(y.shape, y.ring_bits, self.reason)
            preparation.prepared.append(share + own + theirs)
            return (y,)
        mask = preparation.draw(y.shape, y.ring_bits)
        preparation.send([(share - mask if ahead else share + mask, y.ring_bits)], self.reason)
        return (Share(mask, y.frac_bits, y.ring_bits, self._held) if ahead else y,)

    def _share(self, preparation: OfflineSide, x: Share, y: Share) -> torch.Tensor:
        """A party's additive share of the client's mask times the weight."""
        if (product := self.encrypted_product(x)) is not None:
            mask = x.value.reshape(product.rows, product.inner)
            known = self._weight.value if preparation.rank == SERVER else mask
            return preparation.encrypted(product, known).reshape(y.shape)
        dealt = preparation.dealt(y.shape, y.ring_bits)
        if preparation.rank == SERVER:
            return dealt
        rest = preparation.draw(y.shape, y.ring_bits)
        return self._product(preparation.products, x.value, y.ring_bits) + rest

    def _product(self, products: Products, x: torch.Tensor, ring_bits: int) -> torch.Tensor:
        """The offline product: with what stands for the weight at the client or the dealer."""
        if self._columns is not None:
            return self._times(x, products.whole(self._weight))
        return products.of(x, self._weight, transposed=self._transposed, ring_bits=ring_bits)

    def _times(self, x: torch.Tensor, weight: torch.Tensor, ring_bits: int = 64) -> torch.Tensor:
        """As `times`, or by rows."""
        if self._columns is not None:
            return x * weight[:, self._columns, None]
        return times(x, weight, transposed=self._transposed, ring_bits=ring_bits)

    def _bias(self, y: Share) -> torch.Tensor | int:
        """The bias on the grid of the result."""
        if self._weight.bias is None:
            return 0
        return (self._weight.bias.double() * 2.0**y.frac_bits).round().to(torch.int64)


@final
class RevealToClient(Gate):
    """A server-held value to the client, who knows its mask.

    Cost: 1 message to the client; ring_bits an element; no key.
    Reveals: the value, to the client: it is what the client is meant to get.
    """

    reason: ClassVar[str] = "output"

    def messages(self, *inputs: Share) -> tuple[Message, ...]:
        (x,) = inputs
        return (Message((CLIENT,), ((x.ring_bits, x.shape),)),)

    def outputs(self, *inputs: Share) -> Shares:
        (x,) = inputs
        return (shape_only(x.shape, x.frac_bits, x.ring_bits),)

    def run(self, party: PartySide, *inputs: Share) -> Shares:
        (x,) = inputs
        if party.rank == SERVER:
            party.send([(x.value, x.ring_bits)], self.reason)
            return self.outputs(x)
        (theirs,) = party.receive([(x.ring_bits, x.shape)], self.reason)
        return (Share(theirs + party.prepared.popleft(), x.frac_bits, x.ring_bits),)

    def deal(self, dealing: DealerSide, *inputs: Share) -> Shares:
        return self.outputs(*inputs)

    def clear(self, clear: ClearSide, *inputs: Share) -> Shares:
        (x,) = inputs
        return (Share(x.value, x.frac_bits, x.ring_bits),)

    def prepare(self, preparation: OfflineSide, *inputs: Share) -> Shares:
        (x,) = inputs
        if preparation.rank == CLIENT:
            preparation.prepared.append(x.value)
        return self.outputs(x)
