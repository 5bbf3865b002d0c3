"""Requests of the OpenAI API, checked: what the client can do is taken, and nothing else is ignored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mpcinfer.proxy.api_errors import ApiError

MAX_BODY_BYTES = 1 << 20

NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "logprobs": (False, 0),
    "top_logprobs": (0,),
    "frequency_penalty": (0, 0.0),
    "presence_penalty": (0, 0.0),
    "logit_bias": ({},),
    "response_format": ({"type": "text"},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "modalities": (["text"],),
    "service_tier": ("auto", "default"),
    "reasoning_effort": ("none",),
}
"""Parameters that are not there, with what asks for nothing; None asks for nothing in all of them."""

IGNORED = frozenset({"user", "metadata", "store", "safety_identifier", "prompt_cache_key"})
"""About the caller; nothing of it leaves this machine."""


_SAYS = {"extra_forbidden": "no such parameter here", "missing": "is wanted"}


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class StreamOptions(_Body):
    """`include_bill` is ours: each piece of an answer says what it took so far."""

    include_usage: bool = False
    include_bill: bool = False


class Sampling(_Body):
    """What says how an answer is made."""

    model: str
    max_tokens: Annotated[int, Field(ge=1, le=1 << 20)] | None = None
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] | None = None
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    seed: int | None = None
    stop: str | Annotated[list[str], Field(max_length=4)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @property
    def stops(self) -> list[str]:
        """Strings that end an answer, which does not have them."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return [each for each in given if each]

    @property
    def options(self) -> StreamOptions:
        """Of the stream."""
        return self.stream_options or StreamOptions()


class _TextPart(_Body):
    type: Literal["text"]
    text: str


class Message(_Body):
    """One of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[_TextPart], Field(max_length=256)]
    name: str | None = None

    def plain(self) -> dict[str, str]:
        """As chat templates want it."""
        text = self.content if isinstance(self.content, str) else "".join(p.text for p in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class ChatBody(Sampling):
    """`/v1/chat/completions`."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=4096)]
    max_completion_tokens: Annotated[int, Field(ge=1, le=1 << 20)] | None = None


class CompletionBody(Sampling):
    """`/v1/completions`; of a list of prompts, one."""

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)]

    @property
    def text(self) -> str:
        """The prompt."""
        return self.prompt if isinstance(self.prompt, str) else self.prompt[0]


class EmbeddingBody(_Body):
    """`/v1/embeddings`."""

    model: str
    input: str | Annotated[list[str], Field(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] = "float"

    @property
    def texts(self) -> list[str]:
        """One or several."""
        return [self.input] if isinstance(self.input, str) else self.input


BodyT = TypeVar("BodyT", bound=_Body)


def parsed(kind: type[BodyT], document: object) -> BodyT:
    """A request's document as one of the above.

    Raises:
        ApiError: 400, with the parameter that is missing, of another form, or not there in a private run.
    """
    if not isinstance(document, dict):
        raise ApiError(400, "the body is no JSON object")
    fields: dict[str, Any] = {}
    for name, value in cast(dict[str, Any], document).items():
        known = name in kind.model_fields
        if (value is None and (known or name in NEUTRAL)) or name in IGNORED:
            continue
        if not known and name in NEUTRAL:
            if value in NEUTRAL[name]:
                continue
            raise ApiError(400, f"{name}: not in private runs", param=name, code="unsupported_parameter")
        fields[name] = value
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        at = ".".join(str(part) for part in first["loc"])
        says = _SAYS.get(first["type"], first["msg"])
        raise ApiError(400, f"{at}: {says}", param=at, code=first["type"]) from None
