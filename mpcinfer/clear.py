"""A model run in the clear on one machine: float, or the fixed-point reference of a private run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from mpcinfer.answer import Answer, OnText, answer
from mpcinfer.backends.plain import PlainBackend
from mpcinfer.batch_answers import OnBatchText
from mpcinfer.generation import Predict, Remembered, Session
from mpcinfer.models.column_weights import ColumnWeights
from mpcinfer.models.decoder import Decoder
from mpcinfer.models.model import Model
from mpcinfer.models.public import PublicModel
from mpcinfer.models.state_cache import (
    cache_of,
    require_no_adapter,
    require_no_public_prefix,
    require_states,
)
from mpcinfer.models.static import static
from mpcinfer.plans import plan_from
from mpcinfer.prefix.adapter import PrefixAdapter
from mpcinfer.prompt_weights.weights import PromptWeights, require_weighable
from mpcinfer.prompts import Text
from mpcinfer.public_prefix import PrefixText, require_one_prefix
from mpcinfer.reading import Labelled, embeddings, labelled
from mpcinfer.reference_session import reference_session
from mpcinfer.sampling import Sampler, greedy
from mpcinfer.speculation import Draft, look_up, speculation
from mpcinfer.suites.registry import suite_of
from protocols.plan import DEFAULT_PLAN


class ClearModel:
    """Completes and reads texts without any privacy.

    Args:
        model: weights and tokenizer.
        fixed_point: compute in fixed point, norms folded as in a private run, instead of in float.
        plan: whose fixed point. Suite `crypten`: Z_2^64 with 16 fraction bits and exact rounding. Suite
            `fss`: its rings and tables with exact truncation, which `fss-faithful` equals bit by bit.
        choices: `operation=protocol` replacements of the plan's.
        max_context: tokens that the private session has room for; suite `fss` has rings and scales as wide as
            that needs. None for the most that a session has by default.
        public_prefix: comes before every prompt. In fixed point its keys and values are the float model's,
            rounded, as in a private run; in float it is run with the prompt.
        prefix: what every query sees besides the tokens.

    Raises:
        ConfigError: the prefix is not for the model, or there is a public prefix, too.
    """

    def __init__(
        self,
        model: Model,
        *,
        fixed_point: bool = False,
        plan: str = DEFAULT_PLAN,
        choices: Sequence[str] = (),
        max_context: int | None = None,
        public_prefix: PrefixText | None = None,
        prefix: PrefixAdapter | None = None,
    ) -> None:
        self.public, self._prefix = PublicModel.of(model), prefix
        if prefix is not None:
            prefix.require_for(self.public)
            require_one_prefix(public_prefix)
        self._model, self._fixed_point, self._plan = model, fixed_point, plan_from(plan, choices)
        if self._plan.chunk:
            require_states(model.config, self._plan.chunk)
            require_no_public_prefix(0 if public_prefix is None else 1)
            require_no_adapter(None if prefix is None else prefix.features, self._plan.chunk)
        self._room = max_context
        self.public_prefix = None if public_prefix is None else public_prefix.of(self.public)
        self._remembered: Remembered | None = None

    def complete(
        self,
        prompt: str,
        *,
        max_new_tokens: int = 24,
        sampler: Sampler = greedy,
        on_text: OnText | None = None,
        keep_cache: bool = False,
        speculate: int = 0,
        draft: Draft = look_up,
        weights: PromptWeights | None = None,
    ) -> Answer:
        """The model's continuation of a text; arguments and errors as `PrivateClient.complete`.

        In float the last bits of logits depend on how tokens are cut into passes, and so, rarely, does what
        `speculate` and `keep` give; in fixed point they do not.
        """
        drafting = speculation(speculate, draft)
        predict = self._predictions(keep_cache, weights, prompt)
        return answer(
            predict,
            self.public,
            prompt,
            max_new_tokens,
            sampler,
            on_text,
            context=self._context(),
            speculation=drafting,
            public_prefix=self.public_prefix,
        )

    def _context(self) -> int:
        """The most tokens; in fixed point those of the session that it stands for."""
        config = self.public.config
        if not self._fixed_point:
            return config.context
        return min(suite_of(self._plan).session_context(config, self._room), config.context)

    def complete_batch(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int = 24,
        sampler: Sampler | Sequence[Sampler] = greedy,
        on_text: OnBatchText | None = None,
        weights: Sequence[PromptWeights | None] | None = None,
    ) -> list[Answer]:
        """The model's continuations of several texts, one after the other; arguments as those of
        `PrivateClient.complete_batch`. Every answer has the room that its own prompt leaves."""
        samplers = [sampler] * len(prompts) if callable(sampler) else list(sampler)
        return [
            self.complete(
                prompt,
                max_new_tokens=max_new_tokens,
                sampler=each,
                on_text=None if on_text is None else partial(on_text, number),
                weights=weighing,
            )
            for number, (prompt, each, weighing) in enumerate(
                zip(prompts, samplers, weights or [None] * len(prompts), strict=True)
            )
        ]

    def embed(self, texts: Sequence[str], *, normalise: bool = True) -> torch.Tensor:
        """A vector a text, [n, D]; arguments and errors as `PrivateClient.embed`."""
        return embeddings(self._read, self.public, texts, context=self._context(), normalise=normalise)

    def classify(self, texts: Sequence[Text]) -> Labelled:
        """Every text's scores; arguments and errors as `PrivateClient.classify`."""
        return labelled(self._read, self.public, texts, context=self._context())

    def _read(self, texts: Sequence[Sequence[int]]) -> torch.Tensor:
        """One after the other."""
        return torch.stack([self._predictions(keep_cache=False)(ids, 1)[0] for ids in texts])

    def _predictions(
        self, keep_cache: bool, weights: PromptWeights | None = None, prompt: str = ""
    ) -> Predict:
        """Over what was seen, or afresh; under weights of the prompt's examples."""
        if self._remembered is None:
            self._remembered = self._remembering()
        elif not keep_cache:
            self._remembered.forget()
        self._remembered.weigh(self._columns(weights, prompt))
        return self._remembered

    def _columns(self, weights: PromptWeights | None, prompt: str) -> ColumnWeights | None:
        if weights is None:
            return None
        prefixed = self._prefix is not None or self.public_prefix is not None
        require_weighable(self.public.config, private=self._fixed_point, prefixed=prefixed)
        return weights.columns(self.public, prompt)

    def _remembering(self) -> Remembered:
        """With an empty cache."""
        apart = self._plan.chunk == 0
        if self._fixed_point:
            suite = suite_of(self._plan)
            decoder = suite.reference(self._model, self._plan, max_context=self._room, prefix=self._prefix)
            session = reference_session(self._model, self._plan, decoder, self.public_prefix)
            first = () if self.public_prefix is None else self.public_prefix.ids
            return Remembered(session.step, session.rewind, first, session.weigh, apart=apart)
        session = self._plain_session()
        return Remembered(session.step, session.rewind, (), session.weigh, apart=apart)

    def _plain_session(self) -> Session[torch.Tensor, torch.Tensor]:
        config, weights = static(self._model.config, self._model.weights)
        states = () if self._prefix is None else self._prefix.states(torch.float32)
        return Session(Decoder(PlainBackend(), config, weights, states), cache_of(self._plan.chunk))
