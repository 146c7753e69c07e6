"""The command line: flags, environment and TOML -> the options of a job."""

import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import click

from sentiment_batch import __version__
from sentiment_batch.config import (
    COMMANDS,
    CompareOptions,
    DriftOptions,
    EvaluateOptions,
    MetricsOptions,
    OptimizeOptions,
    PlanOptions,
    PredictOptions,
    PublishOptions,
    ReportOptions,
    RunOptions,
    SchemaOptions,
    ScoreOptions,
    TrainOptions,
    VerifyOptions,
    read_job,
)
from sentiment_batch.errors import UsageError
from sentiment_batch.failures import attempt
from sentiment_batch.logs import say_error, set_up_logging
from sentiment_batch.outcome import (
    exit_if_failed,
    open_standard_streams,
    print_product,
    run_command,
    run_job,
    warn_of_variables,
)
from sentiment_batch.parameters import ENVIRONMENT, parameters_of

PROGRAM = "sentiment-batch"
SCHEMA = Path(__file__).parent / "measure" / "metrics.schema.json"

_HELP = {"help_option_names": ["-h", "--help"]}


@click.group(context_settings={**_HELP, "auto_envvar_prefix": ENVIRONMENT})
@click.version_option(__version__, prog_name=PROGRAM, allow_from_autoenv=False)  # SENTIMENT_BATCH_VERSION is no flag
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
    "optimize": "Make a model fast on CPUs, in int8 if that is good enough.",
    "plan": "Say what `score` would do and how long it would take.",
    "score": "Label dumps, into labelled Parquet and metrics.",
    "publish": "Publish what slices of a job have labelled.",
    "evaluate": "Measure a model on a labelled split, with gates.",
    "compare": "Say what a new model would change, and whether it may.",
    "predict": "Label a few texts, as a quick look.",
    "run": "Train, optimize, evaluate and score, from one TOML file.",
    "verify": "Recount a published output, row by row.",
    "drift": "Hold a night against the training and the nights before.",
    "schema": "Print the JSON Schema of the metrics JSON.",
    "report": "Draw the page of a metrics JSON.",
}


def _command(name: str) -> Callable[[Callable[[Any], None]], click.Command]:
    """A click command whose parameters are the fields of the command's options."""
    options = COMMANDS[name]

    def decorate(function: Callable[[Any], None]) -> click.Command:
        def callback(**values: Any) -> None:
            try:
                given = options(**values)
            except UsageError as error:
                _tell_refusal(name, values, error)
                raise
            function(given)

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

    run_job("train", options, train)


@_command("optimize")
def optimize(options: OptimizeOptions) -> None:
    """Make a model fast on CPUs: OpenVINO graphs beside its weights, which `score` takes from then on.

    With --calibration and --valid also one in int8, which is kept only if macro F1 on --valid drops by no more than
    --max-drop and it is faster on this machine. Needs the extra `cpu`.
    """
    from sentiment_batch.optimize import optimize

    _stay_offline()
    run_job("optimize", options, optimize)


@_command("plan")
def plan(options: PlanOptions) -> None:
    """Say what `score` would do with the same options: rows, tokens, shards, disk and time on this machine.

    From samples of all inputs and a short calibration. Nothing is labelled for good, and no output is touched.
    """
    from sentiment_batch.forecast import forecast
    from sentiment_batch.measure.forecast_table import summary_of

    _stay_offline()
    run_job("plan", options, forecast, summary_of(options.json))


@_command("score")
def score(options: ScoreOptions) -> None:
    """Label dumps: TSV, CSV or Parquet in; labelled Parquet and a metrics JSON out.

    Run the same command again after a kill: it goes on where it stopped, and a finished job is exit 0 at once.
    """
    from sentiment_batch.score import score

    _stay_offline()
    run_job("score", options, score)


@_command("publish")
def publish(options: PublishOptions) -> None:
    """Publish what the slices of a job (score --shard-slice) have labelled, if all its parts are there.

    For when the last slice could not. Nothing is labelled, and no option of the job is asked for: its slices left them
    there. Exit 3 if parts are missing, 5 if slices are at work.
    """
    from sentiment_batch.publish import publish

    _stay_offline()
    run_job("publish", options, publish)


@_command("evaluate")
def evaluate(options: EvaluateOptions) -> None:
    """Score a labelled split: metrics, predictions, and gates that must hold."""
    from sentiment_batch.evaluate import evaluate

    _stay_offline()
    run_job("evaluate", options, evaluate)


@_command("compare")
def compare(options: CompareOptions) -> None:
    """Compare two models on the same rows, or two finished outputs: which labels flip, and which model is better.

    OLD and NEW are two model folders, which label --data, or two outputs of the same inputs. Without --gate it informs,
    and ends with exit 0.
    """
    from sentiment_batch.compare import compare

    _stay_offline()
    run_job("compare", options, compare)


@_command("predict")
def predict(options: PredictOptions) -> None:
    """Label a few texts, from the command line or the lines of standard input: a quick look, as a table."""
    from sentiment_batch.predict import predict

    _stay_offline()
    run_command(options, lambda: predict(options))


@_command("run")
def run(options: RunOptions) -> None:
    """The whole job from one TOML file: train and optimize once, evaluate, then score."""
    from sentiment_batch.run import run

    def job(options: RunOptions) -> dict[str, Any]:
        if "train" not in read_job(options.job):
            _stay_offline()
        return run(options)

    run_job("run", options, job)


@_command("verify")
def verify(options: VerifyOptions) -> None:
    """Recount a published output against its manifest and its inputs, row by row.

    Exit 0 if every file is as it was published and every row of the input is in it once, as it is in the input; else
    exit 3 with a list of what is wrong.
    """
    from sentiment_batch.verify import summary, verify

    _stay_offline()
    run_job("verify", options, verify, summary)


@_command("drift")
def drift(options: DriftOptions) -> None:
    """Say whether a night's texts look like those that the model was trained on, and like those of the nights before.

    By four small histograms that every metrics JSON has: tokens of a text, its unknown tokens, confidence, labels.
    Exit 9 if a gate does not hold.
    """
    from sentiment_batch.drift import drift, summary

    run_job("drift", options, drift, summary)


@_command("schema")
def schema(options: SchemaOptions) -> None:
    """Print the JSON Schema (draft 2020-12) of the metrics JSON: what each of its keys means, and when it is there."""
    print_product(SCHEMA.read_text(encoding="utf-8").rstrip())


@_command("report")
def report(options: ReportOptions) -> None:
    """Draw the page of a metrics JSON: one HTML file that needs nothing else. Needs the extra `report`."""
    from sentiment_batch.report import report

    _stay_offline()
    run_command(options, lambda: report(options))


def program() -> NoReturn:
    """The console script: `main`, and then the end at once.

    What the interpreter does at its end takes 0.1 s and is of no use here. And it can fail, by the threads of some
    library: behind a finished job that would be another exit code.
    """
    code: object = 0
    try:
        main()
    except SystemExit as ended:
        code = ended.code
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code if isinstance(code, int) else 1)


def main() -> None:
    """Run a command and exit with the code that says how it went (errors.py)."""
    set_up_logging("text")
    try:
        exit_if_failed(attempt(_main))
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(UsageError.exit_code)
    except click.ClickException as error:
        warn_of_variables()  # no job has begun and said so; one of them may be what is missing
        text = " ".join(error.format_message().split()).rstrip(".?")
        command = next((f"{name} " for name in sys.argv[1:2] if name in cli.commands), "")  # click does not always tell
        text = f"{text}; see {PROGRAM} {command}--help"
        if isinstance(error, click.UsageError) and error.ctx:
            _tell_refusal(str(error.ctx.command.name), error.ctx.params, UsageError(text))
        say_error(text, UsageError.exit_code)
        sys.exit(UsageError.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)


def _main() -> None:
    open_standard_streams()
    for name, value in _BEFORE_TORCH.items():
        os.environ.setdefault(name, value)
    cli.main(prog_name=PROGRAM, standalone_mode=False)


def _tell_refusal(command: str, values: dict[str, Any], error: UsageError) -> None:
    """Have the files that the command is to write say why it did not begin, as far as its options could be read."""
    writes = issubclass(COMMANDS.get(command, object), MetricsOptions)  # `report` reads what it calls metrics
    if writes and any(values.get(each.name) for each in fields(MetricsOptions)):
        from sentiment_batch.account import write_refusal

        write_refusal(command, SimpleNamespace(**values), error)


def _stay_offline() -> None:
    """Only a training may fetch a model. To be said before huggingface_hub is imported."""
    os.environ["HF_HUB_OFFLINE"] = "1"
