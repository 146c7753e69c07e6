"""The command line: flags, environment and TOML -> the options of a job; its errors -> one line and an exit code."""

import contextlib
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

import click

from sentiment_batch import __version__, stop
from sentiment_batch.config import (
    COMMANDS,
    EvaluateOptions,
    PredictOptions,
    RunOptions,
    ScoreOptions,
    TrainOptions,
)
from sentiment_batch.errors import EnvironmentFailure, GateFailed, SentimentBatchError, UsageError
from sentiment_batch.logs import set_up_logging
from sentiment_batch.parameters import ENVIRONMENT, parameters_of

PROGRAM = "sentiment-batch"

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
    # oneDNN keeps what it compiled for the last 1,024 shapes, 3 MB for each. Batches come sorted by length, so a shape
    # that is used again is used again soon: 16 are as fast.
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "16",
    "HF_HUB_DISABLE_TELEMETRY": "1",
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
            params=parameters_of(name),
        )(callback)

    return decorate


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

    _run(options, lambda: predict(options), stoppable=False)


@_command("run")
def run(options: RunOptions) -> None:
    """The whole job from one TOML file: train once, evaluate, then score."""
    from sentiment_batch.run import run

    _job("run", options, run)


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
    except (click.Abort, KeyboardInterrupt):
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
        _print(summary(metrics, getattr(options, "output", None)))

    def failed(code: int, text: str, error: BaseException) -> None:
        done = error.metrics if isinstance(error, SentimentBatchError) else None
        if isinstance(error, GateFailed):
            report(error.metrics)
        else:
            write_metrics_copy(options.metrics, {**failure(command, clock, code, text), **(done or {})})

    _run(options, lambda: report(job(options)), failed)


def _run(
    options: Any,
    work: Callable[[], None],
    failed: Callable[[int, str, BaseException], None] | None = None,
    stoppable: bool = True,
) -> None:
    """Run it, and end the process with the code that its errors ask for."""
    set_up_logging(options.log_format)
    if stoppable:
        stop.install()
    try:
        work()
    except (SentimentBatchError, OSError, MemoryError) as error:
        _end(error, *_outcome(error), options.debug, options.log_format, failed)
    except click.ClickException:
        raise
    except Exception as error:
        logging.getLogger(__name__).error("unexpected error; please report it", exc_info=True)
        _end(error, 1, f"unexpected: {type(error).__name__}: {error}", False, options.log_format, failed)


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
    log_format: str,
    failed: Callable[[int, str, BaseException], None] | None,
) -> None:
    if debug:
        logging.getLogger(__name__).error("the traceback that --debug asks for", exc_info=error)
    if failed:
        try:
            failed(code, text, error)
        except OSError as other:
            _say(f"the metrics file could not be written: {other}")
    if log_format == "json":
        logging.getLogger(__name__).error("%s", text, extra={"exit_code": code})
    else:
        _say(text)
    sys.exit(code)


def _print(text: str) -> None:
    """Print to whoever listens. The job is done by now: a reader that has gone away does not undo it."""
    try:
        click.echo(text)
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - else Python fails once more, when it flushes at the end


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        click.echo(f"error: {' '.join(text.split())}", err=True)
