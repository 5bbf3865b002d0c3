"""A model run in the clear on one machine: float, or the fixed-point reference of a private run."""

from __future__ import annotations

import torch

from mpcinfer.answer import Answer, OnText, answer
from mpcinfer.backends.fixed import FixedBackend
from mpcinfer.backends.fss_reference import reference_decoder
from mpcinfer.backends.plain import PlainBackend
from mpcinfer.generation import Session, Step
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.fold import fold_norms
from mpcinfer.models.model import Model
from mpcinfer.models.public import PublicModel
from mpcinfer.sampling import Sampler, greedy
from protocols.registry import get_plan


class ClearModel:
    """Completes texts without any privacy.

    Args:
        model: weights and tokenizer.
        fixed_point: compute in fixed point, norms folded as in a private run, instead of in float.
        plan: whose fixed point. Engine `crypten`: Z_2^64 with 16 fraction bits and faithful rounding. Engine
            `fss`: its rings and tables with exact truncation, which `fss-faithful` equals bit by bit.
    """

    def __init__(self, model: Model, *, fixed_point: bool = False, plan: str = "crypten") -> None:
        self.public = PublicModel.of(model)
        self._model, self._fixed_point, self._plan = model, fixed_point, get_plan(plan)

    def complete(
        self,
        prompt: str,
        *,
        max_new_tokens: int = 24,
        sampler: Sampler = greedy,
        on_text: OnText | None = None,
    ) -> Answer:
        """The model's continuation of a text; arguments and errors as `PrivateClient.complete`."""
        return answer(self._step(), self.public, prompt, max_new_tokens, sampler, on_text)

    def _step(self) -> Step:
        if not self._fixed_point:
            return self._plain_session().step
        if self._plan.engine == "fss":
            return Session(reference_decoder(self._model, self._plan)).step
        return self._fixed_session().step

    def _plain_session(self) -> Session[torch.Tensor, torch.Tensor]:
        return Session(Decoder(PlainBackend(), self._model.config, self._model.weights))

    def _fixed_session(self) -> Session[torch.Tensor, torch.Tensor]:
        config, weights = fold_norms(self._model.config, self._model.weights)
        backend = FixedBackend()
        return Session(Decoder(backend, config, backend.load(weights)))
