"""Chat templates: Jinja2 in a sandbox, with the names and filters that `transformers` gives them.

Source: `apply_chat_template` of `transformers` 5.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NoReturn, cast

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox
import jinja2.utils

from parties.errors import ConfigError

Message = Mapping[str, Any]
"""`{"role": ..., "content": ...}` and whatever else a template reads, such as `tool_calls`."""

# What a message's reasoning is called; templates read the first.
_REASONING = ("reasoning_content", "thinking", "reasoning")


class ChatText(str):
    """A rendered conversation. It spells its special tokens itself, so encoding adds none."""

    __slots__ = ()


def render(
    source: str,
    messages: Sequence[Message],
    *,
    tools: Sequence[Mapping[str, Any]] | None,
    documents: Sequence[Mapping[str, Any]] | None,
    add_generation_prompt: bool,
    variables: Mapping[str, Any],
) -> ChatText:
    """A conversation as a template writes it.

    Args:
        source: Jinja2.
        messages: in order, at least one; keys whose value is None count as absent.
        tools: JSON schemas of functions.
        documents: for retrieval, with `title` and `text`.
        variables: further names.

    Raises:
        ConfigError: no messages, values that are not JSON, or a template that is broken or refuses them.
    """
    if not messages:
        raise ConfigError("a conversation without messages")
    try:
        return ChatText(
            _compiled(source).render(
                messages=[_message(message) for message in messages],
                tools=_plain(tools, "tools"),
                documents=_plain(documents, "documents"),
                add_generation_prompt=add_generation_prompt,
                **{name: _plain(value, name) for name, value in variables.items()},
            )
        )
    except ConfigError:
        raise
    except Exception as error:  # a template computes, and can fail in any way
        raise ConfigError(f"the chat template does not accept these messages: {error}") from error


def _message(message: Message) -> dict[str, Any]:
    given = {key: value for key, value in message.items() if value is not None}
    reasoning = next((given[key] for key in _REASONING if key in given), None)
    if reasoning is not None:
        given = {"thinking": reasoning, **given, "reasoning_content": reasoning}
    return _plain(given, "messages")


def _plain(value: Any, name: str) -> Any:
    """A copy in plain JSON types: the sandbox does not know which methods of other objects do harm."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        fields = cast("Mapping[Any, Any]", value)
        return {_plain(key, name): _plain(item, name) for key, item in fields.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, name) for item in cast("Sequence[Any]", value)]
    raise ConfigError(
        f"{name} of a chat must be JSON values, got {type(value).__name__}; give tools as schemas"
    )


@lru_cache(maxsize=16)
def _compiled(source: str) -> jinja2.Template:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    names: dict[str, Any] = environment.globals  # pyright: ignore[reportAssignmentType]
    names.update(
        raise_exception=_refuse_messages,
        strftime_now=_strftime_now,
        dict=_Dictionary(),
        namespace=_Namespace,
    )
    return environment.from_string(source)


def _refuse_messages(reason: str) -> NoReturn:
    """What templates call `raise_exception`."""
    raise jinja2.TemplateError(reason)


def _strftime_now(form: str) -> str:
    """The local date and time."""
    return datetime.datetime.now().strftime(form)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as it is: Jinja2's own filter escapes characters that mean something in HTML."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


class _Generation(jinja2.ext.Extension):
    """`{% generation %}...{% endgeneration %}`: marks answers for training; the text is what is inside."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        """A block of its own, so that names set inside stay inside."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_inside"), [], [], body).set_lineno(line)

    def _inside(self, caller: Callable[[], str]) -> str:
        return caller()


class _Dictionary:
    """`dict` without the class behind it."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class _Namespace(jinja2.utils.Namespace):
    """`namespace` whose names do not begin with an underscore."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, *rest = args
        values = dict(*rest, **kwargs)
        for name in values:
            _public(name)
        jinja2.utils.Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _public(name)
        super().__setitem__(name, value)


def _public(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(
            f"a namespace cannot hold {name!r}: it begins with an underscore"
        )
