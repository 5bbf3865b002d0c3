"""Answers as the OpenAI API writes them, whole and in pieces."""

from __future__ import annotations

import secrets
import time
from abc import ABC, abstractmethod
from typing import Any, ClassVar, final

from mpcinfer.proxy.generating import Finished


class Answers(ABC):
    """One answer of a model.

    Args:
        model: its name.
    """

    prefix: ClassVar[str]
    whole_kind: ClassVar[str]
    piece_kind: ClassVar[str]

    def __init__(self, model: str) -> None:
        self._same = {
            "id": f"{self.prefix}-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": model,
        }

    def whole(self, answer: Finished) -> dict[str, Any]:
        """All of it, without its usage."""
        choice = {**self._content(answer.text), "index": 0, "finish_reason": answer.reason, "logprobs": None}
        return {**self._same, "object": self.whole_kind, "choices": [choice]}

    def opening(self) -> dict[str, Any]:
        """The first event, which has no text yet."""
        return self._event(self._opening(), None)

    def piece(self, text: str) -> dict[str, Any]:
        """More text."""
        return self._event(self._delta(text), None)

    def end(self, reason: str) -> dict[str, Any]:
        """Why there is no more."""
        return self._event(self._delta(""), reason)

    def nothing(self) -> dict[str, Any]:
        """An event without a choice, for the usage."""
        return {**self._same, "object": self.piece_kind, "choices": []}

    def _event(self, content: dict[str, Any], reason: str | None) -> dict[str, Any]:
        choice = {**content, "index": 0, "finish_reason": reason, "logprobs": None}
        return {**self._same, "object": self.piece_kind, "choices": [choice]}

    @abstractmethod
    def _content(self, text: str) -> dict[str, Any]:
        """A whole text in a choice."""

    @abstractmethod
    def _delta(self, text: str) -> dict[str, Any]:
        """A piece of a text in a choice."""

    def _opening(self) -> dict[str, Any]:
        return self._delta("")


@final
class ChatAnswers(Answers):
    """Of `/v1/chat/completions`."""

    prefix: ClassVar[str] = "chatcmpl"
    whole_kind: ClassVar[str] = "chat.completion"
    piece_kind: ClassVar[str] = "chat.completion.chunk"

    def _content(self, text: str) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text}}

    def _delta(self, text: str) -> dict[str, Any]:
        return {"delta": {"content": text} if text else {}}

    def _opening(self) -> dict[str, Any]:
        return {"delta": {"role": "assistant", "content": ""}}


@final
class TextAnswers(Answers):
    """Of `/v1/completions`."""

    prefix: ClassVar[str] = "cmpl"
    whole_kind: ClassVar[str] = "text_completion"
    piece_kind: ClassVar[str] = "text_completion"

    def _content(self, text: str) -> dict[str, Any]:
        return {"text": text}

    def _delta(self, text: str) -> dict[str, Any]:
        return {"text": text}
