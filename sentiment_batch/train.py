"""The job that fine-tunes once: labelled texts and a base model -> an ordinary Hugging Face folder."""

import hashlib
import json
import logging
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sentiment_batch import __version__
from sentiment_batch.config import TrainOptions
from sentiment_batch.errors import InputError
from sentiment_batch.measure.metrics import Clock, Metrics, document, evaluation_section
from sentiment_batch.measure.progress import Progress
from sentiment_batch.model.base import BaseModel, load_base_model
from sentiment_batch.model.checkpoint import Checkpoint
from sentiment_batch.model.fit import Epoch, Fit, Recipe
from sentiment_batch.model.folder import TRAINING
from sentiment_batch.model.saved import save_model
from sentiment_batch.model.scratch import SCRATCH, make_scratch_model, soft_targets
from sentiment_batch.model.tokens import tokenise
from sentiment_batch.model.torch_engine import resolve_device
from sentiment_batch.read.inputs import find_inputs
from sentiment_batch.read.split import Split, read_split
from sentiment_batch.write.commit import CHECKPOINT, STATE, Identity, Work, claim
from sentiment_batch.write.store import write_json

log = logging.getLogger(__name__)

MAX_LABELS = 100
TRAINING_FORMAT = 1  # goes up when the same job would give another model: part of every job's identity
POLARITY = ("positive", "neutral", "negative")  # IndoNLU's order; other labels are sorted

# IndoNLU's main.py (github.com/IndoNLP/indonlu): Adam, StepLR(1, gamma), clipping at 10, texts in the file's order.
# Learning rate, batch, epochs and gamma are those of its published runs of indobert-base.
RECIPES = {
    "default": Recipe("adamw", 3e-5, epochs=4, batch_size=32, max_grad_norm=1.0, weight_decay=0.01, warmup=0.1),
    "indonlu": Recipe(
        "adam", 1e-5, epochs=25, batch_size=16, max_grad_norm=10.0, early_stop=3, gamma=0.9, shuffle=False
    ),
}
SCRATCH_RECIPE = replace(RECIPES["default"], learning_rate=1.5e-3, epochs=5, batch_size=64, word_dropout=0.1)


@dataclass(frozen=True)
class Data:
    """The two splits and the labels that the first of them has."""

    train: Split
    valid: Split
    labels: tuple[str, ...]


def train(options: TrainOptions) -> Metrics:
    """Train into `options.output` and return the metrics; those of the finished job if it was done before.

    Raises `InputError`, `ModelRefused`, `OutputConflict`, `Busy`, `EnvironmentFailure` or `Stopped`; whichever it is,
    the folder is not there, and the same call again goes on behind the last whole epoch.
    """
    clock = Clock()
    data = read_data(options)
    recipe = resolve_recipe(options)
    claimed = claim(options.output, _identity(options, recipe, data), TRAINING, options.overwrite)
    if isinstance(claimed, dict):
        log.info("done already: %s", options.output)
        return {**_metrics(claimed, clock), "status": "already_done"}
    try:
        report = data_report(data)
        _log_report(report)
        training = _train(options, recipe, data, claimed, report)
        write_json(claimed.folder / TRAINING, training)
        claimed.publish()
        return _metrics(training, clock, claimed.resumed)
    finally:
        claimed.release()


def read_data(options: TrainOptions) -> Data:
    """Raises `InputError` for rows that cannot be read and for labels that cannot be learnt."""
    how = (options.format, options.columns, options.text_column, options.label_column, options.limit_rows)
    train, valid = read_split(options.train, *how), read_split((options.valid,), *how)
    labels = label_order(train.labels)
    where = ", ".join(options.train)
    if len(labels) < 2:
        raise InputError(f"{where}: every row has the label {labels[0]!r}; there is nothing to learn")
    if len(labels) > MAX_LABELS:
        raise InputError(
            f"{where}: {len(labels)} labels in the column {options.label_column!r}, at most {MAX_LABELS} can be learnt"
        )
    unknown = sorted(set(valid.labels) - set(labels))
    if unknown:
        raise InputError(
            f"{options.valid}: the label {unknown[0]!r} is not in the training data; it has {list(labels)}"
        )
    return Data(train, valid, labels)


def label_order(labels: list[str]) -> tuple[str, ...]:
    """The labels in the order of the logits: positive, neutral, negative where they are no others, else sorted."""
    found = set(labels)
    if found <= set(POLARITY):
        return tuple(label for label in POLARITY if label in found)
    return tuple(sorted(found))


def resolve_recipe(options: TrainOptions) -> Recipe:
    """The recipe that is named, with what the options change in it."""
    recipe = RECIPES[options.recipe]
    if options.base_model == SCRATCH and options.recipe == "default":
        recipe = SCRATCH_RECIPE
    names = ("epochs", "learning_rate", "batch_size", "max_grad_norm", "early_stop")
    chosen = {name: value for name in names if (value := getattr(options, name)) is not None}
    return replace(recipe, **chosen)


def data_report(data: Data) -> dict[str, Any]:
    """What to know of the splits before hours are spent on them."""
    train, valid = data.train, data.valid
    seen: dict[str, set[str]] = {}
    for text, label in zip(train.texts, train.labels, strict=True):
        seen.setdefault(text, set()).add(label)
    return {
        "train_rows": len(train.texts),
        "valid_rows": len(valid.texts),
        "train_blank": train.blank,
        "valid_blank": valid.blank,
        "train_duplicates": len(train.texts) - len(seen),
        "train_contradictions": sum(len(labels) > 1 for labels in seen.values()),
        "shared_texts": len(set(valid.texts) & set(seen)),
        "train_labels": {label: Counter(train.labels)[label] for label in data.labels},
        "valid_labels": {label: Counter(valid.labels)[label] for label in data.labels},
    }


def _log_report(report: dict[str, Any]) -> None:
    for split in ("train", "valid"):
        counts = report[f"{split}_labels"]
        balance = ", ".join(f"{label} {count} ({count / sum(counts.values()):.0%})" for label, count in counts.items())
        log.info(
            "%s: %d texts: %s; %d blank left out", split, report[f"{split}_rows"], balance, report[f"{split}_blank"]
        )
    log.info(
        "%d texts of train are repeats, %d of them with more than one label; %d texts of valid are in train too%s",
        *(report["train_duplicates"], report["train_contradictions"], report["shared_texts"]),
        ": its figures flatter a little" if report["shared_texts"] else "",
    )


def _train(options: TrainOptions, recipe: Recipe, data: Data, work: Work, report: dict[str, Any]) -> dict[str, Any]:
    """Fit the model, save the best epoch in the work folder, and return what `training.json` says."""
    device = resolve_device(options.device)
    checkpoint = Checkpoint(work.folder / CHECKPOINT / STATE)
    torch.manual_seed(options.seed)
    if options.base_model == SCRATCH:
        base = make_scratch_model(data.train.texts, data.labels, checkpoint.folder, options.seed)
    else:
        base = load_base_model(options.base_model, options.revision, data.labels)
    max_length = min(options.max_length, base.max_length)
    rows = len(data.train.texts)
    with Progress(rows * recipe.epochs, options.progress, "text") as progress:
        fit = _fit(options, recipe, data, base, max_length, device, progress)
        best, history = _epochs(fit, checkpoint, data, recipe, options.metric, progress)
    checkpoint.load_best(fit.model)
    save_model(work.folder, fit.model, base.tokenizer, max_length, _card(options, data, best, report))
    return {
        "schema_version": 1,
        "job_id": work.job_id,
        "made_by": f"sentiment-batch {__version__}",
        "identity": _identity(options, recipe, data),
        "base_model": options.base_model,
        "revision": options.revision,
        "labels": list(data.labels),
        "max_length": max_length,
        "device": device.type,
        "dtype": str(fit.autocast or torch.float32).removeprefix("torch."),
        "data": report,
        "recipe": asdict(recipe),
        "metric": options.metric,
        "best_epoch": best["epoch"],
        "epochs": history,
    }


def _fit(
    options: TrainOptions,
    recipe: Recipe,
    data: Data,
    base: BaseModel,
    max_length: int,
    device: torch.device,
    progress: Progress,
) -> Fit:
    numbers = {label: number for number, label in enumerate(data.labels)}
    one_hot = np.eye(len(numbers), dtype=np.float32)[[numbers[label] for label in data.train.labels]]
    scratch = options.base_model == SCRATCH and options.recipe == "default"
    return Fit(
        model=base.model,
        recipe=recipe,
        train=tokenise(base.tokenizer.backend_tokenizer, data.train.texts, max_length),
        targets=soft_targets(data.train.texts, one_hot, options.seed) if scratch else one_hot,
        valid=tokenise(base.tokenizer.backend_tokenizer, data.valid.texts, max_length),
        class_weights=_class_weights(one_hot, options.class_weights),
        pad_token_id=base.model.config.pad_token_id or 0,
        mask_token_id=base.tokenizer.mask_token_id or 0,
        special_token_ids=base.tokenizer.all_special_ids,
        batch_tokens=options.batch_tokens,
        seed=options.seed,
        device=device,
        autocast=_autocast(options.dtype, device),
        progress=progress.add,
    )


def _epochs(
    fit: Fit, checkpoint: Checkpoint, data: Data, recipe: Recipe, metric: str, progress: Progress
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Train to the last epoch or to the early stop: (the best epoch, all of them). Every epoch is kept on the disk."""
    history: list[dict[str, Any]] = checkpoint.restore(fit)
    if history:
        log.info("going on behind epoch %d", len(history))
        progress.add(len(history) * len(data.train.texts))
    best = max(history, key=lambda each: each[metric], default=None)
    epochs = fit.epochs()
    while not _stops(history, best, recipe) and (epoch := next(epochs, None)) is not None:
        figures = _figures(epoch, data)
        history.append(figures)
        if best is None or figures[metric] > best[metric]:
            best = figures
            checkpoint.save_best(fit.model)
        checkpoint.save(fit, history)
        log.info(
            "epoch %d of %d: train loss %.4f, valid macro F1 %.4f, accuracy %.4f%s",
            *(epoch.number, recipe.epochs, epoch.train_loss, figures["macro_f1"], figures["accuracy"]),
            " (best so far)" if best is figures else "",
        )
    assert best is not None, "there is at least one epoch"
    return best, history


def _stops(history: list[dict[str, Any]], best: dict[str, Any] | None, recipe: Recipe) -> bool:
    return bool(best and recipe.early_stop and history[-1]["epoch"] - best["epoch"] >= recipe.early_stop)


def _figures(epoch: Epoch, data: Data) -> dict[str, Any]:
    matrix = np.zeros((len(data.labels),) * 2, np.int64)
    numbers = {label: number for number, label in enumerate(data.labels)}
    true = np.array([numbers[label] for label in data.valid.labels])
    np.add.at(matrix, (true, epoch.valid_logits.argmax(axis=1)), 1)
    evaluation = evaluation_section(matrix.tolist(), data.labels)
    evaluation.pop("rows")
    head = {"epoch": epoch.number, "train_loss": epoch.train_loss, "learning_rate": epoch.learning_rate}
    return {**head, "seconds": epoch.seconds, **evaluation}


def _class_weights(one_hot: np.ndarray, kind: str) -> np.ndarray:
    """float32 [labels]; `balanced` is rows / (labels x rows of the label), as scikit-learn has it."""
    rows = one_hot.sum(axis=0)
    weights = len(one_hot) / (len(rows) * rows) if kind == "balanced" else np.ones(len(rows))
    return weights.astype(np.float32)


def _autocast(dtype: str, device: torch.device) -> torch.dtype | None:
    """bfloat16 where the device computes in it; no autocast for float32."""
    if dtype == "auto":
        native = torch.cuda.is_bf16_supported(including_emulation=False) if device.type == "cuda" else _cpu_has_bf16()
        dtype = "bfloat16" if native else "float32"
    return {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}[dtype]


def _cpu_has_bf16() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _identity(options: TrainOptions, recipe: Recipe, data: Data) -> Identity:
    """All that can change the model, and nothing else; the data by what was read of it."""
    content = hashlib.sha256()
    for split in (data.train, data.valid):
        content.update(json.dumps([split.texts, split.labels], ensure_ascii=False).encode(errors="surrogatepass"))
    names = ("base_model", "revision", "max_length", "batch_tokens", "metric", "class_weights", "seed", "dtype")
    identity = {
        "training_format": TRAINING_FORMAT,
        "command": "train",
        "data_sha256": content.hexdigest(),
        "base_model_files": _base_files(options.base_model),
        "options": {name: getattr(options, name) for name in names},
        "recipe": asdict(recipe),
    }
    return dict(json.loads(json.dumps(identity)))


def _base_files(base_model: str) -> list[Any]:
    """A local base model is known by its files; one of the Hub by its name and revision."""
    if not Path(base_model).is_dir():
        return []
    files = find_inputs(sorted(str(each) for each in Path(base_model).iterdir() if each.is_file()), "tsv")
    return [{**file.identity(), "mtime_ns": 0} for file in files]


def _metrics(training: dict[str, Any], clock: Clock, resumed: bool = False) -> Metrics:
    best = next(each for each in training["epochs"] if each["epoch"] == training["best_epoch"])
    names = {"ACC": "accuracy", "F1": "macro_f1", "REC": "macro_recall", "PRE": "macro_precision"}
    return document(
        "train",
        clock,
        resumed,
        job_id=training["job_id"],
        model={name: training[name] for name in ("base_model", "labels", "max_length", "device", "dtype")},
        data=training["data"],
        evaluation=best,
        best_epoch=training["best_epoch"],
        epochs=training["epochs"],
        headline={short: best[name] for short, name in names.items()},
    )


def _card(options: TrainOptions, data: Data, best: dict[str, Any], report: dict[str, Any]) -> str:
    """The model card: what the model is, and how far its figures go."""
    rows = "\n".join(
        f"| {label} | {each['precision']:.3f} | {each['recall']:.3f} | {each['f1']:.3f} | {each['rows']} |"
        for label, each in best["per_class"].items()
    )
    return f"""---
library_name: transformers
pipeline_tag: text-classification
---
# Text classifier: {", ".join(data.labels)}

Fine-tuned from `{options.base_model}` by sentiment-batch {__version__} on {report["train_rows"]} texts. What it was
made from, and every epoch's figures, are in `{TRAINING}`.

On the {report["valid_rows"]} texts of the validation split, by which the epoch was chosen ({report["shared_texts"]} of
them are in the training data too): macro F1 {best["macro_f1"]:.4f}, accuracy {best["accuracy"]:.4f}.

| label | precision | recall | F1 | rows |
|---|---|---|---|---|
{rows}

    from transformers import pipeline
    pipeline("text-classification", model=".")("...", truncation=True)
"""
