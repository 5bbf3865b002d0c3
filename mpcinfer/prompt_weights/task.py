"""A few-shot task: labelled examples that make a prompt, and labelled inputs that say how good it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from mpcinfer.models.public import PublicModel
from mpcinfer.prompts import prompt_ids
from mpcinfer.text_file import read_text_file
from parties.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Example:
    """An input and the output that is right for it, or said to be."""

    input: str
    output: str

    @property
    def text(self) -> str:
        """As a prompt has it."""
        return f"Input: {self.input}\nOutput: {self.output}"

    @property
    def question(self) -> str:
        """The same without the output, and without the space before it."""
        return f"Input: {self.input}\nOutput:"


@dataclass(frozen=True, slots=True)
class FewShot:
    """A task of choosing between labels, whose first tokens tell them apart.

    Attributes:
        examples: of the prompt, in order; their outputs may be wrong.
        validation: with outputs that are right.
        labels: all outputs, sorted.
        tokens: the first token of each label, as it follows a question.

    Raises:
        ConfigError: no examples, no validation, fewer than two labels, or two that begin with one token.
    """

    examples: tuple[Example, ...]
    validation: tuple[Example, ...]
    labels: tuple[str, ...]
    tokens: tuple[int, ...]

    @classmethod
    def of(cls, public: PublicModel, examples: Sequence[Example], validation: Sequence[Example]) -> FewShot:
        """Of examples in the order in which the prompt is to have them. Raises ConfigError as above."""
        if not examples or not validation:
            raise ConfigError("reweighting takes at least one example and one validation example")
        labels = sorted({each.output for each in (*examples, *validation)})
        if len(labels) < 2:
            raise ConfigError(f"reweighting takes two labels or more, all outputs are {labels[0]!r}")
        tokens = [_first_token(public, examples[0].question, label) for label in labels]
        if len(set(tokens)) < len(tokens):
            raise ConfigError(
                f"labels {labels}: two of them begin with the same token and cannot be told apart by it"
            )
        return cls(tuple(examples), tuple(validation), tuple(labels), tuple(tokens))

    @property
    def texts(self) -> tuple[str, ...]:
        """The examples as `PromptWeights` wants them."""
        return tuple(each.text for each in self.examples)

    def prompt(self, asked: Example) -> str:
        """All examples and a question."""
        return "\n\n".join([*self.texts, asked.question])

    def right(self, asked: Sequence[Example] | None = None) -> torch.Tensor:
        """Which label is right for each of the validation examples, or of others: int64 [N]."""
        pool = self.validation if asked is None else asked
        return torch.tensor([self.labels.index(each.output) for each in pool])

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Of the labels alone, in float64: [..., V] -> [..., C]."""
        return torch.softmax(logits[..., list(self.tokens)].double(), -1)


def read_examples(path: Path) -> list[Example]:
    """Of a file of JSON lines, {"input": "...", "output": "..."} each; empty lines are skipped.

    Raises:
        ConfigError: it cannot be read, or a line is something else.
    """
    found = list[Example]()
    for number, line in enumerate(read_text_file(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            read: object = json.loads(line)
        except json.JSONDecodeError as error:
            raise ConfigError(f"{path}, line {number} is no JSON: {error}") from error
        fields = cast(dict[str, object], read) if isinstance(read, dict) else {}
        given, output = fields.get("input"), fields.get("output")
        if set(fields) != {"input", "output"} or not (isinstance(given, str) and isinstance(output, str)):
            raise ConfigError(f'{path}, line {number} is not {{"input": "...", "output": "..."}}')
        if not given.strip() or not output.strip():
            raise ConfigError(f"{path}, line {number} has an empty input or output")
        found.append(Example(given, output))
    return found


def _first_token(public: PublicModel, question: str, label: str) -> int:
    """Of a label that follows a question after a space."""
    before, after = prompt_ids(public, question), prompt_ids(public, f"{question} {label}")
    suffix = len(public.tokenizer.suffix)
    before, after = before[: len(before) - suffix], after[: len(after) - suffix]
    if after[: len(before)] != before or len(after) == len(before):
        raise ConfigError(f"label {label!r} has no token of its own after a question, in this tokenizer")
    return after[len(before)]
