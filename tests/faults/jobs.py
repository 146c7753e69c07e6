"""The jobs that the fault tests run again and again, and what must hold whatever happened to them."""

import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import obstore

from faults.zygote import Ended, Zygote
from sentiment_batch.remote import open_bucket
from sentiment_batch.write.bucket import Bucket
from sentiment_batch.write.claim import turn_of
from sentiment_batch.write.part import read_part

SHARD_ROWS = 30
TIMED = ("_metrics.json", "_SUCCESS", "_report.html")  # the files that have times in them
CLAIM = ".claim.json"  # stays in a bucket, and says whether something was replaced
OPTIONS = ("--shard-rows", SHARD_ROWS, "--chunk-rows", 10, "--max-reject-rate", 0.5, "--progress", "none")


def write_dump(path: Path, rows: int, salt: str = "") -> Path:
    """A TSV with blank texts, rows that are rejected, and texts of a chunk that come again in the next one."""
    lines = ["id\ttext"]
    for row in range(rows):
        first = row - 13 if row % 4 == 2 else row
        text = "" if row % 11 == 3 else f"review {salt}{first % 37} of {first}"
        lines.append("no tab" if row % 17 == 5 else f"{row}\t{text}")
    path.write_text("\n".join(lines) + "\n")
    return path


def arguments(dump: Path, out: Path | str, *more: object) -> tuple[object, ...]:
    return ("score", dump, "--model", "stub", "--output", out, *OPTIONS, *more)


def data_files(out: Path) -> dict[str, str]:
    """SHA-256 of every file that readers see, but for the metrics and the manifest, which have times in them."""
    files = sorted(path for path in out.rglob("[!.]*") if path.is_file() and path.name not in TIMED)
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def objects(url: str, but: Iterable[str] = ()) -> dict[str, str]:
    """What tells two contents of each object of an output in a bucket apart, but for its claim and those with times.

    Of a part that is all of its seal, the hash of its rows among it, but for how often the output has changed hands.
    """
    store = Bucket(url)
    names = [name for name in store.sizes() if name not in (*TIMED, CLAIM, *but)]
    assert len({*map(plain, names)}) == len(names), names
    return {plain(name): fingerprint(store, name) for name in names}


def plain(name: str) -> str:
    """The name of a part or of rejects without the turn of the output."""
    return re.sub(r"(part-\d{5,})-\d{1,3}(?=[-.])", r"\1", name)


def fingerprint(store: Bucket, name: str) -> str:
    if name.endswith(".parquet") and (part := read_part(store, name)):
        return plain(str({**part.seal, "job_id": turn_of(part.seal)[0], "footer_sha256": ""}))
    return hashlib.sha256(store.read(name) or b"").hexdigest()


def is_announced(url: str) -> bool:
    """Whether an output in a bucket is published."""
    store, key = open_bucket(f"{url}/_SUCCESS")
    try:
        obstore.head(store, key)
    except FileNotFoundError:
        return False
    return True


def is_published(out: Path) -> bool:
    return out.is_dir() and any(out.iterdir())


def check_finished(zygote: Zygote, out: Path, expected: dict[str, str]) -> None:
    """V1 to V5: the output verifies, is that of a run never interrupted, and nothing else is left beside it."""
    verified = zygote.run("verify", out)
    assert verified.code == 0, verified.err
    assert data_files(out) == expected
    assert [*os.listdir(out.parent), *(name for name in os.listdir(out) if name.startswith("."))] == [out.name]


def finish(zygote: Zygote, *command: object, **how: Any) -> Ended:
    """The ordinary start, which must end well whatever came before it."""
    ended = zygote.run(*command, **how)
    assert ended.code == 0, ended.err
    return ended


def steps(record: Path) -> list[tuple[str, str]]:
    return [tuple(json.loads(line)) for line in record.read_text().splitlines()]
