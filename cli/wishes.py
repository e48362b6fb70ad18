"""The options of ``torii generate`` that are parameters of models: made of the catalogue, judged by the gateway.

A gateway may sell other models, or these with other values; so the shipped catalogue gives names, help and completion,
what is not in it goes by ``--param``, and whether a value is allowed is the gateway's to say, which costs nothing.
"""

import inspect
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand
from typer.main import get_command

from cli import completion
from gateway.images import catalogue, model, spelling

#: What the command takes by itself, or has no sense on a command line.
_NOT_OPTIONS: Final = frozenset({"prompt"})
_TYPES: Final[Mapping[str, type]] = MappingProxyType(
    {"string": str, "enum": str, "integer": int, "number": float, "boolean": bool}
)
_BASH_ASKS: Final = "complete_bash"
PANEL: Final = "Parameters of the model"


class WithWishes(TyperCommand):
    """A command with those options; their values are in the context's ``obj``, those that were given alone."""

    def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401  its class is private to typer
        """The command's own, the model's, and the help behind them."""
        *own, helping = super().get_params(ctx)
        if self._wishes is None:
            self._wishes = options(catalogue.load())
        return [*own, *self._wishes, helping]

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  its class is private to typer
        """Put the wishes aside: the function behind the command does not know their names."""
        names = [option.name for option in self._wishes or ()]
        given = {name: ctx.params.pop(name) for name in names}
        ctx.obj = {name: value for name, value in given.items() if value is not None}
        return super().invoke(ctx)

    _wishes: list[Any] | None = None


def options(models: Iterable[model.Model]) -> list[Any]:
    """An option for each parameter that any of the models has; one of several models is described as by the first."""
    found: dict[str, model.Parameter] = {}
    for each in models:
        for parameter in each.parameters:
            if parameter.name not in _NOT_OPTIONS and parameter.type in _TYPES:
                found.setdefault(parameter.name, parameter)

    def wished(**given: object) -> None:
        """Carry the signature from which typer makes the options."""

    signature = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(parameter))
        for name, parameter in found.items()
    ]
    vars(wished)["__signature__"] = inspect.Signature(signature)
    wished.__annotations__ = {each.name: each.annotation for each in signature}
    app = typer.Typer(add_completion=False)
    app.command()(wished)
    return list(get_command(app).params)


def models(incomplete: str) -> list[tuple[str, str]]:
    """The shipped models that begin so, for completion."""
    return [(each.api_id, each.name) for each in catalogue.load() if each.api_id.startswith(incomplete)]


def first_model() -> str:
    """The model that is meant where none is named."""
    return next(iter(catalogue.load())).api_id


def takes(api_id: str, name: str, value: str) -> bool:
    """Whether the shipped catalogue knows that the model's parameter may have that value."""
    known = catalogue.load().models.get(api_id)
    parameter = None if known is None else known.parameter(name)
    return parameter is not None and value in parameter.enum


def parse(pairs: Sequence[str]) -> dict[str, Any]:
    """The parameters of texts such as ``seed=7``: JSON where the value is that, else a text as it stands."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, sign, text = pair.partition("=")
        if not sign or not name:
            raise typer.BadParameter(f"{spelling.plain(pair)!r} is not NAME=VALUE", param_hint="'--param'")
        if name in found:
            raise typer.BadParameter(f"{spelling.plain(name)!r} is given twice", param_hint="'--param'")
        found[name] = _value(text)
    return found


def _value(text: str) -> Any:  # noqa: ANN401  JSON
    try:
        value = json.loads(text, parse_constant=_no_number)
    except ValueError:
        return text
    return value


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number in JSON")


def _annotation(parameter: model.Parameter) -> Any:  # noqa: ANN401  an annotation made here is no type to mypy
    flag = "--" + parameter.name.replace("_", "-")
    if parameter.type == "boolean":
        flag += "/--no-" + parameter.name.replace("_", "-")

    def complete(incomplete: str) -> list[str]:
        # bash takes a space in a value for its end; the other shells do the quoting by themselves.
        space = "\\ " if os.environ.get(completion.VARIABLE) == _BASH_ASKS else " "
        return [value.replace(" ", space) for value in parameter.enum if value.startswith(incomplete)]

    option = typer.Option(
        flag, help=_help(parameter), autocompletion=complete if parameter.enum else None, rich_help_panel=PANEL
    )
    return Annotated[_TYPES[parameter.type] | None, option]


def _help(parameter: model.Parameter) -> str:
    """What it is, what it may be, and what is so without it; no bracket, which help would read as a style."""
    said = [parameter.description]
    if parameter.enum:
        said.append(f"One of {', '.join(parameter.enum)}.")
    elif parameter.minimum is not None and parameter.type != "boolean":
        said.append(f"From {parameter.minimum} to {parameter.maximum}.")
    if parameter.default is not None:
        spelled = json.dumps(parameter.default) if not isinstance(parameter.default, str) else parameter.default
        said.append(f"Without it: {spelled}.")
    return " ".join(said)
