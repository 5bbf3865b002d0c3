"""Where a service's options come from, by one rule: command line, environment, `--config FILE`, default.

The first that says something counts. Every option of `serve`, `dealer` and `proxy` can be said in each way:
`--idle 60`, `MPCINFER_SERVE_IDLE=60`, and `idle = 60` under `[serve]` of a TOML file. A name that is no
option is refused, and so is a value of another type. Keys are files: an option has the path of one, never
what is in it.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from enum import Enum
from inspect import Parameter, signature
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, cast, get_args, get_origin

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer.core import TyperCommand

from mpcinfer.cli.toml_options import read_toml, toml_value
from parties.errors import ConfigError
from parties.keys import check_key

SECTIONS = ("serve", "dealer", "proxy")
"""Commands that take their options this way: tables of the file, and in the names of variables."""
PANEL = "Where options come from"
_FILE, _SHOW = "config", "show_config"
_META = "mpcinfer.cli.settings."


def forget_environment() -> None:
    """Takes the variables of all services away: what one command starts, it tells on the command line."""
    prefixes = tuple(_prefix(section) for section in SECTIONS)
    for name in [name for name in os.environ if name.startswith(prefixes)]:
        del os.environ[name]


def configurable(function: Callable[..., None]) -> Callable[..., None]:
    """A command with `--config` and `--show-config` besides its own options, for `ServiceCommand`."""
    own = signature(function, eval_str=True)
    kinds = {name: _kind(each.annotation) for name, each in own.parameters.items()}

    def read(ctx: Any, file: Path | None) -> None:
        if file is not None and not ctx.resilient_parsing:
            ctx.default_map = _from_file(ctx, file, kinds)
            ctx.meta[_META + _FILE] = file

    def show(ctx: Any, asked: bool) -> None:
        ctx.meta[_META + _SHOW] = asked

    section = function.__name__
    config = typer.Option(
        "--config",
        metavar="FILE",
        is_eager=True,
        expose_value=False,
        callback=read,
        rich_help_panel=PANEL,
        help=f"Options from a TOML file: name = value, under \\[{section}]. Before it count variables of the "
        f"environment, {_prefix(section)}NAME, and before these the command line.",
    )
    showing = typer.Option(
        "--show-config",
        expose_value=False,
        callback=show,
        rich_help_panel=PANEL,
        help="Print every option's value and where it is from, and end.",
    )
    further = [
        Parameter(_FILE, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[Path | None, config]),
        Parameter(_SHOW, Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, showing]),
    ]

    def called(**given: Any) -> None:
        function(**{name: value for name, value in given.items() if name in kinds})

    whole = own.replace(parameters=[*_keyword_only(own.parameters), *further])
    called.__name__, called.__doc__ = section, function.__doc__
    called.__dict__["__signature__"] = whole
    called.__annotations__ = {name: each.annotation for name, each in whole.parameters.items()}
    return called


class ServiceCommand(TyperCommand):
    """A command whose options may also come from the environment and from a file."""

    def __init__(self, name: str | None, **given: Any) -> None:
        super().__init__(name, **given)
        self._section = str(name)
        for param in cast("list[Any]", self.params):
            if param.name != _SHOW:
                before: list[str] = (
                    [param.envvar] if isinstance(param.envvar, str) else [*(param.envvar or ())]
                )
                param.envvar = [f"{_prefix(self._section)}{_option(param).upper()}", *before]
                param.show_envvar = False  # one line says it for all

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As usual; a wrong value is an error that names the variable or the file that it is from."""
        if not ctx.resilient_parsing:
            self._check_environment()
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            param: Any = error.param
            source = "" if param is None else _source(ctx, param)
            if source in ("", "command line", "default"):
                raise
            raise ConfigError(f"{source}: {_option(param)}: {error.message}") from error

    def invoke(self, ctx: Any) -> Any:
        """Runs it, or shows its options."""
        if ctx.meta.get(_META + _SHOW):
            _show(ctx, self._options())
            return None
        return super().invoke(ctx)

    def _options(self) -> list[Any]:
        return [param for param in cast("list[Any]", self.params) if param.name not in (_FILE, _SHOW)]

    def _check_environment(self) -> None:
        """Raises ConfigError for a variable that names no option, or holds a key instead of a file's path."""
        prefix = _prefix(self._section)
        known = {f"{prefix}{_option(param).upper()}" for param in [*self._options(), *self._config()]}
        for name in sorted(name for name in os.environ if name.startswith(prefix)):
            if name not in known:
                raise ConfigError(f"{name}, in the environment, is no option; {_hint(name, known)}")
            if _holds_key(os.environ[name]):
                raise ConfigError(
                    f"{name} holds a key: say the path of its file; keys are read from files alone"
                )

    def _config(self) -> list[Any]:
        return [param for param in cast("list[Any]", self.params) if param.name == _FILE]


def _from_file(ctx: Any, file: Path, kinds: Mapping[str, Any]) -> dict[str, Any]:
    """A command's options in a file, by the names of its parameters; every other table is looked at, too."""
    section, content = str(ctx.command.name), read_toml(file)
    for table, options in content.items():
        if table not in SECTIONS:
            raise ConfigError(f"{file}: no command has options under {table}; {_hint(table, {*SECTIONS})}")
        if not isinstance(options, dict):
            raise ConfigError(f"{file}: {table}: expected a table, [{table}]")
    params: dict[str, Any] = {_option(param): param for param in cast("list[Any]", ctx.command.params)}
    params = {option: param for option, param in params.items() if param.name not in (_FILE, _SHOW)}
    found: dict[str, Any] = {}
    for key, value in cast("dict[str, object]", content.get(section, {})).items():
        name = key.replace("-", "_")
        if name not in params:
            raise ConfigError(f"{file}: [{section}] {key} is no option; {_hint(name, {*params})}")
        param = params[name]
        given = toml_value(f"{file}: [{section}] {key}", value, kinds[param.name])
        if isinstance(given, str | Path) and _holds_key(str(given)):
            raise ConfigError(f"{file}: [{section}] {key} holds a key: say the path of its file")
        found[param.name] = str(given) if isinstance(given, Path) else given
    return found


def _source(ctx: Any, param: Any) -> str:
    """Where a value is from: `command line`, a variable, a file, or `default`."""
    source = ctx.get_parameter_source(param.name)
    kind = "DEFAULT" if source is None else source.name
    if kind == "ENVIRONMENT":
        return next(name for name in param.envvar if os.environ.get(name))
    if kind == "DEFAULT_MAP":
        return str(ctx.meta[_META + _FILE])
    return "command line" if kind == "COMMANDLINE" else "default"


def _show(ctx: Any, params: list[Any]) -> None:
    table = Table(box=None, pad_edge=False)
    for title in ("option", "value", "from"):
        table.add_column(title, overflow="fold")
    for param in params:
        table.add_row(_option(param), escape(_shown(ctx.params.get(param.name))), escape(_source(ctx, param)))
    Console(highlight=False).print(table)


def _shown(value: object) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(_shown, cast("list[object]", value)))
    if isinstance(value, Enum):
        return str(value.value)
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _prefix(section: str) -> str:
    return f"MPCINFER_{section.upper()}_"


def _option(param: Any) -> str:
    """Its name on the command line, without dashes in front, and `_` inside."""
    return max(cast("list[str]", param.opts), key=len).lstrip("-").replace("-", "_")


def _hint(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known))}"


def _holds_key(text: str) -> bool:
    """Whether a value is a key, or a file of one, rather than a path of it."""
    if "\n" in text:
        return True
    try:
        check_key(text.strip(), "a key")
    except ConfigError:
        return False
    return True


def _kind(annotation: Any) -> Any:
    """A parameter's type, without what is said besides and without None."""
    kind = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    others = [each for each in get_args(kind) if each is not NoneType]
    return others[0] if get_origin(kind) is not list and NoneType in get_args(kind) else kind


def _keyword_only(parameters: Mapping[str, Parameter]) -> list[Parameter]:
    return [each.replace(kind=Parameter.KEYWORD_ONLY) for each in parameters.values()]
