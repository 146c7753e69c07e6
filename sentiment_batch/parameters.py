"""A command's dataclass of options -> the parameters of its click command, and back."""

import types
from dataclasses import MISSING, Field
from typing import Any, Literal, Union, get_args, get_origin

import click

from sentiment_batch.config import COMMANDS, option_fields
from sentiment_batch.errors import UsageError

ENVIRONMENT = "SENTIMENT_BATCH"


class _Commas(click.ParamType[tuple[str, ...]]):
    """Names between commas, or a list in TOML."""

    name = "a,b,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if not isinstance(value, str | list | tuple):
            self.fail(f"{value!r} is not a list of names", param, ctx)
        names = value.split(",") if isinstance(value, str) else value
        return tuple(str(name) for name in names if str(name))


class _Line(click.ParamType[str]):
    """One of several values. In an environment variable each has a line: a blank is part of a value."""

    name = "text"
    envvar_list_splitter = "\n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return str(value)


class _Number(click.ParamType[float]):
    """A number at or above a minimum. TOML's true is none, and 2.7 is no whole one."""

    def __init__(self, kind: type, minimum: float):
        self.kind, self.minimum = kind, minimum
        self.name = "N" if kind is int else "X"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            number = self.kind(value)
            if isinstance(value, bool) or (isinstance(value, float) and number != value):
                raise ValueError
        except (TypeError, ValueError, OverflowError):
            self.fail(f"{value!r} is not a {'whole ' if self.kind is int else ''}number", param, ctx)
        if not number >= self.minimum:
            self.fail(f"{value} is below {self.minimum}", param, ctx)
        return number


def parameters_of(command: str) -> list[click.Parameter]:
    """One parameter for each option of the command."""
    return [_parameter(command, field) for field in option_fields(COMMANDS[command])]


def parse_options(command: str, table: dict[str, Any], settings: dict[str, str]) -> Any:
    """A command's options from a TOML table, the environment and `--set` values; a later one wins."""
    click_command = click.Command(command, params=parameters_of(command))
    parameters = {str(parameter.name): parameter for parameter in click_command.params}
    for name, value in table.items():
        if isinstance(value, str) and (parameters[name].multiple or parameters[name].nargs == -1):
            table = {**table, name: [value]}
    arguments = []
    for name, value in settings.items():
        parameter = parameters.get(name.replace("-", "_"))
        if parameter is None:
            raise UsageError(f"--set {command}.{name}: no such option; see sentiment-batch {command} --help")
        arguments += _as_arguments(parameter, value)
    context = click_command.make_context(
        command, arguments, default_map=table, auto_envvar_prefix=f"{ENVIRONMENT}_{command.upper()}"
    )
    return COMMANDS[command](**context.params)


def _as_arguments(parameter: click.Parameter, value: str) -> list[str]:
    if isinstance(parameter, click.Argument):
        return [value]
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return [parameter.opts[0] if click.BOOL.convert(value, parameter, None) else parameter.secondary_opts[0]]
    return [f"{parameter.opts[0]}={value}"]


def _parameter(command: str, field: Field[Any]) -> click.Parameter:
    settings = field.metadata
    many = get_origin(field.type) is tuple and not settings.get("commas")
    required = field.default is MISSING
    if settings.get("argument"):
        variable = f"{ENVIRONMENT}_{command}_{field.name}".upper()
        nargs = -1 if many else 1
        metavar = field.name.upper() + ("..." if many else "")
        given: dict[str, Any] = {
            "type": _Line(),
            "required": required,
            "envvar": variable,
            "metavar": metavar,
            "help": settings["help"],
        }
        return click.Argument([field.name], nargs=nargs, **given)
    flag = f"--{field.name.replace('_', '-')}"
    shared: dict[str, Any] = {"required": required, "help": settings["help"], "metavar": settings.get("metavar")}
    if not required:
        shared["default"] = field.default
        shared["show_default"] = field.default not in (None, (), "", False)
    if field.type is bool:
        return click.Option([f"{flag}/--no-{field.name.replace('_', '-')}"], **shared)
    return click.Option([flag, field.name], type=_type(field), multiple=many, **shared)


def _type(field: Field[Any]) -> Any:
    if field.metadata.get("commas"):
        return _Commas()
    kind: Any = field.type
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(each for each in get_args(kind) if each is not type(None))
    if get_origin(kind) is Literal:
        return click.Choice(get_args(kind))
    if get_origin(kind) is tuple:
        return _Line()
    if kind in (int, float):
        return _Number(kind, field.metadata.get("minimum", float("-inf")))
    return str
