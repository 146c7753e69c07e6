"""The job that makes a model fast on CPUs: OpenVINO graphs beside its weights, in int8 where that is good enough."""

import hashlib
import json
import logging
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sentiment_batch import MADE_BY
from sentiment_batch.config import OptimizeOptions
from sentiment_batch.disk import replace_file
from sentiment_batch.errors import UsageError
from sentiment_batch.measure.metrics import Clock, Metrics, document
from sentiment_batch.model.folder import ModelFolder, read_model_folder
from sentiment_batch.model.graphs import GRAPHS, INT8, RECORD, graph_files
from sentiment_batch.read.sample import sample_texts
from sentiment_batch.read.split import Split, read_split
from sentiment_batch.write.claim import SCRATCH
from sentiment_batch.write.lock import lock
from sentiment_batch.write.store import Folder, create_json, read_json

GRAPH_FORMAT = 2  # goes up when the same model would get other graphs
_CALIBRATION_TEXTS = 1_000

log = logging.getLogger(__name__)


def optimize(options: OptimizeOptions) -> Metrics:
    """Add the graphs to the model folder and return the metrics; those of the finished job if it was done before.

    Raises `UsageError`, `InputError`, `ModelRefused`, `Busy` or `EnvironmentFailure`; whichever it is, the folder has
    the graphs that it had before, or none, and can label in any case.
    """
    clock = Clock()
    if (options.calibration == ()) != (options.valid is None):
        raise UsageError("--calibration and --valid go together: int8 is calibrated by one and judged by the other")
    for package in ("openvino", "nncf"):
        if find_spec(package) is None:
            raise UsageError(f"optimize needs {package}: pip install 'sentiment-batch[cpu]'")
    folder = read_model_folder(options.model)
    texts = sample_texts(options.calibration, options, _CALIBRATION_TEXTS) if options.calibration else []
    split = read_split((options.valid,), options.label_column, options, folder.labels) if options.valid else None
    identity = _identity(options, folder, texts, split)
    store = Folder(Path(folder.path))
    if (done := _done(store, identity)) and not options.overwrite:
        log.info("done already: %s", folder.path)
        return {**_metrics(done, folder, clock), "already_done": True}
    held = lock(store.path)
    try:
        from sentiment_batch.optimizing import make_graphs  # PyTorch and NNCF take seconds to load

        scratch = store.own_scratch(held.alone)
        made = make_graphs(folder, texts, split, options.max_drop, scratch)
        folder.check_unchanged()
        head = {"schema_version": 1, "made_by": MADE_BY, "model": folder.digest, "identity": identity}
        record = {**head, **made, "run": clock.section()}
        _publish(record, scratch, store)
        return _metrics(record, folder, clock)
    finally:
        store.delete(SCRATCH)
        held.leave()


def _publish(record: dict[str, Any], scratch: Path, store: Folder) -> None:
    """Without its record a graph is not there: it goes first, and comes last."""
    store.delete(RECORD)
    for kind in GRAPHS:
        for name in graph_files(kind):
            if kind in record["graphs"]:
                replace_file(scratch / name, store.path / name)
            else:
                store.delete(name)
    create_json(store, scratch, RECORD, record)


def _identity(options: OptimizeOptions, folder: ModelFolder, texts: list[str], split: Split | None) -> dict[str, Any]:
    """All that can change the graphs, but for the speed of the machine."""
    from sentiment_batch.model.openvino_engine import float_dtype, has_amx

    seen = json.dumps([texts, split.texts, split.labels] if split else [], ensure_ascii=False)
    return {
        "graph_format": GRAPH_FORMAT,
        "int8": {"amx": has_amx(), "float_dtype": float_dtype(INT8)} if split else {},
        "model": folder.digest,
        "data_sha256": hashlib.sha256(seen.encode(errors="surrogatepass")).hexdigest(),
        "max_drop": options.max_drop,
        "versions": {package: version(package) for package in ("openvino", "nncf")},
    }


def _done(store: Folder, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The record of this very job, if its graphs are all there, and whole."""
    record = read_json(store, RECORD)
    if not isinstance(record, dict) or record.get("identity") != identity:
        return None
    made = {
        name: sha for kind, both in record["graphs"].items() for name, sha in zip(graph_files(kind), both, strict=True)
    }
    there = store.sizes().keys() >= made.keys()
    return record if there and all(_sha256(store.path / name) == sha for name, sha in made.items()) else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _metrics(record: dict[str, Any], folder: ModelFolder, clock: Clock) -> Metrics:
    measured = record["measured"]
    metrics = document(
        "optimize",
        clock,
        model={"path": folder.path, "digest": folder.digest, "labels": list(folder.labels)},
        graphs=record["graphs"],
        measured=measured,
        headline={name: measured[name] for name in ("int8_kept", "int8_drop", "int8_speedup") if name in measured},
    )
    return {**metrics, "run": record["run"]}
