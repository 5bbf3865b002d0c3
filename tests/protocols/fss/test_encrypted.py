"""Linear layers that multiply masks under encryption: exact, at the counted bytes, without the dealer."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from parties.errors import ConfigError, RangeError
from parties.link import Link
from parties.meter import CLIENT, SERVER, Meter, Phase
from parties.randomness import InsecureTestRandom, Randomness
from parties.threads import run_two_threads
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import Shares
from protocols.fss.gates.linear import Linear
from protocols.fss.preprocessing.encrypted import (
    LARGEST_WEIGHT,
    EncryptedCosts,
    EncryptedProduct,
    EncryptedProducts,
    require_norm,
)
from protocols.fss.preprocessing.matrix import Matrix
from protocols.fss.ring import low
from protocols.meta_tensors import no_data
from protocols.rlwe.parameters import LEAST_ROWS, NORM_SLACK
from protocols.share import Held, Share
from protocols.tensors import drawn
from tests.protocols.fss.harness import Program, Run, Secret, Weight, run
from tests.protocols.fss.test_linear import integers
from tests.protocols.fss.uniformity import assert_uniform

FRAC = 9


def layer(weight: Weight, held: Held = Held.SERVER_MASKED, *, transposed: bool = False) -> Program:
    def program(executor: Executor, x: Share) -> Shares:
        matrix = weight.at(executor)
        # The client of a plan that encrypts has nothing of a weight.
        value = no_data(matrix.shape) if getattr(executor, "rank", SERVER) == CLIENT else matrix.value
        known = weight.value if getattr(executor, "rank", CLIENT) == SERVER else value
        matrix = dataclasses.replace(matrix, value=known, encrypted=True, masked=False)
        return executor.apply(Linear(matrix, transposed=transposed, held=held), x)

    return program


def privately(
    weight: Weight, x: torch.Tensor, bits: int, held: Held = Held.SERVER_MASKED, *, transposed: bool = False
) -> Run:
    return run(layer(weight, held, transposed=transposed), [Secret(x, 2, bits, Held.SERVER_HELD)])


def offline_bytes(done: Run, receiver: int) -> int:
    frames = [f for f in done.offline_frames if f.sender != receiver]
    return sum(spec.packed_bytes for f in frames for spec in f.specs)


@pytest.mark.parametrize(
    ("shape", "bits", "held"),
    [
        ((1, 6), 24, Held.SERVER_MASKED),
        ((2, 3, 6), 40, Held.SERVER_HELD),
        ((33, 6), 57, Held.SERVER_MASKED),
        ((3, 6), 64, Held.SERVER_HELD),
    ],
    ids=str,
)
def test_a_matrix(shape: tuple[int, ...], bits: int, held: Held) -> None:
    weight, x = Weight("w", integers(6, 4), FRAC, bits), integers(*shape)
    done = privately(weight, x, bits, held)
    assert torch.equal(done.secret(), x @ weight.value)
    assert torch.equal(done.clear[0].value, x @ weight.value)
    for bill in done.bills:
        for name in ("rounds", "offline_bytes_to_server", "offline_bytes_to_client"):
            assert getattr(bill, name) == getattr(done.counted, name), name
    assert done.frames == []
    assert done.counted.offline_bytes_to_server == offline_bytes(done, SERVER)
    assert done.counted.offline_bytes_to_client == offline_bytes(done, CLIENT)


def test_a_transposed_matrix_and_a_diagonal_with_a_bias() -> None:
    weight, x = Weight("w", integers(4, 6), FRAC, 30), integers(2, 5, 6)
    assert torch.equal(privately(weight, x, 30, transposed=True).secret(), x @ weight.value.T)
    gain = Weight("gain", integers(6), FRAC, 30, torch.tensor([0.5, -1.25, 3.0, 0.0, 1.0, 2.0]))
    assert gain.bias is not None
    expected = x * gain.value + (gain.bias * 2.0 ** (FRAC + 2)).long()
    assert torch.equal(privately(gain, x, 30, Held.SERVER_HELD).secret(), expected)


def test_the_dealer_deals_nothing_for_it_whatever_the_weight() -> None:
    x = integers(3, 6)
    for value in (integers(6, 4), torch.zeros(6, 4, dtype=torch.int64)):
        done = privately(Weight("w", value, FRAC, 24), x, 24)
        assert done.correlations == (0, 0, 0)


def test_what_the_client_sends_ahead_is_uniform_even_of_zeros() -> None:
    weight = Weight("w", torch.zeros(1, 4000, dtype=torch.int64), FRAC, 12)
    done = privately(weight, torch.zeros(1, 1, dtype=torch.int64), 12)
    ((sent,),) = [f.arrays for f in done.offline_frames if f.label.endswith("/linear")]
    assert_uniform(sent, 12)


# -- rows that are kept --------------------------------------------------------------------------------------

BITS, INNER, COLUMNS = 41, 8, 5
WEIGHT = integers(INNER, COLUMNS, limit=1 << FRAC)
ROWS = (3, LEAST_ROWS - 5, 4, 1, LEAST_ROWS)
"""Of uses of a layer: the first makes a ciphertext's worth, the third needs more than is left of it."""


def product(rows: int, name: str = "w") -> EncryptedProduct:
    return EncryptedProduct(name, rows, INNER, COLUMNS, BITS, FRAC, transposed=False)


def shares(random: type[EncryptedProducts] = EncryptedProducts) -> tuple[list[list[torch.Tensor]], Meter]:
    """Both parties' shares of products of uniform masks, use by use, and the server's meter."""
    meters: dict[int, Meter] = {}

    def party(link: Link) -> list[torch.Tensor]:
        assert link.rank is not None
        meters[link.rank] = link.meter
        products = random(link, InsecureTestRandom(7 + link.rank))
        with link.meter.phase(Phase.OFFLINE):
            known = [WEIGHT] * len(ROWS) if link.rank == SERVER else masks()
            return [products.share(product(rows), each) for rows, each in zip(ROWS, known, strict=True)]

    return list(run_two_threads(party, party)), meters[SERVER]


def masks() -> list[torch.Tensor]:
    stream: Randomness = InsecureTestRandom(1)
    return [drawn(stream, (rows, INNER), BITS) for rows in ROWS]


def test_rows_that_are_kept_are_right_and_counted() -> None:
    (server, client), meter = shares()
    for a, mine, theirs in zip(masks(), server, client, strict=True):
        assert torch.equal(low(mine + theirs, BITS), low(a @ WEIGHT, BITS))
    costs, total = EncryptedCosts(), [0, 0]
    for rows in ROWS:
        to_server, to_client = costs.count(product(rows))
        total = [total[SERVER] + to_server, total[CLIENT] + to_client]
    bill = meter.bill().total
    assert [bill.offline_bytes_to_server, bill.offline_bytes_to_client] == total == costs.sent


def test_a_use_that_rows_are_left_for_costs_the_difference_of_masks_alone() -> None:
    costs = EncryptedCosts()
    first = costs.count(product(1))
    assert costs.count(product(2)) == ((2 * INNER * BITS + 7) // 8, 0)
    assert costs.count(product(1, "other"))[CLIENT] == first[CLIENT]
    assert costs.count(product(LEAST_ROWS - 3)) == (((LEAST_ROWS - 3) * INNER * BITS + 7) // 8, 0)
    assert costs.count(product(1))[CLIENT] == first[CLIENT], "none is left"


def test_rows_used_twice_are_noticed() -> None:
    """The control: the difference of masks of equal rows would be that of the masks."""

    class Twice(EncryptedProducts):
        def _of_kept(self, product: EncryptedProduct, known: torch.Tensor, taken: int) -> torch.Tensor:
            kept = self._kept[product.identity]
            result = super()._of_kept(product, known, taken)
            self._kept[product.identity] = kept
            return result

    with pytest.raises(AssertionError):
        shares(Twice)


# -- limits --------------------------------------------------------------------------------------------------


def test_weights_beyond_the_bound_are_refused() -> None:
    most = int(LARGEST_WEIGHT * 2**FRAC)
    require_norm("w", torch.full((4, 5), most), FRAC)
    one = torch.zeros(4, 10_000, dtype=torch.int64)
    one[:, 0] = most * NORM_SLACK
    require_norm("w", one, FRAC)
    require_norm("gain", torch.full((16,), 4 * most), FRAC)
    for value in (torch.full((4, 5), most + 1), one + one, torch.full((16,), 4 * most + 1)):
        with pytest.raises(RangeError, match=r"linear=rlwe: w .*take --set linear=dealt"):
            require_norm("w", value, FRAC)


def test_numbers_of_rows_are_refused() -> None:
    weight = Matrix("attn.log_temperature", (2, 4), FRAC, 30, no_data((2, 4)), encrypted=True)
    with pytest.raises(ConfigError, match="linear=dealt"):
        Linear(weight, columns=slice(0, 2))
