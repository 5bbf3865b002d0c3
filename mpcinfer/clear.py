"""A model run in the clear on one machine: float, or the fixed-point reference of a private run."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mpcinfer.answer import Answer, OnText, answer
from mpcinfer.backends.fixed import FixedBackend
from mpcinfer.backends.fss_reference import reference_decoder
from mpcinfer.backends.plain import PlainBackend
from mpcinfer.generation import Session, Step
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.fold import fold
from mpcinfer.models.model import Model
from mpcinfer.models.public import PublicModel
from mpcinfer.models.static import static
from mpcinfer.plans import plan_from
from mpcinfer.sampling import Sampler, greedy
from protocols.plan import DEFAULT_PLAN


class ClearModel:
    """Completes texts without any privacy.

    Args:
        model: weights and tokenizer.
        fixed_point: compute in fixed point, norms folded as in a private run, instead of in float.
        plan: whose fixed point. Engine `crypten`: Z_2^64 with 16 fraction bits and faithful rounding. Engine
            `fss`: its rings and tables with exact truncation, which `fss-faithful` equals bit by bit.
        choices: `operation=protocol` replacements of the plan's.
        room: tokens that the private session has room for; engine `fss` has rings and scales as wide as that
            needs. None for the most that a session has by default.
    """

    def __init__(
        self,
        model: Model,
        *,
        fixed_point: bool = False,
        plan: str = DEFAULT_PLAN,
        choices: Sequence[str] = (),
        room: int | None = None,
    ) -> None:
        self.public = PublicModel.of(model)
        self._model, self._fixed_point, self._plan = model, fixed_point, plan_from(plan, choices)
        self._room = room
        self._step: Step | None = None
        self._seen: list[int] = []

    def complete(
        self,
        prompt: str,
        *,
        max_new_tokens: int = 24,
        sampler: Sampler = greedy,
        on_text: OnText | None = None,
        keep: bool = False,
    ) -> Answer:
        """The model's continuation of a text; arguments and errors as `PrivateClient.complete`.

        With `keep`, tokens that the prompt begins with and that were all seen before are not run again.
        """
        return answer(self._stepping(keep), self.public, prompt, max_new_tokens, sampler, on_text)

    def _stepping(self, keep: bool) -> Step:
        """A step whose first call gets a whole prompt."""
        prompt = True

        def step(ids: Sequence[int]) -> torch.Tensor:
            nonlocal prompt
            fresh, known = list(ids), len(self._seen)
            if prompt:
                prompt = False
                if self._step is None or not (keep and known < len(fresh) and fresh[:known] == self._seen):
                    self._step, self._seen = self._new_step(), []
                fresh = fresh[len(self._seen) :]
            assert self._step is not None
            logits = self._step(fresh)
            self._seen += fresh
            return logits

        return step

    def _new_step(self) -> Step:
        if not self._fixed_point:
            return self._plain_session().step
        if self._plan.engine == "fss":
            return Session(reference_decoder(self._model, self._plan, room=self._room)).step
        return self._fixed_session().step

    def _plain_session(self) -> Session[torch.Tensor, torch.Tensor]:
        return Session(Decoder(PlainBackend(), *static(self._model.config, self._model.weights)))

    def _fixed_session(self) -> Session[torch.Tensor, torch.Tensor]:
        config, weights = fold(self._model.config, self._model.weights)
        backend = FixedBackend()
        return Session(Decoder(backend, config, backend.load(weights)))
