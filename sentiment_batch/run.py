"""The whole job from one TOML file: train once, evaluate with gates, then score."""

import logging
from collections.abc import Callable
from typing import Any

import click

from sentiment_batch.config import STEPS, LogOptions, RunOptions, option_fields, read_job
from sentiment_batch.errors import GateFailed, SentimentBatchError, UsageError
from sentiment_batch.evaluate import evaluate
from sentiment_batch.measure.metrics import Clock, Metrics, document
from sentiment_batch.outcome import check_metrics
from sentiment_batch.parameters import parse_options
from sentiment_batch.score import score
from sentiment_batch.train import train
from sentiment_batch.write.store import write_metrics_copy

JOBS: dict[str, Callable[[Any], Metrics]] = {"train": train, "evaluate": evaluate, "score": score}

log = logging.getLogger(__name__)


def run(options: RunOptions) -> Metrics:
    """Do the steps that the file has tables for, in their order; the first that fails ends the job.

    All options are read before the first step, so that a typing error in the last table does not cost the night.
    `evaluate` and `score` take the model that `train` writes where they name none.
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
            parsed[step] = parse_options(step, table, settings.pop(step, {}))
        except click.UsageError as error:
            raise UsageError(f"{options.job}: [{step}]: {error.format_message().rstrip('.')}") from None
        for metrics in (parsed[step].metrics, options.metrics):
            check_metrics(metrics, parsed[step].output)
    if settings:
        raise UsageError(f"--set {next(iter(settings))}.*: {options.job} has no such table; it has {', '.join(steps)}")
    results: dict[str, Metrics] = {}
    for step in steps:
        log.info("%s: %s", step, parsed[step].output)
        try:
            results[step] = JOBS[step](parsed[step])
        except GateFailed as error:
            results[step] = error.metrics
            write_metrics_copy(parsed[step].metrics, results[step])
            raise GateFailed(str(error), _metrics(clock, results)) from None
        except SentimentBatchError as error:
            error.metrics = {"steps": results}  # what was done before is in the metrics of the failure too
            raise
        write_metrics_copy(parsed[step].metrics, results[step])
    return _metrics(clock, results)


def _metrics(clock: Clock, results: dict[str, Metrics]) -> Metrics:
    """One account of all steps that were done; its status is that of the last."""
    last = list(results.values())[-1]
    figures = {f"{step}_{name}": value for step, each in results.items() for name, value in each["headline"].items()}
    resumed = any(each["run"]["resumed"] for each in results.values())
    metrics = document("run", clock, resumed, steps=results, headline=figures)
    return {**metrics, "status": last["status"], "exit_code": last["exit_code"]}


def _settings(options: RunOptions) -> dict[str, dict[str, str]]:
    """The `--set TABLE.KEY=VALUE` of each table."""
    settings: dict[str, dict[str, str]] = {}
    for setting in options.set:
        name, equals, value = setting.partition("=")
        table, dot, key = name.partition(".")
        if not (equals and dot and key):
            raise UsageError(f"--set {setting!r}: write it as TABLE.KEY=VALUE, such as score.output=labelled/tonight")
        settings.setdefault(table, {})[key] = value
    return settings
