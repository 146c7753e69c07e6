"""The command line: flags, environment and TOML -> the options of a job; its errors -> one line and an exit code."""

import logging
import os
import sys
import types
from collections.abc import Callable
from dataclasses import MISSING, Field
from typing import Any, Literal, Union, get_args, get_origin

import click

from sentiment_batch import __version__, stop
from sentiment_batch.config import (
    COMMANDS,
    EvaluateOptions,
    PredictOptions,
    RunOptions,
    ScoreOptions,
    TrainOptions,
    option_fields,
)
from sentiment_batch.errors import EnvironmentFailure, GateFailed, SentimentBatchError, UsageError
from sentiment_batch.logs import set_up_logging

PROGRAM = "sentiment-batch"
ENVIRONMENT = "SENTIMENT_BATCH"


class _Commas(click.ParamType[tuple[str, ...]]):
    """Names between commas, or a list in TOML."""

    name = "a,b,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        names = value.split(",") if isinstance(value, str) else value
        return tuple(str(name) for name in names if str(name))


class _Positive(click.ParamType[float]):
    """A number above or at a minimum."""

    def __init__(self, kind: type, minimum: float):
        self.kind, self.minimum = kind, minimum
        self.name = "N" if kind is int else "X"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            number = self.kind(value)
        except ValueError:
            self.fail(f"{value!r} is not a {'whole ' if self.kind is int else ''}number", param, ctx)
        if not number >= self.minimum:
            self.fail(f"{value} is below {self.minimum}", param, ctx)
        return number


_HELP = {"help_option_names": ["-h", "--help"]}


@click.group(context_settings={**_HELP, "auto_envvar_prefix": ENVIRONMENT})
@click.version_option(__version__, prog_name=PROGRAM)
def cli() -> None:
    """Label every review of a dump exactly once, with a model that was fine-tuned once.

    Every option is also an environment variable (SENTIMENT_BATCH_<COMMAND>_<OPTION>) and, for `run`, a key of the
    TOML file. A flag beats the variable, which beats the file, which beats the default.
    """


# What must be in the environment before PyTorch is loaded; whoever sets it otherwise is left alone.
_BEFORE_TORCH = {
    # Threads that wait for each other spin by default: with one other busy process on two cores, that made a training
    # step 2.5 to 7 times slower.
    "OMP_WAIT_POLICY": "PASSIVE",
    # oneDNN keeps compiled code for the last 1,024 shapes of batch, 180 MB of it. Batches come sorted by length, so a
    # shape that is used again is used again soon.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
}

_SHORT_HELP = {
    "train": "Fine-tune a model once.",
    "score": "Label dumps, into labelled Parquet and metrics.",
    "evaluate": "Measure a model on a labelled split, with gates.",
    "predict": "Label a few texts, as a quick look.",
    "run": "Train once, evaluate and score, from one TOML file.",
}


def _command(name: str) -> Callable[[Callable[[Any], None]], click.Command]:
    """A click command whose parameters are the fields of the command's options."""
    options = COMMANDS[name]

    def decorate(function: Callable[[Any], None]) -> click.Command:
        def callback(**values: Any) -> None:
            function(options(**values))

        return cli.command(
            name,
            help=function.__doc__,
            short_help=_SHORT_HELP[name],
            context_settings=_HELP,
            params=[_parameter(name, each) for each in option_fields(options)],
        )(callback)

    return decorate


def _parameter(command: str, field: Field[Any]) -> click.Parameter:
    settings = field.metadata
    many = get_origin(field.type) is tuple and not settings.get("commas")
    required = field.default is MISSING
    if settings.get("argument"):
        variable = f"{ENVIRONMENT}_{command}_{field.name}".upper()
        nargs = -1 if many else 1
        metavar = field.name.upper() + ("..." if many else "")
        given = {"required": required, "envvar": variable, "metavar": metavar, "help": settings["help"]}
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
    if kind in (int, float):
        return _Positive(kind, field.metadata.get("minimum", float("-inf")))
    return str


@_command("train")
def train(options: TrainOptions) -> None:
    """Fine-tune a model once: the same data, base model and options again is exit 0 at once."""
    from sentiment_batch.train import train

    _job("train", options, train)


@_command("score")
def score(options: ScoreOptions) -> None:
    """Label dumps: TSV, CSV or Parquet in; labelled Parquet and a metrics JSON out.

    Run the same command again after a kill: it goes on where it stopped, and a finished job is exit 0 at once.
    """
    from sentiment_batch.score import score

    _job("score", options, score)


@_command("evaluate")
def evaluate(options: EvaluateOptions) -> None:
    """Score a labelled split: metrics, predictions, and gates that must hold."""
    from sentiment_batch.evaluate import evaluate

    _job("evaluate", options, evaluate)


@_command("predict")
def predict(options: PredictOptions) -> None:
    """Label a few texts, from the command line or the lines of standard input: a quick look, as a table."""
    from sentiment_batch.predict import predict

    _run(options, lambda: predict(options))


@_command("run")
def run(options: RunOptions) -> None:
    """The whole job from one TOML file: train once, evaluate, then score."""
    from sentiment_batch.run import run

    _job("run", options, lambda each: run(each, parse_options))


def parse_options(command: str, table: dict[str, Any], settings: dict[str, str]) -> Any:
    """A command's options from a TOML table, the environment and `--set` values; a later one wins."""
    click_command = cli.commands[command]
    parameters = {str(parameter.name): parameter for parameter in click_command.params}
    for name, value in table.items():
        if isinstance(value, str) and (parameters[name].multiple or parameters[name].nargs == -1):
            table = {**table, name: [value]}
    arguments = []
    for name, value in settings.items():
        parameter = parameters.get(name.replace("-", "_"))
        if parameter is None:
            raise UsageError(f"--set {command}.{name}: no such option; see {PROGRAM} {command} --help")
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


def main() -> None:
    """The console script: runs a command and exits with the code that says how it went (errors.py)."""
    for name, value in _BEFORE_TORCH.items():
        os.environ.setdefault(name, value)
    try:
        cli.main(prog_name=PROGRAM, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(UsageError.exit_code)
    except click.ClickException as error:
        _say(f"{error.format_message()}; see {PROGRAM} {' '.join(_path(error))}--help")
        sys.exit(UsageError.exit_code)
    except click.Abort:
        sys.exit(130)


def _path(error: click.ClickException) -> list[str]:
    context = getattr(error, "ctx", None)
    return [f"{context.info_name} "] if context and context.parent else []


def _job(command: str, options: Any, job: Callable[[Any], Any]) -> None:
    """Run a job, print its summary, and write its metrics where asked to, on failure too."""
    from sentiment_batch.measure.metrics import Clock, Metrics, failure
    from sentiment_batch.measure.summary import summary
    from sentiment_batch.write.store import write_metrics_copy

    clock = Clock()

    def report(metrics: Metrics) -> None:
        write_metrics_copy(options.metrics, metrics)
        click.echo(summary(metrics, getattr(options, "output", None)))

    def failed(code: int, text: str, error: BaseException) -> None:
        if isinstance(error, GateFailed):
            report(error.metrics)
        else:
            write_metrics_copy(options.metrics, failure(command, clock, code, text))

    _run(options, lambda: report(job(options)), failed)


def _run(
    options: Any, work: Callable[[], None], failed: Callable[[int, str, BaseException], None] | None = None
) -> None:
    """Run it, and end the process with the code that its errors ask for."""
    set_up_logging(options.log_format)
    stop.install()
    try:
        work()
    except BrokenPipeError:
        sys.exit(0)  # whoever read our standard output has gone; the job itself is done
    except (SentimentBatchError, OSError, MemoryError) as error:
        _end(error, *_outcome(error), options.debug, failed)
    except click.ClickException:
        raise
    except Exception as error:
        logging.getLogger(__name__).error("unexpected error; please report it", exc_info=True)
        _end(error, 1, f"unexpected: {type(error).__name__}: {error}", False, failed)


def _outcome(error: BaseException) -> tuple[int, str]:
    if isinstance(error, SentimentBatchError):
        return error.exit_code, str(error)
    code = EnvironmentFailure.exit_code
    if isinstance(error, MemoryError):
        return code, "out of memory; give smaller --chunk-rows or --batch-tokens, or more memory, and run again"
    return code, f"{error}; mend it and run again: what is finished is kept"


def _end(
    error: BaseException,
    code: int,
    text: str,
    debug: bool,
    failed: Callable[[int, str, BaseException], None] | None,
) -> None:
    if debug:
        logging.getLogger(__name__).error("the traceback that --debug asks for", exc_info=error)
    if failed:
        try:
            failed(code, text, error)
        except OSError as other:
            _say(f"the metrics file could not be written: {other}")
    _say(text)
    sys.exit(code)


def _say(text: str) -> None:
    click.echo(f"error: {' '.join(text.split())}", err=True)
