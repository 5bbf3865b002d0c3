"""What a model in float predicts under weights of examples: many weightings at once, and differentiable."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from mpcinfer.backends.plain import PlainBackend
from mpcinfer.models.column_weights import ColumnWeights
from mpcinfer.models.decoder import Decoder, KVCache
from mpcinfer.models.model import Model
from mpcinfer.models.public import PublicModel
from mpcinfer.models.static import static
from mpcinfer.prompt_weights.settings import LEAST
from mpcinfer.prompt_weights.spans import examples_of_tokens, spans_of
from mpcinfer.prompt_weights.task import Example, FewShot
from mpcinfer.prompt_weights.weights import require_weighable
from mpcinfer.prompts import prompt_ids

OnPass = Callable[[int, int], None]
"""Is told how many of how many passes are done."""


class ClearPredictions:
    """Predictions of a model that is here, without privacy.

    The examples, which all questions have before them, run once for each weighting; keys and values of them
    stay for the questions.

    Args:
        model: whose attention takes weights.
        task: the prompt, and what to choose from.
        least: see `PromptWeights`.
        on_pass: is told of each question that is done.

    Raises:
        ConfigError: the model's attention takes no weights.
    """

    def __init__(
        self, model: Model, task: FewShot, *, least: float = LEAST, on_pass: OnPass | None = None
    ) -> None:
        require_weighable(model.config, private=False)
        self._public, self._task = PublicModel.of(model), task
        self._least, self._on_pass = least, on_pass
        self._backend = PlainBackend()
        self._decoder = Decoder(self._backend, *static(model.config, model.weights))

    def __call__(self, weights: torch.Tensor, asked: Sequence[Example] | None = None) -> torch.Tensor:
        """Probabilities of labels, [W, N, C] in float64, differentiable in the weights where they want that.

        Args:
            weights: [W, m] in float64, every row a weighting of the examples, >= 0 and not all 0.
            asked: N questions; the task's validation examples by default.
        """
        pool = self._task.validation if asked is None else asked
        ids = [prompt_ids(self._public, self._task.prompt(each)) for each in pool]
        shared = _shared(ids)
        self._backend.column_weights = self._columns(weights, self._task.prompt(pool[0]), shared)
        cache, rows = KVCache[torch.Tensor](), list[torch.Tensor]()
        with torch.set_grad_enabled(weights.requires_grad):
            self._forward(ids[0][:shared], cache)
            for number, each in enumerate(ids, 1):
                rows.append(self._task.probabilities(self._forward(each[shared:], cache)))
                cache.rewind(shared, self._backend.first_tokens)
                if self._on_pass is not None:
                    self._on_pass(number, len(ids))
        return torch.stack(rows, 1)

    def _forward(self, ids: Sequence[int], cache: KVCache[torch.Tensor]) -> torch.Tensor:
        """Logits [W, V] after the last token; [1, V] where nothing before it has weights."""
        tokens = self._backend.tokens(ids, len(ids))
        return self._decoder.forward(tokens, len(ids), cache=cache, rows=1)[:, -1]

    def _columns(self, weights: torch.Tensor, prompt: str, shared: int) -> ColumnWeights:
        """log w of the tokens that all questions have before them; those of a question weigh 1."""
        spans = self._public.tokenizer.spans(prompt)[:shared]
        belongs = examples_of_tokens(spans, spans_of(prompt, self._task.texts))
        largest = weights.detach().amax(-1, keepdim=True).clamp_min(1.0)
        logs = torch.log(weights.clamp_min(self._least * largest))
        logs = torch.cat([logs, torch.zeros(len(logs), 1, dtype=logs.dtype)], -1)
        others = logs.shape[-1] - 1
        return ColumnWeights(logs[:, [others if each is None else each for each in belongs]])


def _shared(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with, leaving one at least of each."""
    most = min(map(len, prompts)) - 1
    first = prompts[0]
    return next((i for i in range(most) if any(each[i] != first[i] for each in prompts)), most)
