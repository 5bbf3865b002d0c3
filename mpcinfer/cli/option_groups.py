"""Commands whose options are declared in classes, a class a panel of the help."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from inspect import Parameter, Signature
from typing import Annotated, Any, get_args, get_type_hints

from typer.models import OptionInfo


def takes(panels: Mapping[str | None, type]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Makes a function of `**given` a command with the options of some classes.

    The function gets what was given, by name: an option that was left out is absent, so is a switch.

    Args:
        panels: title of a panel, None for the one without a title of its own, to a `TypedDict` whose keys
            are annotated as a command's parameters are: `Annotated[type, typer.Option(...)]`.
    """
    parameters = [
        _parameter(name, annotation, panel)
        for panel, options in panels.items()
        for name, annotation in get_type_hints(options, include_extras=True).items()
    ]

    def command(function: Callable[..., None]) -> Callable[..., None]:
        def called(**values: Any) -> None:
            given = {name: value for name, value in values.items() if value is not None}
            function(**{name: value for name, value in given.items() if value is not False})

        called.__name__, called.__doc__ = function.__name__, function.__doc__
        called.__dict__["__signature__"] = Signature(parameters)
        return called

    return command


def _parameter(name: str, annotation: Any, panel: str | None) -> Parameter:
    """An option that may be left out."""
    kind, info = get_args(annotation)
    if isinstance(info, OptionInfo):
        info = copy(info)
        info.rich_help_panel = panel
    default = False if kind is bool else None
    whole: Any = Annotated[kind if kind is bool else kind | None, info]
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=whole)
