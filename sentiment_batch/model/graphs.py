"""The OpenVINO graphs of a model folder, by the record that was written behind them."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sentiment_batch.errors import ModelRefused
from sentiment_batch.model.folder import ModelFolder
from sentiment_batch.model.inspection import read_json

RECORD = "openvino.json"
FLOAT, INT8 = "float", "int8"
GRAPHS = {FLOAT: "openvino_model.xml", INT8: "openvino_int8.xml"}  # the first as optimum-intel names it


def graph_files(kind: str) -> tuple[str, str]:
    """The names of the two files of a kind of graph."""
    return GRAPHS[kind], GRAPHS[kind].replace(".xml", ".bin")


@dataclass(frozen=True)
class GraphFiles:
    """One graph on the disk: where it is, and the hashes that its files must have when they are read."""

    path: Path
    sha256: tuple[str, str]  # of the .xml and of the .bin


Graphs = Mapping[str, GraphFiles]  # by their kind, `float` and perhaps `int8`


def digest_with_graphs(folder: ModelFolder, graphs: Graphs) -> str:
    """The SHA-256 of all that decides a label if an engine may take the graphs; without any, the folder's digest."""
    hashes = [each for files in graphs.values() for each in files.sha256]
    return hashlib.sha256("".join([folder.digest, *hashes]).encode()).hexdigest() if hashes else folder.digest


def find_graphs(folder: ModelFolder) -> Graphs:
    """The graphs of the folder; none if it has no record of any.

    Raises `ModelRefused` for a record that cannot be read, or that is of other weights: a model that was trained again
    would be labelled with by its predecessor.
    """
    path = Path(folder.path) / RECORD
    if not path.exists():
        return {}
    record = read_json(path)
    make = f"sentiment-batch optimize --model {folder.path}"
    if record.get("model") != folder.digest:
        raise ModelRefused(
            f"{path} is of another model than the one in {folder.path}; make its graphs again with: {make}, "
            f"or remove {RECORD}"
        )
    found = record.get("graphs")
    if (
        not isinstance(found, dict)
        or not found.keys() <= GRAPHS.keys()
        or FLOAT not in found
        or not all(map(_are_hashes, found.values()))
    ):
        raise ModelRefused(f"{path} has no graphs with the hashes of their files; make it again with: {make}")
    return {kind: GraphFiles(path.with_name(GRAPHS[kind]), tuple(found[kind])) for kind in GRAPHS if kind in found}


def _are_hashes(value: Any) -> bool:
    """Of an `.xml` and of its `.bin`."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(each, str) and re.fullmatch("[0-9a-f]{64}", each) for each in value)
    )
