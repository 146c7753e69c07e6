"""A base model and two splits -> a trained model in the work folder, epoch by epoch."""

import json
import logging
from dataclasses import asdict

import numpy as np
import torch

from sentiment_batch import MADE_BY
from sentiment_batch.config import TrainOptions
from sentiment_batch.measure.card import model_card
from sentiment_batch.measure.counts import confusion
from sentiment_batch.measure.evaluation import evaluation_section
from sentiment_batch.measure.metrics import Metrics
from sentiment_batch.measure.profile import CONFIDENCE, count_profile, histogram, profile_section
from sentiment_batch.measure.progress import Progress
from sentiment_batch.measure.temperature import HIGHEST, fit_temperature, log_loss, softmax
from sentiment_batch.model.base import BaseModel, load_base_model
from sentiment_batch.model.checkpoint import Checkpoint
from sentiment_batch.model.fit import Epoch, Fit
from sentiment_batch.model.recipe import SCRATCH, Recipe
from sentiment_batch.model.saved import save_model
from sentiment_batch.model.scratch import make_scratch_model, soft_targets
from sentiment_batch.model.tokenizer_file import unknown_id
from sentiment_batch.model.tokens import count_token, tokenise
from sentiment_batch.model.torch_engine import resolve_device, resolve_dtype
from sentiment_batch.read.split import Splits
from sentiment_batch.write.claim import CHECKPOINT, STATE, Identity
from sentiment_batch.write.commit import Work

log = logging.getLogger(__name__)


def train_model(
    options: TrainOptions, recipe: Recipe, splits: Splits, report: Metrics, work: Work, identity: Identity
) -> Metrics:
    """Fit the model, save the best epoch in the work folder, and return what `training.json` says."""
    device = resolve_device(options.device)
    checkpoint = Checkpoint(work.folder / CHECKPOINT / STATE)
    torch.manual_seed(options.seed)
    if options.base_model == SCRATCH:
        log.info("making the vocabulary and the model from the texts")
        base = make_scratch_model(splits.train.texts, splits.labels, checkpoint.folder, options.seed)
    else:
        log.info("loading the base model %s", options.base_model)
        base = load_base_model(options.base_model, options.revision, splits.labels)
    max_length = min(options.max_length, base.max_length)
    rows = len(splits.train.texts)
    with Progress(rows * recipe.epochs, options.progress, "text") as progress:
        fit = _fit(options, recipe, splits, base, max_length, device, progress)
        best, history = _epochs(fit, checkpoint, splits, recipe, options.metric, progress)
    checkpoint.load_best(fit.model)
    logits = fit.logits(fit.valid)  # once more: the best epoch may be one of an earlier run, now killed
    temperature = _temperature(logits, _true(splits))
    unknown = unknown_id(json.loads(base.tokenizer.backend_tokenizer.to_str()))
    card = model_card(options.base_model, MADE_BY, splits.labels, report, best, temperature)
    save_model(work.folder, fit.model, base.tokenizer, max_length, card)
    return {
        "schema_version": 1,
        "job_id": work.claim.job_id,
        "made_by": MADE_BY,
        "identity": identity,
        "base_model": options.base_model,
        "revision": options.revision,
        "labels": list(splits.labels),
        "max_length": max_length,
        "device": device.type,
        "dtype": str(fit.autocast or torch.float32).removeprefix("torch."),
        "data": report,
        "recipe": asdict(recipe),
        "metric": options.metric,
        "best_epoch": best["epoch"],
        "temperature": temperature,
        "profile": _profile(fit, logits, unknown, splits.labels, temperature),
        "epochs": history,
    }


def _fit(
    options: TrainOptions,
    recipe: Recipe,
    splits: Splits,
    base: BaseModel,
    max_length: int,
    device: torch.device,
    progress: Progress,
) -> Fit:
    numbers = {label: number for number, label in enumerate(splits.labels)}
    one_hot = np.eye(len(numbers), dtype=np.float32)[[numbers[label] for label in splits.train.labels]]
    scratch = options.base_model == SCRATCH and options.recipe == "default"
    return Fit(
        model=base.model,
        recipe=recipe,
        train=tokenise(base.tokenizer.backend_tokenizer, splits.train.texts, max_length),
        targets=soft_targets(splits.train.texts, one_hot, options.seed) if scratch else one_hot,
        valid=tokenise(base.tokenizer.backend_tokenizer, splits.valid.texts, max_length),
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
    fit: Fit, checkpoint: Checkpoint, splits: Splits, recipe: Recipe, metric: str, progress: Progress
) -> tuple[Metrics, list[Metrics]]:
    """Train to the last epoch or to the early stop: (the best epoch, all of them). Every epoch is kept on the disk."""
    history: list[Metrics] = checkpoint.restore(fit)
    if history:
        log.info("going on behind epoch %d", len(history))
        progress.add(len(history) * len(splits.train.texts))
    best = max(history, key=lambda each: each[metric], default=None)
    epochs = fit.epochs()
    while not _stops(history, best, recipe) and (epoch := next(epochs, None)) is not None:
        figures = _figures(epoch, splits)
        history.append(figures)
        if best is None or figures[metric] > best[metric]:
            best = figures
            checkpoint.save_best(fit.model, epoch.number)
        checkpoint.save(fit, history, best["epoch"])
        log.info(
            "epoch %d of %d: train loss %.4f, valid macro F1 %.4f, accuracy %.4f%s",
            *(epoch.number, recipe.epochs, epoch.train_loss, figures["macro_f1"], figures["accuracy"]),
            " (best so far)" if best is figures else "",
        )
    assert best is not None, "there is at least one epoch"
    return best, history


def _stops(history: list[Metrics], best: Metrics | None, recipe: Recipe) -> bool:
    return bool(best and recipe.early_stop and history[-1]["epoch"] - best["epoch"] >= recipe.early_stop)


def _temperature(logits: np.ndarray, true: np.ndarray) -> float:
    """That of the best epoch's model on the validation split, and a line on what it is worth there."""
    temperature = fit_temperature(logits, true)
    end = " (as high as it may be)" if temperature == HIGHEST else ""
    log.info(
        "temperature %.4g%s: valid log loss %.4f, with --calibrated %.4f",
        *(temperature, end, log_loss(logits, true), log_loss(logits, true, temperature)),
    )
    return temperature


def _profile(fit: Fit, logits: np.ndarray, unknown: int | None, labels: tuple[str, ...], temperature: float) -> Metrics:
    """What the validation split looks like to the model, for `drift` to hold nights against; also when calibrated.

    Not the training texts: of what it learned from, a model is surer than of any night.
    """
    plain, calibrated = (softmax(logits, each).max(axis=1) for each in (1.0, temperature))
    counts = count_profile(fit.valid.lengths, count_token(fit.valid, unknown), plain)
    rows = np.bincount(logits.argmax(axis=1), minlength=len(labels)).tolist()
    section = profile_section(counts, dict(zip(labels, rows, strict=True)))
    confidence = {**section["confidence"], "counts": histogram(calibrated, CONFIDENCE)}
    return {**section, "confidence_calibrated": confidence}


def _true(splits: Splits) -> np.ndarray:
    """int64 [valid texts]: the number of the true label."""
    numbers = {label: number for number, label in enumerate(splits.labels)}
    return np.array([numbers[label] for label in splits.valid.labels])


def _figures(epoch: Epoch, splits: Splits) -> Metrics:
    matrix = confusion(_true(splits), epoch.valid_logits.argmax(axis=1), len(splits.labels))
    evaluation = evaluation_section(matrix, splits.labels)
    head = {"epoch": epoch.number, "train_loss": epoch.train_loss, "learning_rate": epoch.learning_rate}
    return {**head, "seconds": epoch.seconds, **evaluation}


def _class_weights(one_hot: np.ndarray, kind: str) -> np.ndarray:
    """float32 [labels]; `balanced` is rows / (labels x rows of the label), as scikit-learn has it."""
    rows = one_hot.sum(axis=0)
    weights = len(one_hot) / (len(rows) * rows) if kind == "balanced" else np.ones(len(rows))
    return weights.astype(np.float32)


def _autocast(dtype: str, device: torch.device) -> torch.dtype | None:
    """bfloat16 where the device computes in it; no autocast for float32, nor in place of float16."""
    found = resolve_dtype(dtype, device)
    return found if found == torch.bfloat16 else None
