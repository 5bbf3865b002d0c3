"""A model run in the clear on one machine: float, or the fixed-point reference of a private run."""

from __future__ import annotations

import torch

from mpcinfer.answer import Answer, OnText, answer
from mpcinfer.backends.fixed import FixedBackend
from mpcinfer.backends.plain import PlainBackend
from mpcinfer.generation import Session
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.fold import fold_norms
from mpcinfer.models.model import Model
from mpcinfer.models.public import PublicModel
from mpcinfer.sampling import Sampler, greedy


class ClearModel:
    """Completes texts without any privacy.

    Args:
        model: weights and tokenizer.
        fixed_point: compute in Z_2^64 with 16 fraction bits and faithful rounding, norms folded as in a
            private run, instead of in float.
    """

    def __init__(self, model: Model, *, fixed_point: bool = False) -> None:
        self.public = PublicModel.of(model)
        self._model, self._fixed_point = model, fixed_point

    def complete(
        self,
        prompt: str,
        *,
        max_new_tokens: int = 24,
        sampler: Sampler = greedy,
        on_text: OnText | None = None,
    ) -> Answer:
        """The model's continuation of a text; arguments and errors as `PrivateClient.complete`."""
        step = self._fixed_session().step if self._fixed_point else self._plain_session().step
        return answer(step, self.public, prompt, max_new_tokens, sampler, on_text)

    def _plain_session(self) -> Session[torch.Tensor, torch.Tensor]:
        return Session(Decoder(PlainBackend(), self._model.config, self._model.weights))

    def _fixed_session(self) -> Session[torch.Tensor, torch.Tensor]:
        config, weights = fold_norms(self._model.config, self._model.weights)
        backend = FixedBackend()
        return Session(Decoder(backend, config, backend.load(weights)))
