"""An optimizer around another one: what every wrapper shares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import torch
from torch.optim import Optimizer

from parties.errors import ConfigError

Closure = Callable[[], Any]


class OptimizerWrapper(Optimizer, ABC):
    """Changes the steps of any `torch.optim` optimizer.

    Groups of parameters and state are those of the wrapped optimizer, the same objects: a scheduler of
    learning rates works on the wrapper, and so does everything else that reads or sets `param_groups`.
    Closures are called as often as the wrapped optimizer alone would call them. `state_dict` is that of the
    wrapped optimizer with the wrapper's own state under one more key.

    Attributes:
        base: the wrapped optimizer, which may be a wrapper.
    """

    KEY: ClassVar[str]

    def __init__(self, base: Optimizer) -> None:
        super().__init__(base.param_groups, base.defaults)
        self.base = base
        self._share()

    def _share(self) -> None:
        self.param_groups, self.state = self.base.param_groups, self.base.state

    def step(self, closure: Closure | None = None) -> Any:
        """One step; returns what the closure does at the weights before it, None without a closure."""
        if closure is None:
            with torch.no_grad():
                self._advance(None)
            return None
        with torch.enable_grad():
            loss = closure()
        with torch.no_grad():
            self._advance(_beginning_with(loss, closure))
        return loss

    @abstractmethod
    def _advance(self, closure: Closure | None) -> None:
        """One step without gradient tracking; the gradients are there."""

    def told(self) -> dict[str, float]:
        """Figures on the last step for a log, those of wrapped wrappers included."""
        return self.base.told() if isinstance(self.base, OptimizerWrapper) else {}

    @abstractmethod
    def _own_state(self) -> dict[str, Any]:
        """What the wrapper keeps: numbers, texts, tensors and lists of them."""

    @abstractmethod
    def _load_own_state(self, state: dict[str, Any]) -> None:
        """Takes that back."""

    def gradients(self) -> Iterator[tuple[dict[str, Any], torch.Tensor]]:
        """Group and parameter of every gradient that there is, in order."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    yield group, parameter

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As of the wrapped optimizer."""
        if "base" not in self.__dict__:  # while the constructor takes over the groups that are there
            super().add_param_group(param_group)
            return
        self.base.add_param_group(param_group)
        self._share()

    def state_dict(self) -> dict[str, Any]:
        """The wrapped optimizer's, and the wrapper's own state under `KEY`."""
        return {**self.base.state_dict(), self.KEY: self._own_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on where `state_dict` of a like wrapper around a like optimizer stood.

        Raises:
            ConfigError: a state without one of this wrapper.
        """
        rest = dict(state_dict)
        if self.KEY not in rest:
            raise ConfigError(
                f"the optimizer's state has no {self.KEY}: it is not of a {type(self).__name__}"
            )
        own = rest.pop(self.KEY)
        self.base.load_state_dict(rest)
        self._share()
        self._load_own_state(own)


def _beginning_with(loss: Any, closure: Closure) -> Closure:
    """A closure whose first call gives a loss that is there already, and whose gradients are."""
    waiting = [loss]

    def again() -> Any:
        return waiting.pop() if waiting else closure()

    return again


def dense(gradient: torch.Tensor) -> torch.Tensor:
    """A gradient with all of its entries, complex ones as pairs."""
    whole = gradient.to_dense() if gradient.is_sparse else gradient
    return torch.view_as_real(whole) if whole.is_complex() else whole


def inner(left: torch.Tensor, right: torch.Tensor) -> float:
    """The inner product of two tensors of one shape, summed in float64."""
    return float((left * right).sum(dtype=torch.float64))
