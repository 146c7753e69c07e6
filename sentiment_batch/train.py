"""The job that fine-tunes once: labelled texts and a base model -> an ordinary Hugging Face folder."""

import hashlib
import json
import logging
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sentiment_batch.config import TrainOptions
from sentiment_batch.disk import sync_files
from sentiment_batch.errors import UsageError
from sentiment_batch.measure.metrics import Clock, Metrics, document, headline
from sentiment_batch.model.folder import SAVED, TRAINING, files_digest, read_model_folder
from sentiment_batch.model.graphs import GRAPHS, RECORD, graph_files
from sentiment_batch.model.recipe import SCRATCH, Recipe, resolve_recipe
from sentiment_batch.read.split import Splits, are_labels, read_splits
from sentiment_batch.remote import is_url
from sentiment_batch.report import REPORT, settle_report
from sentiment_batch.write.claim import Identity
from sentiment_batch.write.commit import claim
from sentiment_batch.write.store import create_json

# What a finished model has, `optimize` adds to it, and a kill may leave of the file that safetensors writes.
_FILES = (*SAVED, REPORT, RECORD, *(name for kind in GRAPHS for name in graph_files(kind)))
_MADE = "|".join([*map(re.escape, _FILES), r"\.tmp\w+"])

TRAINING_FORMAT = 1  # goes up when the same job would give another model: part of every job's identity

log = logging.getLogger(__name__)


def train(options: TrainOptions, check_labels: Callable[[tuple[str, ...]], None] | None = None) -> Metrics:
    """Train into `options.output` and return the metrics; those of the finished job if it was done before.

    `check_labels` is told of the labels of the data before anything is trained, and may raise. Raises `InputError`,
    `ModelRefused`, `OutputConflict`, `Busy`, `EnvironmentFailure` or `Stopped`; whichever it is, the folder is not
    there, and the same call again goes on behind the last whole epoch.
    """
    clock = Clock()
    if is_url(options.output):
        raise UsageError(f"--output {options.output}: a model is trained into a local folder; copy it there afterwards")
    splits = read_splits(options.train, options.valid, options.label_column, options)
    if check_labels:
        check_labels(splits.labels)
    recipe = recipe_of(options)
    identity = _identity(options, recipe, splits)
    claimed = claim(options.output, identity, TRAINING, options.overwrite, _MADE)
    if isinstance(claimed, dict):
        log.info("done already: %s", options.output)
        metrics = _metrics(claimed, options.output, clock)
        return {**metrics, "run": claimed.get("run", metrics["run"]), "already_done": True}
    try:
        report = splits.report()
        _log_report(report)
        from sentiment_batch.training import train_model  # PyTorch takes seconds to load; what is done needs none

        training = train_model(options, recipe, splits, report, claimed, identity)
        metrics = _metrics(training, options.output, clock, claimed.resumed, made_in=str(claimed.folder))
        settle_report(claimed, REPORT, metrics)
        sync_files(claimed.folder)
        create_json(claimed.store, claimed.scratch, TRAINING, {**training, "run": metrics["run"]})
        claimed.publish()
        return metrics
    finally:
        claimed.release()


def recipe_of(options: TrainOptions) -> Recipe:
    """The recipe of the options."""
    names = ("epochs", "learning_rate", "batch_size", "max_grad_norm", "early_stop")
    return resolve_recipe(options.recipe, options.base_model, {name: getattr(options, name) for name in names})


def _log_report(report: dict[str, Any]) -> None:
    for split in ("train", "valid"):
        balance = _balance(report[f"{split}_labels"])
        log.info(
            "%s: %d texts: %s; %d blank left out", split, report[f"{split}_rows"], balance, report[f"{split}_blank"]
        )
    log.info(
        "%d texts of train are repeats, %d of them with more than one label; %d texts of valid are in train too%s",
        *(report["train_duplicates"], report["train_contradictions"], report["shared_texts"]),
        ": its figures flatter a little" if report["shared_texts"] else "",
    )


def _balance(counts: dict[str, int]) -> str:
    """How many rows each label has, unless the labels look like reviews, which no log line may quote."""
    if not are_labels(counts):
        return f"{len(counts)} different labels"
    return ", ".join(f"{label} {count} ({count / sum(counts.values()):.0%})" for label, count in counts.items())


def _identity(options: TrainOptions, recipe: Recipe, splits: Splits) -> Identity:
    """All that can change the model, and nothing else; the data by what was read of it."""
    content = hashlib.sha256()
    for split in (splits.train, splits.valid):
        content.update(json.dumps([split.texts, split.labels], ensure_ascii=False).encode(errors="surrogatepass"))
    local = options.base_model != SCRATCH and Path(options.base_model).is_dir()
    names = ("revision", "max_length", "batch_tokens", "metric", "class_weights", "seed", "dtype")
    return {
        "training_format": TRAINING_FORMAT,
        "command": "train",
        "data_sha256": content.hexdigest(),
        "base_model": files_digest(options.base_model) if local else options.base_model,
        "options": {name: getattr(options, name) for name in names},
        "recipe": asdict(recipe),
    }


def _metrics(
    training: dict[str, Any], path: str, clock: Clock, resumed: bool = False, made_in: str | None = None
) -> Metrics:
    """Of the model that is at the path, or is about to be."""
    best = next(each for each in training["epochs"] if each["epoch"] == training["best_epoch"])
    return document(
        "train",
        clock,
        resumed,
        job_id=training["job_id"],
        model={
            "path": path,
            "digest": read_model_folder(made_in or path).digest,
            **{name: training[name] for name in ("base_model", "labels", "max_length", "device", "dtype")},
        },
        data=training["data"],
        evaluation=best,
        best_epoch=training["best_epoch"],
        temperature=training.get("temperature"),  # a model of before there was one is still done
        epochs=training["epochs"],
        headline=headline({"evaluation": best}),
    )
