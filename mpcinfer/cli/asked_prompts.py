"""The prompts of a command line, as the model is asked them, once its tokenizer is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported while the other parties start
    from mpcinfer.answer import Answer
    from mpcinfer.cli.connecting import Drafting
    from mpcinfer.cli.progress import Waiting
    from mpcinfer.models.public import PublicModel
    from mpcinfer.prompt_weights.weights import PromptWeights
    from mpcinfer.public_prefix import PrefixText
    from mpcinfer.turn import ChatModel
    from mpcinfer.verification import Witness


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedPrompts:
    """What to complete, and how.

    Attributes:
        chat: each text is a question, in the chat template.
        public_prefix: what both parties know before it; of a chat its system message.
        weights: of the examples in each of them.
    """

    texts: Sequence[str]
    chat: bool
    public_prefix: PrefixText | None
    weights: PromptWeights | None

    def of(self, public: PublicModel) -> list[str]:
        """Every prompt."""
        if not self.chat:
            return list(self.texts)
        before = self.public_prefix
        opening = [] if before is None else [{"role": "system", "content": before.text}]
        asked = ([*opening, {"role": "user", "content": text}] for text in self.texts)
        return [public.tokenizer.chat(messages) for messages in asked]

    def longest(self, public: PublicModel) -> str:
        """The one with the most tokens."""
        return max(self.of(public), key=lambda text: len(public.tokenizer.encode(text)))

    def answers(
        self, runner: ChatModel, max_new_tokens: int, sampler: Witness, bar: Waiting, drafting: Drafting
    ) -> list[Answer]:
        """Of one prompt, shown as it comes, or of several in the passes of one."""
        from mpcinfer.cli.progress import Answering

        prompts = self.of(runner.public)
        if len(prompts) > 1:
            weights = [self.weights] * len(prompts)
            return runner.complete_batch(
                prompts, max_new_tokens=max_new_tokens, sampler=sampler, weights=weights
            )
        answer = runner.complete(
            prompts[0],
            max_new_tokens=max_new_tokens,
            sampler=sampler,
            on_text=bar.answer if isinstance(bar, Answering) else None,
            speculate=drafting.speculate,
            draft=drafting.draft(runner),
            weights=self.weights,
        )
        if isinstance(bar, Answering):
            bar.end()
        return [answer]
