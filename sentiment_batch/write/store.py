"""The few operations on files that everything visible is made with. All of them are durable when they return.

Safety rests on one of them: creating a name only if it is absent.
"""

import json
import os
from pathlib import Path
from typing import Any


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, as fsync makes a file's bytes."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_files(folder: Path) -> None:
    """Make every file in a folder durable, whoever wrote it, and their names."""
    for path in folder.iterdir():
        if path.is_file():
            sync_file(path)
    sync_folder(folder)


def sync_file(path: Path) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def create(scratch: Path, path: Path) -> bool:
    """Give a finished scratch file its name if nothing has that name; False if something has. The scratch name goes."""
    sync_file(scratch)
    try:
        os.link(scratch, path)
        created = True
    except FileExistsError:
        created = os.path.samefile(scratch, path)  # NFS may do the work and then answer "exists" to a repeated call
    os.unlink(scratch)
    sync_folder(path.parent)
    return created


def replace(scratch: Path, path: Path) -> None:
    """Give a finished scratch file its name, whatever had it before."""
    sync_file(scratch)
    os.replace(scratch, path)
    sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all. Raises `ValueError` for a number that JSON has no word for (NaN)."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(scratch, "w", encoding="utf-8", errors="backslashreplace") as file:  # file names may not be UTF-8
            json.dump(value, file, ensure_ascii=False, allow_nan=False, indent=2)
            file.write("\n")
        replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def write_metrics_copy(path: str | None, metrics: Any) -> None:
    """Write the metrics where the user asked for a copy, if they did; folders on the way are made."""
    if path is not None:
        Path(path).absolute().parent.mkdir(parents=True, exist_ok=True)
        write_json(Path(path), metrics)


def read_json(path: Path) -> Any:
    """The value in a JSON file, or None if there is no such file or it is not JSON."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
