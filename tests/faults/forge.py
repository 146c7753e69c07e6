"""A published output that somebody changed and signed again: hashes, seals, counts and totals fit what was changed.

What is written here is written anew, not by the program's own writers, whose checks would be in the way.
"""

import hashlib
import json
from collections import Counter
from math import isfinite
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sentiment_batch.measure.profile import CONFIDENCE, TOKENS
from sentiment_batch.write.claim import job_id
from sentiment_batch.write.part import SEAL

ZEROS = "0" * 64
KINDS = {"scored": "ok", "empty": "empty_text", "null": "null_text", "nonfinite": "nonfinite_score"}
SEALED = ("file", "range", "input_sha256", "rows_in", "rows_out", "rejected", "rejects")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def histogram(values: list[float], edges: tuple[float, ...]) -> list[int]:
    """How many of the values are in each bin, as the README has them."""
    ends = (*edges[1:], float("inf"))
    return [sum(low <= value < high for value in values) for low, high in zip(edges, ends, strict=True)]


def sign(out: Path, manifest: Any) -> None:
    """Write a manifest with a hash of its own that is true."""
    if isinstance(manifest, dict) and "manifest_sha256" in manifest:
        unsigned = json.dumps({**manifest, "manifest_sha256": ZEROS}).encode()
        data = unsigned.replace(ZEROS.encode(), sha256(unsigned).encode())
    else:
        data = json.dumps(manifest).encode()
    (out / "_SUCCESS").write_bytes(data)


def write_part(path: Path, table: pa.Table, seal: Any, **untrue: Any) -> None:
    """Write a part whose seal is true of its bytes, but for what is given; or another value in the seal's place."""

    def write() -> tuple[bytes, bytes]:
        pq.write_table(table.replace_schema_metadata({SEAL: json.dumps(seal)}), path, row_group_size=10)
        data = path.read_bytes()
        footer = int.from_bytes(data[-8:-4], "little") + 8
        return data[:-footer], data[-footer:]

    if isinstance(seal, dict) and "footer_sha256" in seal:
        seal = {**seal, "footer_sha256": ZEROS}
        data, _ = write()
        seal |= {"data_bytes": len(data), "data_sha256": sha256(data), **untrue}
    data, footer = write()
    path.write_bytes(data + footer.replace(f': "{ZEROS}"'.encode(), f': "{sha256(footer)}"'.encode()))


class Forger:
    """The output, open to every change; `sign` makes the rest fit."""

    def __init__(self, out: Path):
        self.out = out
        self.manifest = json.loads((out / "_SUCCESS").read_text())
        self.metrics = json.loads((out / "_metrics.json").read_text())

    def path(self, number: int) -> Path:
        _, _, turn = self.manifest["job_id"].partition(".")
        return self.out / f"part-{number:05d}{turn and f'-{turn}'}.parquet"

    def part(self, number: int) -> tuple[pa.Table, dict[str, Any]]:
        """The rows and the seal of a part."""
        table = pq.read_table(self.path(number))
        return table, json.loads(pq.read_metadata(self.path(number)).metadata[SEAL])

    def put(self, number: int, table: pa.Table, seal: dict[str, Any], **sealed: Any) -> None:
        """Replace a part. Its counts are those of the rows, but for what is said of the seal otherwise."""
        prefix = self.manifest["identity"]["options"]["prefix"]
        statuses = Counter(table.column(f"{prefix}status").to_pylist())
        labels = Counter(table.column(f"{prefix}predicted_label").to_pylist())
        confidences = table.column(f"{prefix}confidence").to_pylist()
        lengths = [tokens or 0 for tokens in table.column(f"{prefix}n_tokens").to_pylist()]
        scored = [status == "ok" for status in table.column(f"{prefix}status").to_pylist()]
        counts = {
            **seal["counts"],
            **{name: statuses[kind] for name, kind in KINDS.items()},
            "truncated": sum(table.column(f"{prefix}truncated").to_pylist()),
            "rows_in": seal["rows_in"],
            "rows_out": len(table),
            "rejected": seal["rejected"],
            "tokens": sum(table.column(f"{prefix}n_tokens").to_pylist()),
            "confidence_millionths": sum(round(each * 1_000_000) for each in confidences if each and isfinite(each)),
            "predicted": {label: labels[label] for label in seal["counts"]["predicted"]},
            "profile": {
                **seal["counts"]["profile"],
                "tokens": histogram([tokens for tokens, ok in zip(lengths, scored, strict=True) if ok], TOKENS),
                "confidence": histogram([each for each in confidences if each and isfinite(each)], CONFIDENCE),
            },
        }
        seal = {**seal, "rows_out": len(table), "counts": counts, **sealed}
        write_part(self.path(number), table, seal)
        self.relist(number, seal)

    def relist(self, number: int, seal: dict[str, Any]) -> None:
        data = self.path(number).read_bytes()
        file = {"name": self.path(number).name, "bytes": len(data), "sha256": sha256(data)}
        self.manifest["parts"][number : number + 1] = [{**file, **{name: seal[name] for name in SEALED}}]

    def put_rejects(self, number: int, rejects: list[dict[str, Any]] | bytes) -> dict[str, Any]:
        """Replace the rejects of a part, under the name that its content gives it; what the manifest is to say."""
        data = rejects if isinstance(rejects, bytes) else "".join(json.dumps(each) + "\n" for each in rejects).encode()
        if old := self.manifest["parts"][number]["rejects"]:
            (self.out / old["name"]).unlink(missing_ok=True)
        name = f"_rejects/_{self.path(number).stem}-{sha256(data)[:8]}.jsonl"
        (self.out / name).parent.mkdir(exist_ok=True)
        (self.out / name).write_bytes(data)
        listed = {"name": name, "bytes": len(data), "sha256": sha256(data)}
        table, seal = self.part(number)
        self.put(number, table, {**seal, "rejects": listed})
        return listed

    def hand_over(self, turn: int) -> None:
        """Make it what the job gives that gets the output when it has changed hands so often."""
        numbers = range(len(self.manifest["parts"]))
        parts, rejects = [self.part(number) for number in numbers], [self.rejects(number) for number in numbers]
        for file in [*self.manifest["parts"], *(part["rejects"] for part in self.manifest["parts"])]:
            if file:
                (self.out / file["name"]).unlink()
        self.manifest["job_id"] = job = job_id(self.manifest["identity"]) + (f".{turn}" if turn else "")
        for number, (table, seal) in enumerate(parts):
            self.put(number, table, {**seal, "job_id": job, "rejects": None})
            if rejects[number]:
                self.put_rejects(number, rejects[number])

    def rejects(self, number: int) -> list[dict[str, Any]]:
        listed = self.manifest["parts"][number]["rejects"]
        return [json.loads(line) for line in (self.out / listed["name"]).read_text().splitlines()] if listed else []

    def sign(self, totals: bool = True, job: bool = False) -> None:
        """Write metrics and manifest; `job`: the identity was changed, and all seals are to follow."""
        numbers = range(len(self.manifest["parts"]))
        if job:
            self.manifest["job_id"] = job_id(self.manifest["identity"])
            for number in numbers:
                table, seal = self.part(number)
                self.put(number, table, seal, job_id=self.manifest["job_id"])
        if totals:
            seals = [self.part(number)[1] for number in numbers]
            rows = self.manifest["rows"]
            rows.update({name: sum(seal[name] for seal in seals) for name in rows})
            kinds = {name: sum(seal["counts"][name] for seal in seals) for name in (*KINDS, "truncated")}
            told = {"in": rows["rows_in"], "out": rows["rows_out"], "rejected": rows["rejected"]}
            self.metrics["rows"].update(told, **kinds)
            predicted = self.metrics["predictions"]["counts"]
            predicted.update({label: sum(seal["counts"]["predicted"][label] for seal in seals) for label in predicted})
            for name in ("tokens", "confidence"):
                bins = zip(*(seal["counts"]["profile"][name] for seal in seals), strict=True)
                self.metrics["profile"][name]["counts"] = [sum(each) for each in bins]
        data = json.dumps(self.metrics).encode()
        (self.out / "_metrics.json").write_bytes(data)
        self.manifest["metrics"].update(bytes=len(data), sha256=sha256(data))
        sign(self.out, self.manifest)
