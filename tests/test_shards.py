"""Planning thousands of files: each is opened once for its footer, and by a job that goes on not at all."""

import json
import random
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sentiment_batch import score as job
from sentiment_batch.config import ScoreOptions
from sentiment_batch.errors import InputError
from sentiment_batch.read import inputs as module
from sentiment_batch.read.plan import Inputs, PlannedShard, open_inputs, plan, read_chunks
from sentiment_batch.write.beside import Beside
from sentiment_batch.write.in_place import InPlace

FILES = 500


class Killed(Exception):
    pass


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each input was opened."""
    counts: Counter[str] = Counter()
    real = module.open_source

    def open_source(path: str, *arguments: object) -> object:
        counts[Path(path).name] += 1
        return real(path, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "open_source", open_source)
    return counts


@pytest.fixture
def until_the_first_shard(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Inputs]:
    """`score` as it begins, killed before its first shard: claim and plan stay."""
    found: list[Inputs] = []

    def stop(started: job.Job, *_: object) -> None:
        found.append(started.inputs)
        raise Killed

    monkeypatch.setattr(job, "open_crew", stop)
    monkeypatch.setattr(Beside, "release", lambda work: work.lock.release())

    def start(**options: object) -> Inputs:
        given = {"input": (str(tmp_path / "dump"),), "output": str(tmp_path / "out"), "model": str(tiny_model)}
        with pytest.raises(Killed):
            job.score(ScoreOptions(**{**given, "progress": "none", **options}))  # type: ignore[arg-type]
        return found[-1]

    return start


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    """As many files as a test has time for; in every second one, and so in the first, no text may be null."""
    folder = tmp_path / "dump"
    folder.mkdir()
    names = sorted(f"{name:09d}.parquet" for name in random.Random(1).sample(range(10**9), FILES))
    for number, name in enumerate(names):
        fields = [pa.field("n", pa.int64()), pa.field("text", pa.string(), nullable=number % 2 == 1)]
        rows = pa.table({"n": [number, 1], "text": ["bagus", f"buruk {number}"]}, pa.schema(fields))
        pq.write_table(rows, folder / name, row_group_size=1)
    return folder


def edit(plan_json: Path, change: Callable[[dict[str, object]], None]) -> None:
    there = json.loads(plan_json.read_text())
    change(there)
    plan_json.write_text(json.dumps(there))


def test_each_file_is_opened_once_for_its_edges_and_once_for_its_footer(
    dump: Path, opened: Counter[str], until_the_first_shard: Callable[..., Inputs]
) -> None:
    first = until_the_first_shard()
    assert set(opened.values()) == {2}
    opened.clear()
    again = until_the_first_shard()
    assert len(opened) == FILES
    assert opened.most_common(2)[0][1] == 2, "the first has the schema"
    assert opened.most_common(2)[1][1] == 1, "of the others the edges say that they are the same"
    assert again.schema.equals(first.schema, check_metadata=True)
    assert again.schema.field("text").nullable, "as some of the others may be null"
    assert again.headers == first.headers


def test_memory_is_that_of_what_a_plan_says(dump: Path) -> None:
    pq.read_schema(next(dump.iterdir()))
    tracemalloc.start()
    try:
        inputs = open_inputs((str(dump),), "auto", (), ("text",))
        shards = plan(inputs, 1, 2**30)
        held, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(shards) == 2 * FILES
    assert held / FILES < 3_000
    assert most - held < 10**6, "what is read of a file is not kept"


@pytest.mark.parametrize(
    "change",
    [
        lambda there: there["inputs"]["nullable"].update(text=False),
        lambda there: there["shards"].pop(),
        lambda there: there.update(job_id="0" * 32),
        lambda there: there.pop("inputs"),
    ],
)
def test_a_plan_that_is_not_as_it_was_written_says_nothing(
    change: Callable[[dict[str, object]], None], tmp_path: Path, dump: Path, opened: Counter[str],
    until_the_first_shard: Callable[..., Inputs],
) -> None:  # fmt: skip
    until_the_first_shard()
    edit(tmp_path / ".out.wip" / ".plan.json", change)
    opened.clear()
    assert until_the_first_shard().schema.field("text").nullable
    assert set(opened.values()) == {2}
    opened.clear()
    until_the_first_shard()
    assert sum(opened.values()) == FILES + 1, "and it was written again"


def test_a_plan_of_another_job_says_nothing(
    dump: Path, opened: Counter[str], until_the_first_shard: Callable[..., Inputs]
) -> None:
    until_the_first_shard()
    opened.clear()
    until_the_first_shard(shard_rows=1, overwrite=True)
    assert set(opened.values()) == {2}
    opened.clear()
    sorted(dump.iterdir())[3].touch()
    until_the_first_shard(shard_rows=1, overwrite=True)
    assert set(opened.values()) == {2}, "a file that was written again is another"


def test_text_files_keep_the_headers_that_each_has(
    tmp_path: Path, opened: Counter[str], until_the_first_shard: Callable[..., Inputs]
) -> None:
    (tmp_path / "dump").mkdir()
    for number in range(20):
        head, row = ("text\tn", "bagus\t1") if number % 3 else ("n\ttext", "1\tbagus")
        (tmp_path / "dump" / f"{number:02d}.tsv").write_text(f"{head}\n{row}\n")
    first = until_the_first_shard()
    opened.clear()
    again = until_the_first_shard()
    assert (again.headers, again.schema) == (first.headers, first.schema)
    assert {names for names, _ in again.headers} == {("text", "n"), ("n", "text")}
    assert set(opened.values()) == {1}


def test_in_a_bucket_the_plan_lies_in_the_output(
    bucket: str, dump: Path, opened: Counter[str], until_the_first_shard: Callable[..., Inputs],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(InPlace, "release", lambda _: None)
    until_the_first_shard(output=f"{bucket}/out")
    opened.clear()
    until_the_first_shard(output=f"{bucket}/out")
    assert sum(opened.values()) == FILES + 1


@pytest.mark.parametrize(
    ("column", "said"), [({"text": [b"a"]}, "binary where string"), ({"other": ["a"]}, "no column 'text' any more")]
)
def test_a_file_whose_columns_changed_behind_its_edges_is_found_when_it_is_read(
    column: dict[str, list[object]], said: str, tmp_path: Path
) -> None:
    """Nobody looks into it before, if all else that tells a file is as it was."""
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "a.parquet")
    inputs = open_inputs((str(tmp_path / "a.parquet"),), "auto", (), ("text",))
    (planned,) = plan(inputs, 10, 2**30)
    pq.write_table(pa.table(column), tmp_path / "a.parquet")
    (now,) = module.find_inputs([str(tmp_path / "a.parquet")])
    edited = Inputs((now,), inputs.schema, inputs.headers)
    with pytest.raises(InputError, match=said):
        list(read_chunks(edited, PlannedShard(0, 0, planned.shard), ("text",), "text", 10))
