"""A command's dataclass of options -> the parameters of its click command, and back."""

import difflib
import re
import tomllib
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, Field
from typing import Any, Literal, Union, get_args, get_origin

import click

from sentiment_batch.config import COMMANDS, misfit, option_fields, words_beside_numbers
from sentiment_batch.errors import UsageError

ENVIRONMENT = "SENTIMENT_BATCH"
_NEAR = 0.8
_LIST = re.compile(r"\s*\[\s*[\]'\"]")
_QUOTED = re.compile(r"\s*(['\"]).*\1\s*", re.DOTALL)


class _Commas(click.ParamType[tuple[str, ...]]):
    """Names between commas, or a list in TOML."""

    name = "a,b,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if not isinstance(value, str | list | tuple):
            self.fail(f"{value!r} is not a list of names", param, ctx)
        names = value.split(",") if isinstance(value, str) else value
        return tuple(text for name in names if (text := _as_text(self, name, param, ctx)))


class _Line(click.ParamType[str]):
    """A text. In an environment variable each of several has a line: a blank is part of a value."""

    name = "text"

    def split_envvar_value(self, rv: str) -> list[str]:
        """The last line may have an end, as in YAML's blocks."""
        return rv.removesuffix("\n").split("\n")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return _as_text(self, value, param, ctx)


def _as_text(kind: click.ParamType[Any], value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
    """A number and a date of TOML as they are written; its lists, tables and truths are no text, as `str` has them."""
    if isinstance(value, bool | list | tuple | dict):
        kind.fail(f"{value!r} is not one text", param, ctx)
    return str(value)


class _Number(click.ParamType[float]):
    """A number that fits the option's settings, or one of a few words. TOML's true is none, and 2.7 no whole one."""

    def __init__(self, kind: type, settings: Mapping[str, Any], words: tuple[str, ...] = ()):
        self.kind, self.settings, self.words = kind, settings, words
        self.name = "N" if kind is int else "X"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value in self.words:
            return value
        try:
            number = self.kind(value)
            if isinstance(value, bool) or (isinstance(value, float) and number != value):
                raise ValueError
        except (TypeError, ValueError, OverflowError):
            kinds = [f"a {'whole ' if self.kind is int else ''}number", *self.words]
            self.fail(f"{value!r} is not {' or '.join(kinds)}", param, ctx)
        if wrong := misfit(number, self.settings):
            self.fail(wrong, param, ctx)
        return number


def parameters_of(command: str) -> list[click.Parameter]:
    """One parameter for each option of the command."""
    return [_parameter(command, field) for field in _fields(command)]


def parse_options(command: str, table: Mapping[str, Any], settings: Mapping[str, str]) -> Any:
    """A command's options from a TOML table, the environment and `--set` values; a later one wins.

    Raises `UsageError`, or click's, for what no option takes.
    """
    click_command = click.Command(command, params=parameters_of(command))
    parameters = {str(parameter.name): parameter for parameter in click_command.params}
    values = dict(table)
    for name, value in settings.items():
        parameter = parameters.get(name.replace("-", "_"))
        if parameter is None:
            near = difflib.get_close_matches(name.replace("-", "_"), parameters, n=1)
            hint = f"did you mean {near[0]}?" if near else f"see sentiment-batch {command} --help"
            raise UsageError(f"--set {command}.{name}: no such option; {hint}")
        values[str(parameter.name)] = _set_value(f"{command}.{name}", value, _is_list(parameter))
        parameter.envvar = None  # the variable is beaten
        if isinstance(parameter, click.Option):
            parameter.allow_from_autoenv = False
    for name, value in values.items():
        if isinstance(value, str) and (parameters[name].multiple or parameters[name].nargs == -1):
            values[name] = [value]
    context = click_command.make_context(
        command, [], default_map=values, auto_envvar_prefix=f"{ENVIRONMENT}_{command.upper()}"
    )
    return COMMANDS[command](**context.params)


def _is_list(parameter: click.Parameter) -> bool:
    return parameter.multiple or parameter.nargs == -1 or isinstance(parameter.type, _Commas)


def _set_value(key: str, text: str, may_be_several: bool) -> Any:
    """A list or a text in quotes if it is written as one, in TOML; else one value: `[ab]*.tsv` is a pattern."""
    as_list = may_be_several and _LIST.match(text)
    if not as_list and not _QUOTED.fullmatch(text):
        return text
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = None
    if as_list and not (isinstance(value, list) and all(isinstance(each, str) for each in value)):
        raise UsageError(f"--set {key}: {text} is not a list of texts; write it as in TOML: ['one', 'two']")
    if not as_list and not isinstance(value, str):
        raise UsageError(f"--set {key}: {text} is not one text; write it as in TOML, or without its quotes")
    return value


def unknown_variables(environment: Iterable[str]) -> Iterator[tuple[str, str | None]]:
    """Names of variables that look like ours and set no option, each with the nearest of those that do, if one is near.

    A variable may be meant for another version, so it is no error.
    """
    known = [f"{command}_{each.name}".upper() for command in COMMANDS for each in _fields(command)]
    for name in sorted(environment):
        ours, _, rest = name.upper().partition(f"{ENVIRONMENT}_")
        if ours or not rest or (name == name.upper() and rest in known):
            continue
        of_its_command = [each for each in known if each.split("_")[0] == rest.split("_")[0]]
        near = difflib.get_close_matches(rest, of_its_command or known, n=1, cutoff=_NEAR)
        yield name, f"{ENVIRONMENT}_{near[0]}" if near else None


def _fields(command: str) -> list[Field[Any]]:
    return option_fields(COMMANDS[command])


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
    shared["is_eager"] = settings.get("first", False)
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
    words = words_beside_numbers(kind)
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(each for each in get_args(kind) if each is not type(None))
    if get_origin(kind) is Literal:
        return click.Choice(get_args(kind))
    if get_origin(kind) is tuple:
        return _Line()
    if kind in (int, float):
        return _Number(kind, field.metadata, words)
    return _Line()
