"""The cleartext executor: exact products, floors, and errors instead of wraps."""

from __future__ import annotations

import pytest
import torch

from parties.errors import ConfigError, RangeError
from protocols.share import Share
from tests.roundings import ceiling, clear_executor, either, floor, share


def test_products_are_floors() -> None:
    executor = clear_executor()
    a = Share(torch.tensor([3, -3, 65536]), 16)
    b = Share(torch.tensor([32768, 32768, -1]), 16)
    assert executor.mul(a, b).value.tolist() == [1, -2, -1]
    assert executor.square(a).value.tolist() == [0, 0, 65536]
    assert executor.mul(a, Share(b.value, 0)).value.tolist() == [3 * 32768, -3 * 32768, -65536]


def test_matrices_and_weights() -> None:
    executor = clear_executor()
    x = torch.tensor([[1.0, 2.0]])
    weight = torch.tensor([[1.0, 0.0, 2.0], [0.5, 1.0, -1.0]])
    loaded = executor.weight("w", weight, (2, 3))
    product = executor.linear(share(executor, x), loaded)
    assert executor.open_to(0, product).tolist() == (x @ weight).tolist()
    back = executor.linear(product, loaded, transposed=True)
    assert executor.open_to(1, back).tolist() == (x @ weight @ weight.T).tolist()


def test_what_would_wrap_is_an_error() -> None:
    executor = clear_executor()
    large = share(executor, torch.tensor([2.0**20]))
    with pytest.raises(RangeError, match="must be below"):
        executor.square(large)
    with pytest.raises(RangeError, match="2\\^62"):
        share(executor, torch.tensor([2.0**50]))


def test_a_hidden_input_is_an_error() -> None:
    with pytest.raises(ConfigError, match="needs every value"):
        clear_executor().share_from(0, None, (2,))


def test_has_no_library_but_max() -> None:
    executor = clear_executor()
    x = share(executor, torch.tensor([[1.0, 3.0, -2.0]]))
    assert executor.open_to(0, executor.native("max", x, dim=1)).tolist() == [[3.0]]
    with pytest.raises(ConfigError, match="no sigmoid of its own"):
        executor.native("sigmoid", x)


def test_roundings_are_neighbours() -> None:
    value = torch.arange(-200, 200)
    assert torch.equal(ceiling(value, 3) - floor(value, 3), (value % 8 != 0).long())
    assert bool(((either(value, 3) == ceiling(value, 3)) | (either(value, 3) == floor(value, 3))).all())
