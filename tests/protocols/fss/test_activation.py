"""GELU, SiLU and ReLU, alone and gated."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

from parties.errors import ConfigError, RangeError
from protocols.fss.executors.executor import Executor
from protocols.fss.executors.gate import Shares
from protocols.fss.gates.lookup_activation import Activation, GatedActivation
from protocols.share import Share
from tests.protocols.fss.harness import Program, Run, Secret, clear, run
from tests.protocols.fss.uniformity import assert_uniform

KINDS: list[str] = ["gelu", "gelu_tanh", "silu", "relu"]
TRUE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
    "relu": functional.relu,
}
FRAC, INDEX_FRAC, INDEX_BITS = 6, 3, 8
"""x has three bits more than its index, which reaches from -16 to 16."""


def activation(kind: str, *, centred: bool = False, table_frac: int = 5, ring_bits: int = 20) -> Activation:
    return Activation(
        kind,
        ring_bits=ring_bits,
        frac_bits=FRAC,
        index_bits=INDEX_BITS,
        index_frac=INDEX_FRAC,
        table_frac=table_frac,
        centred=centred,
    )


def gated(kind: str, *, ring_bits: int = 28) -> GatedActivation:
    return GatedActivation(
        kind,
        ring_bits=ring_bits,
        frac_bits=FRAC,
        index_bits=INDEX_BITS,
        index_frac=INDEX_FRAC,
        table_frac=5,
    )


def program(gate: Activation | GatedActivation, *, views: bool = False) -> Program:
    """Takes x, its index and, where the gate has one, the other factor."""

    def apply(executor: Executor, x: Share, index: Share, *factors: Share) -> Shares:
        read = [executor.view(wire) if views else wire for wire in (x, *factors)]
        return executor.apply(gate, read[0], index, *read[1:])

    return apply


def inputs(x: torch.Tensor, *, views: bool = False, factor: torch.Tensor | None = None) -> list[Secret]:
    """x in a ring of its own, its index rounded down, another factor. Views need one bit of slack."""
    secrets = [Secret(x, FRAC, 12 if views else 30), Secret(x >> 3, INDEX_FRAC, INDEX_BITS)]
    return secrets if factor is None else [*secrets, Secret(factor, 4, 9 if views else 28)]


@pytest.mark.parametrize("views", [False, True], ids=["values", "views"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_index_and_mask(kind: str, views: bool) -> None:
    grid = torch.cartesian_prod(torch.arange(-128, 128), torch.arange(256))
    x = (grid[:, 0] << 3) + grid[:, 1] % 8
    x_input, index = inputs(x, views=views)
    index = Secret(grid[:, 0], INDEX_FRAC, INDEX_BITS, mask=grid[:, 1])
    done = run(program(activation(kind), views=views), [x_input, index])
    done.check_bill()
    assert torch.equal(done.secret(), done.clear[0].value)


@pytest.mark.parametrize("kind", KINDS)
def test_every_mask_of_a_view(kind: str) -> None:
    """x of 8 bits under all masks of its ring, the index being x itself."""
    grid = torch.cartesian_prod(torch.arange(-64, 64), torch.arange(256))
    secrets = [Secret(grid[:, 0], 3, 8, mask=grid[:, 1]), Secret(grid[:, 0], 3, 8)]
    gate = Activation(kind, ring_bits=33, frac_bits=3, index_bits=8, index_frac=3, table_frac=3)
    done = run(program(gate, views=True), secrets)
    assert torch.equal(done.secret(), done.clear[0].value)


@pytest.mark.parametrize("views", [False, True], ids=["values", "views"])
@pytest.mark.parametrize("kind", KINDS)
def test_gated(kind: str, views: bool) -> None:
    x = torch.arange(-1024, 1024)
    factor = (37 * x) % 251 - 125
    done = run(program(gated(kind), views=views), inputs(x, views=views, factor=factor))
    done.check_bill()
    assert done.clear[0].frac_bits == FRAC + 4
    assert torch.equal(done.secret(), done.clear[0].value)
    (alone,) = clear(program(activation(kind)), inputs(x))
    assert torch.equal(done.clear[0].value, alone.value * factor)


@pytest.mark.parametrize("index_is_above", [False, True], ids=["rounded down", "rounded up"])
def test_an_index_rounded_either_way(index_is_above: bool) -> None:
    """What probabilistic truncation gives: the private result follows the index, as the reference does."""
    x = torch.arange(-512, 512)
    x_input, _ = inputs(x)
    index = Secret((x >> 3) + int(index_is_above), INDEX_FRAC, INDEX_BITS)
    done = run(program(activation("gelu")), [x_input, index])
    assert torch.equal(done.secret(), done.clear[0].value)


@pytest.mark.parametrize(("index_frac", "table_frac"), [(2, 4), (4, 9), (6, 9), (7, 12)])
@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_error(kind: str, centred: bool, index_frac: int, table_frac: int) -> None:
    """Over every x of 12 fraction bits in [-16, 16), for every index it may be rounded to."""
    bits = index_frac + 6
    gate = Activation(
        kind,
        ring_bits=30,
        frac_bits=12,
        index_bits=bits,
        index_frac=index_frac,
        table_frac=table_frac,
        centred=centred,
    )
    x = torch.arange(-(16 << 12), 16 << 12)
    exact = TRUE[kind](x.double() / 2.0**12)
    drop, largest = 12 - index_frac, 0.0
    for index in [x >> drop] if centred else [x >> drop, -((-x) >> drop)]:
        (result,) = clear(program(gate), [Secret(x, 12, 30), Secret(index, index_frac, bits)])
        error = float((result.value.double() / 2.0**12 - exact).abs().max())
        assert error <= gate.max_abs_error
        largest = max(largest, error)
    assert largest >= 0.6 * gate.max_abs_error, "the bound is far from what happens"


def test_the_largest_index_has_its_own_value() -> None:
    """Both ends of the index's ring, where the table would come round."""
    gate = Activation("silu", ring_bits=20, frac_bits=3, index_bits=6, index_frac=3, table_frac=3)
    x = torch.arange(-32, 32)
    done = run(program(gate), [Secret(x, 3, 20), Secret(x, 3, 6)])
    assert torch.equal(done.secret(), done.clear[0].value)
    ends = done.secret()[[0, -1]].double() / 8.0
    exact = functional.silu(torch.tensor([-4.0, 3.875]))
    assert float((ends - exact).abs().max()) <= gate.max_abs_error


def test_what_gelu_opens_and_takes() -> None:
    x = torch.zeros(800, dtype=torch.int64)
    done = run(program(activation("gelu")), inputs(x))
    # The largest correction is 0.17: 5 at 5 fraction bits, 3 bits and 2 more.
    opened = [(label, bits) for label, bits, _ in done.opened()]
    assert opened == [("other/activation", 5), ("other/activation", 1)]
    assert done.counted.rounds == 1
    assert done.counted.online_bytes_to_server == done.counted.online_bytes_to_client == 600
    # A truth table of 256 bits.
    assert done.counted.offline_bytes_to_client == 0
    assert done.counted.offline_bytes_to_server == 800 * 32 + 100 * (3 * (20 + 19) - 5)


def test_nine_fraction_bits_of_gelu_take_ten_bits() -> None:
    gate = Activation("gelu", ring_bits=34, frac_bits=9, index_bits=14, index_frac=6, table_frac=9)
    index = Share(torch.empty(8, dtype=torch.int64, device="meta"), 6, 14)
    (message,) = gate.messages(index, index)
    assert message.payload_bytes == 10


def test_relu_opens_a_bit_and_takes_a_shorter_key() -> None:
    done = run(program(activation("relu")), inputs(torch.zeros(800, dtype=torch.int64)))
    assert [bits for _, bits, _ in done.opened()] == [1]
    assert done.counted.offline_bytes_to_client == 0
    assert done.counted.offline_bytes_to_server == 800 * 16 + 100 * 3 * 20


def test_a_gated_unit_opens_no_more() -> None:
    x = torch.zeros(800, dtype=torch.int64)
    # Wraps: of V's 6 bits, or of views of 12, 9 and 6 bits.
    saved = (2 * 6, 6 * 12 + 6 * 9 + 3 * 9 + 3 * 6)
    for views, shares in ((False, 7 * 28 + 6 * 27 - saved[0]), (True, 17 * 28 + 9 * 27 - saved[1])):
        done = run(program(gated("silu"), views=views), inputs(x, views=views, factor=x))
        # 0.28 at 5 fraction bits is 9: 4 bits and 2 more.
        assert [bits for _, bits, _ in done.opened()] == [6, 1]
        assert done.counted.offline_bytes_to_server == 800 * 32 + 100 * shares


def opened(secret: int) -> Run:
    x = torch.full((6000,), secret)
    return run(program(gated("gelu")), inputs(x, factor=x))


@pytest.mark.parametrize("secret", [-1000, -3, 3, 60])
def test_what_is_opened_is_uniform(secret: int) -> None:
    for _, bits, value in opened(secret).opened():
        assert_uniform(value, bits)


def test_frames_tell_nothing_of_the_secret() -> None:
    shapes = [[(f.label, f.specs) for f in opened(secret).frames] for secret in (-1000, 3)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("shape", [(), (2, 0), (2, 3, 5)], ids=str)
def test_shapes(shape: tuple[int, ...]) -> None:
    x = torch.arange(torch.Size(shape).numel()).reshape(shape) * 13 - 200
    done = run(program(gated("gelu_tanh")), inputs(x, factor=x))
    done.check_bill()
    assert torch.equal(done.secret(), done.clear[0].value)


def test_a_result_beyond_its_ring_is_an_error_in_the_clear() -> None:
    x = torch.tensor([500])
    with pytest.raises(RangeError):
        clear(program(activation("gelu", ring_bits=9)), inputs(x))
    with pytest.raises(RangeError):
        clear(program(gated("gelu", ring_bits=14)), inputs(x, factor=torch.tensor([50])))


@pytest.mark.parametrize(
    "options",
    [
        {"table_frac": 7},
        {"table_frac": -14},
        {"index_frac": 7},
        {"index_bits": 1},
        {"index_bits": 21},
        {"kind": "softplus"},
    ],
    ids=str,
)
def test_what_does_not_fit(options: dict[str, object]) -> None:
    fitting = {
        "kind": "gelu",
        "ring_bits": 20,
        "frac_bits": 6,
        "index_bits": 8,
        "index_frac": 3,
        "table_frac": 5,
    }
    kind, *rest = {**fitting, **options}.items()
    with pytest.raises(ConfigError):
        Activation(kind[1], **dict(rest))  # type: ignore[arg-type]


def test_a_value_in_a_narrower_ring_is_refused() -> None:
    x = torch.zeros(3, dtype=torch.int64)
    with pytest.raises(ConfigError, match="view"):
        run(program(activation("gelu")), [Secret(x, FRAC, 12), Secret(x, INDEX_FRAC, INDEX_BITS)])
