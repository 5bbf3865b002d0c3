"""What a model predicts under weights of examples, asked through its answers alone: also a private one."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mpcinfer.chat import ChatModel
from mpcinfer.prompt_weights.in_the_clear import OnPass
from mpcinfer.prompt_weights.settings import LEAST
from mpcinfer.prompt_weights.task import Example, FewShot
from mpcinfer.prompt_weights.weights import PromptWeights
from mpcinfer.sampling import greedy


class AskedPredictions:
    """Predictions by whole answers: a weighting takes a pass over the examples and one a question.

    Over a private session the server learns how many passes there are and of how many tokens, and neither
    questions, labels nor weights: all weightings send the same bytes.

    Args:
        model: a `PrivateClient` or a `ClearModel`.
        task: the prompt, and what to choose from.
        least: see `PromptWeights`.
        on_pass: is told of each question that is done.
    """

    def __init__(
        self, model: ChatModel, task: FewShot, *, least: float = LEAST, on_pass: OnPass | None = None
    ) -> None:
        self._model, self._task, self._least, self._on_pass = model, task, least, on_pass

    def __call__(self, weights: torch.Tensor, asked: Sequence[Example] | None = None) -> torch.Tensor:
        """Probabilities of labels, [W, N, C] in float64; arguments as those of `ClearPredictions`.

        Raises:
            ConfigError, PeerError, RangeError: as `PrivateClient.complete`.
        """
        pool = self._task.validation if asked is None else asked
        rows, of = list[torch.Tensor](), len(weights) * len(pool)
        for weighting in weights:
            numbers = [float(each) for each in weighting]
            given = PromptWeights.of(self._task.texts, numbers, self._least)
            for number, each in enumerate(pool):
                logits = self._logits(self._task.prompt(each), given, keep=number > 0)
                rows.append(self._task.probabilities(logits))
                if self._on_pass is not None:
                    self._on_pass(len(rows), of)
        return torch.stack(rows).reshape(len(weights), len(pool), -1)

    def _logits(self, prompt: str, weights: PromptWeights, *, keep: bool) -> torch.Tensor:
        """Of the first token of an answer, [V]; the examples run again with every weighting."""
        seen = list[torch.Tensor]()

        def note(logits: torch.Tensor) -> int:
            seen.append(logits)
            return greedy(logits)

        self._model.complete(prompt, max_new_tokens=1, sampler=note, weights=weights, keep_cache=keep)
        return seen[0]
