"""The whole job from one TOML file: train and optimize once, evaluate with gates, then score."""

import logging
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import click

from sentiment_batch.account import check_files, metrics_of, write_files
from sentiment_batch.baseline import open_baseline
from sentiment_batch.config import STEPS, EvaluateOptions, LogOptions, RunOptions, option_fields, read_job
from sentiment_batch.errors import GateFailed, UsageError
from sentiment_batch.evaluate import evaluate
from sentiment_batch.failures import Failure, attempt
from sentiment_batch.measure.gates import parse_gate
from sentiment_batch.measure.metrics import Clock, Metrics, document
from sentiment_batch.optimize import optimize
from sentiment_batch.parameters import parse_options
from sentiment_batch.score import score
from sentiment_batch.train import train

JOBS: dict[str, Callable[[Any], Metrics]] = {"train": train, "optimize": optimize, "evaluate": evaluate, "score": score}

log = logging.getLogger(__name__)


def run(options: RunOptions) -> Metrics:
    """Do the steps that the file has tables for, in their order; the first that fails ends the job.

    All options are read before the first step, so that a typing error in the last table does not cost the night.
    The others take the model that `train` writes where they name none.
    """
    clock = Clock()
    tables = read_job(options.job)
    steps = [step for step in STEPS if step in tables]
    if not steps:
        raise UsageError(f"{options.job} has none of the tables {', '.join(STEPS)}")
    settings = _settings(options)
    parsed: dict[str, Any] = {}
    for step in steps:
        table = tables[step] | {each.name: getattr(options, each.name) for each in option_fields(LogOptions)}
        if step != "train" and "train" in parsed:
            table.setdefault("model", parsed["train"].output)
        try:
            parsed[step] = _parsed(step, table, settings.pop(step, {}))
        except UsageError as error:
            raise UsageError(f"{options.job}: [{step}]: {error}") from None
    outputs = {step: parsed[step].output for step in steps}
    _check_files(options, parsed, outputs)
    if settings:
        raise UsageError(f"--set {next(iter(settings))}.*: {options.job} has no such table; it has {', '.join(steps)}")
    jobs: dict[str, Callable[[Any], Metrics]] = {
        **JOBS,
        "train": partial(train, check_labels=partial(_check_gates, parsed)),
    }
    results: dict[str, Metrics] = {}
    for step in steps:
        log.info("%s: %s", step, outputs[step])
        begun = Clock()
        ended = attempt(partial(jobs[step], parsed[step]))
        metrics = metrics_of(step, begun, ended)
        if not isinstance(ended, Failure) or isinstance(ended.error, GateFailed):
            results[step] = metrics
        unwritten = write_files(parsed[step], metrics, ended)
        if failed := ended if isinstance(ended, Failure) else unwritten:
            raise _with_what_was_done(failed.error, step, clock, results, outputs)
    return _metrics(clock, results, outputs)


def _check_files(options: RunOptions, parsed: dict[str, Any], outputs: dict[str, str]) -> None:
    """Raise `UsageError` if a file of the job or of a step cannot be written where it is to be."""
    for step, each in parsed.items():
        try:
            check_files(each, outputs.values())
        except UsageError as error:
            raise UsageError(f"{options.job}: [{step}]: {error}") from None
    check_files(options, outputs.values())


def _with_what_was_done(
    error: BaseException, step: str, clock: Clock, results: dict[str, Metrics], outputs: dict[str, str]
) -> BaseException:
    """The error that ended the step, with an account of the steps before it."""
    if isinstance(error, GateFailed):
        return GateFailed(str(error), {**_metrics(clock, results, outputs), "failed_step": step})
    error.metrics = {**_sections(results, outputs), "failed_step": step}  # type: ignore[attr-defined]
    return error


def _parsed(step: str, table: dict[str, Any], settings: dict[str, str]) -> Any:
    """The options of a step. Raises `UsageError` for what can be known to be wrong without looking at a file."""
    try:
        parsed = parse_options(step, table, settings)
    except click.UsageError as error:
        raise UsageError(error.format_message().rstrip(".")) from None
    if isinstance(parsed, EvaluateOptions):
        for condition in parsed.gate:
            parse_gate(condition)
        if parsed.gate_baseline is not None:
            open_baseline(parsed.gate_baseline)
    return parsed


def _check_gates(parsed: dict[str, Any], labels: tuple[str, ...]) -> None:
    """Raise `UsageError` if the model that is to be trained is to be evaluated by a label that it will not have."""
    evaluation = parsed.get("evaluate")
    if evaluation and os.path.realpath(evaluation.model) == os.path.realpath(parsed["train"].output):
        for condition in evaluation.gate:
            parse_gate(condition, labels)


def _metrics(clock: Clock, results: dict[str, Metrics], outputs: dict[str, str]) -> Metrics:
    """One account of all steps that were done; its status is that of the last."""
    last = list(results.values())[-1]
    resumed = any(each["run"]["resumed"] for each in results.values())
    metrics = document("run", clock, resumed, **_sections(results, outputs))
    return {**metrics, "status": last["status"], "exit_code": last["exit_code"]}


def _sections(results: dict[str, Metrics], outputs: dict[str, str]) -> Metrics:
    figures = {f"{step}_{name}": value for step, each in results.items() for name, value in each["headline"].items()}
    published = [step for step, each in results.items() if each.get("slice", {}).get("published", True)]
    return {"steps": results, "outputs": {step: outputs[step] for step in published}, "headline": figures}


def _settings(options: RunOptions) -> dict[str, dict[str, str]]:
    """The `--set TABLE.KEY=VALUE` of each table."""
    settings: dict[str, dict[str, str]] = {}
    for setting in options.set:
        name, equals, value = setting.partition("=")
        table, dot, key = name.partition(".")
        if not (equals and dot and key):
            raise UsageError(f"--set {setting!r}: write it as TABLE.KEY=VALUE, such as score.output=labelled/tonight")
        key = key.replace("-", "_")
        if key in settings.setdefault(table, {}):
            raise UsageError(
                f"--set {name} is given twice; give one, for several values a list: --set {name}=['a', 'b']"
            )
        settings[table][key] = value
    return settings
