"""What a metrics JSON or a `training.json` says of the rows that it is of, read back with nothing taken on trust."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sentiment_batch.errors import InputError, ModelRefused
from sentiment_batch.finished import EVALUATION
from sentiment_batch.logs import shown
from sentiment_batch.measure.drift import Profile
from sentiment_batch.measure.metrics import SCHEMA_VERSION
from sentiment_batch.model.folder import TRAINING, read_model_folder
from sentiment_batch.model.graphs import digest_with_graphs, find_graphs
from sentiment_batch.model.inspection import parse_json, read_json
from sentiment_batch.read.source import open_source
from sentiment_batch.remote import is_url
from sentiment_batch.shapes import PROFILED_SHAPE, TRAINING_SHAPE, misfits
from sentiment_batch.write.commit import open_store
from sentiment_batch.write.manifest import MARKER, METRICS

_BYTES = 2**26  # the inputs are listed in it: a million files take less
_FINISHED = ("done", "gate_failed")
_OF_ROWS = ("score", "evaluate")
_BINNED = ("tokens", "unknown_share", "confidence", "confidence_calibrated")


class Night(NamedTuple):
    """What is known of the rows that a job labelled."""

    path: str  # as it was given
    command: str  # score, or evaluate
    run: str
    ended_at: str
    model: str  # its digest
    temperature: float | None  # by which its logits were divided
    profile: Profile


class Training(NamedTuple):
    """What is known of the split by which a model was chosen, under that model."""

    path: str
    digests: frozenset[str]  # by which metrics may name the model: without its graphs, and with them
    profile: Profile


def read_night(path: str) -> Night:
    """What a finished `score` or `evaluate` says, from its metrics JSON or its output, be it a folder or a URL.

    Of a `run` it is what its `score` says. Raises `InputError` for anything else, naming the file.
    """
    file = _metrics_file(path)
    with open_source(file) as source:
        content = source.read(_BYTES + 1)
    try:
        metrics = parse_json(content, file, _BYTES, keys_are_ours=False)  # labels are keys, too
    except ModelRefused as error:
        raise InputError(
            f"{error}; give the metrics JSON of `score` or `evaluate`, or the folder of its output"
        ) from None
    if metrics.get("command") == "run":
        steps = metrics.get("steps")
        step = steps.get("score") if isinstance(steps, dict) else None
        if not isinstance(step, dict):
            raise InputError(f"{file} is of a `run` that labelled no dump; leave it out")
        metrics = step
    if metrics.get("command") not in _OF_ROWS or metrics.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            f"{file} is no metrics JSON of `score` or `evaluate` that this version knows; give one, or the folder of "
            "an output"
        )
    if metrics.get("status") not in _FINISHED:
        raise InputError(f"{file} is of a job that did not end well ({shown(metrics.get('status'))}); leave it out")
    if "profile" not in metrics:
        raise InputError(
            f"{file} has no profile: an older version made it; leave it out, or do its job again with --overwrite"
        )
    if fault := next(misfits(metrics, PROFILED_SHAPE), None) or next(_contradictions(metrics["profile"]), None):
        raise InputError(f"{file} is damaged: {fault}; leave it out, or do its job again with --overwrite")
    run, model = metrics["run"], metrics["model"]
    made_by = (model["digest"], model.get("temperature"))
    return Night(path, metrics["command"], run["id"], run["ended_at"], *made_by, metrics["profile"])


def read_training(path: str, calibrated: bool) -> Training:
    """What a model folder says of the split that it was chosen by; the folder is taken for hostile.

    `calibrated`: with confidences as `--calibrated` gives them.

    Raises `InputError` if it says nothing of it, and `ModelRefused` for a folder that `score` would refuse.
    """
    folder, file = read_model_folder(path), Path(path) / TRAINING
    training = read_json(file) if file.is_file() else {}
    if "profile" not in training:
        why = "has no profile, as models have that this version trained" if training else "is not there"
        raise InputError(f"{file} {why}; train the model again, or compare with earlier nights instead of --model")
    profile = training["profile"]
    if fault := next(misfits(profile, TRAINING_SHAPE, "profile"), None) or next(_contradictions(profile), None):
        raise ModelRefused(f"{file} is damaged: {fault}; train the model again, or leave out --model")
    if calibrated:
        profile = {**profile, "confidence": profile["confidence_calibrated"]}
    digests = frozenset((folder.digest, digest_with_graphs(folder, find_graphs(folder))))
    return Training(path, digests, profile)


def _metrics_file(path: str) -> str:
    """The metrics JSON that a path stands for. Raises `InputError` if nothing finished is there."""
    if path.endswith(".json") if is_url(path) else not os.path.isdir(path):
        if not is_url(path) and os.path.exists(path) and not os.path.isfile(path):
            raise InputError(f"{path} is not an ordinary file; give a metrics JSON")
        return path
    store = open_store(path)
    for marker, name in ((MARKER, METRICS), (EVALUATION, EVALUATION)):
        if store.version(marker) is not None:
            return f"{store.url}/{name}"
    raise InputError(f"{path} is no finished output of `score` or `evaluate`; give one, or a metrics JSON")


def _contradictions(profile: Profile) -> Iterator[str]:
    """What no profile says, though its shape is right."""
    for name in (name for name in _BINNED if name in profile):
        edges, counts = profile[name]["edges"], profile[name]["counts"]
        if len(counts) != len(edges):
            yield f"profile.{name} has {len(counts):,} counts for {len(edges):,} bins"
        if sum(counts) != profile["rows"]:
            yield f"profile.{name} counts {sum(counts):,} rows, of {profile['rows']:,}"
    if sum(profile["labels"].values()) != profile["rows"]:
        yield f"profile.labels counts {sum(profile['labels'].values()):,} rows, of {profile['rows']:,}"
