"""What is wrong with the files of a published output: held against the manifest, before anybody looks into them."""

import hashlib
import os
from collections.abc import Iterator
from stat import S_ISREG
from typing import Any, cast

from sentiment_batch.published import is_of_an_earlier_turn
from sentiment_batch.write.claim import CONTROL
from sentiment_batch.write.manifest import MARKER, REPORT
from sentiment_batch.write.store import Folder, Store


def no_files(store: Store) -> Iterator[str]:
    """What is in a folder and is neither a file nor a folder."""
    for path in _paths(store):
        if os.path.islink(path) or not (os.path.isdir(path) or S_ISREG(os.lstat(path).st_mode)):
            yield f"{os.path.relpath(path, store.url)} is a link, or no file at all"


def _paths(store: Store) -> list[str]:
    """Every file and folder of an output that is a folder."""
    walked = os.walk(store.path) if isinstance(store, Folder) else ()
    return sorted(os.path.join(place, name) for place, folders, files in walked for name in [*folders, *files])


def listed_files(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every file of the manifest by its name."""
    files = [manifest["metrics"], manifest.get("report"), *manifest["parts"]]
    files += [part["rejects"] for part in manifest["parts"]]
    return {file["name"]: file for file in files if file}


def wrong_files(store: Store, manifest: dict[str, Any]) -> Iterator[str]:
    """Files of the manifest that are missing or changed. The report may be missing: it is a page for people."""
    sizes = store.sizes()
    for name, file in listed_files(manifest).items():
        if name not in sizes and name == REPORT:
            continue
        if name not in sizes:
            yield f"{name} is listed, but not there"
        elif sizes[name] != file["bytes"]:
            yield f"{name} has {sizes[name]} bytes, {file['bytes']} are listed"
        elif (found := _sha256(store, name)) != file["sha256"]:
            yield f"{name} has the SHA-256 {found}, {file['sha256']} is listed"


def strays(store: Store, manifest: dict[str, Any]) -> Iterator[str]:
    """What is there beside the files of the manifest: a reader of the whole folder would take it for the output's."""
    for name in sorted(store.sizes().keys() - listed_files(manifest).keys() - {MARKER, *CONTROL}):
        if is_of_an_earlier_turn(name, manifest["job_id"]):
            yield f"{name} was left by an earlier job; the next run of `score` removes it"
        else:
            yield f"{name} is there, but not listed"
    for path in filter(os.path.isdir, _paths(store)):
        name = os.path.relpath(path, store.url)
        if os.path.basename(name).startswith(".") and name not in CONTROL:
            yield f"{name} is a hidden folder, which is not of the output"


def _sha256(store: Store, name: str) -> str:
    with store.open(name) as file:
        return hashlib.file_digest(cast(Any, file), "sha256").hexdigest()
