"""plan: what it says of a dump is what `score` then finds, nothing is touched, and twice it says the same."""

import json
import random
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Program, sample_rows, strict_json

from sentiment_batch import forecast as module
from sentiment_batch.config import PlanOptions, ScoreOptions
from sentiment_batch.errors import InputError
from sentiment_batch.forecast import forecast
from sentiment_batch.labeller import Labeller
from sentiment_batch.measure.forecast_table import duration, size, table
from sentiment_batch.read import excerpts
from sentiment_batch.score import score

Plan = dict[str, Any]


@pytest.fixture
def planned(tiny_model: Path) -> Callable[..., Plan]:
    def plan(*paths: Path, **options: Any) -> Plan:
        given = {"model": str(tiny_model), "seconds": 0.1, "progress": "none", **options}
        return dict(forecast(PlanOptions(input=tuple(map(str, paths)), **given))["plan"])

    return plan


@pytest.fixture(scope="module")
def sorted_texts() -> list[str]:
    """More than are looked at, the shortest first."""
    words = sorted({word for text, _ in sample_rows() for word in text.split()})
    chance = random.Random(2)
    return sorted((" ".join(chance.choices(words, k=chance.choice([1, 4, 12, 30]))) for _ in range(20_000)), key=len)


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """A dump of 60 rows, some of which have no text, or one that was there before."""
    texts = [text for text, _ in sample_rows("test")[:40]]
    rows: list[str | None] = [*texts, *texts[:10], None, None, " ", "", "x " * 500, *texts[:5]]
    path = tmp_path / "few.parquet"
    pq.write_table(pa.table({"id": range(60), "text": pa.array(rows)}), path, row_group_size=25)
    return path


def put(path: Path, texts: list[str], **settings: Any) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"id": range(len(texts)), "text": texts}), path, **settings)
    else:
        path.write_text("id\ttext\n" + "".join(f"{row}\t{text}\n" for row, text in enumerate(texts)))
    return path


def tokens_of(texts: list[str], model: Path) -> np.ndarray:
    labeller = Labeller(str(model))
    prepared = labeller.prepare(pa.record_batch({"text": texts}))
    lengths: np.ndarray = prepared.tokens.lengths[prepared.text_numbers]
    return lengths


def without_times(plan: Plan) -> Plan:
    """What two plans of the same files have in common."""
    timed = ("calibration", "time", "peak_rss_bytes", "disk")
    found = {name: value for name, value in plan.items() if name not in timed}
    return {**found, "shards": {**plan["shards"], "seconds_largest": 0}, "row_bytes": plan["disk"]["row_bytes"]}


def test_it_says_what_score_finds(few: Path, tiny_model: Path, tmp_path: Path, program: Program) -> None:
    """With the very same options, and `plan` in the place of `score`."""
    options = (few, "--model", tiny_model, "--output", tmp_path / "out", "--shard-rows", 25, "--workers", 1)
    before = sorted(tmp_path.iterdir())
    ended = program("plan", *options, "--overwrite", "--seconds", 0.1, "--metrics", tmp_path / "plan.json")
    assert ended.code == 0, ended.err
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "plan.json"]), "no output is touched"
    assert program("score", *options, "--metrics", tmp_path / "score.json").code == 0
    told, done = (json.loads((tmp_path / name).read_text()) for name in ("plan.json", "score.json"))
    plan, rows = told["plan"], done["rows"]
    assert (plan["rows"]["rows"], plan["rows"]["exact"]) == (rows["in"], True) == (60, True)
    assert plan["shards"]["count"] == len(list((tmp_path / "out").glob("part-*"))) == 3
    assert plan["sample"]["is_all"]
    assert plan["sample"]["tokens"]["mean"] == pytest.approx(done["profile"]["all_tokens"] / rows["scored"], abs=0.01)
    shares = {name: plan["sample"][f"{name}_share"] * 60 for name in ("empty", "null", "rejected")}
    assert shares == pytest.approx({name: rows[name] for name in ("empty", "null", "rejected")}, abs=0.01)
    assert plan["sample"]["truncated_share"] * rows["scored"] == pytest.approx(rows["truncated"], abs=0.01)
    unknown = done["profile"]["unknown_tokens"] / done["profile"]["all_tokens"]
    assert plan["sample"]["unknown_token_share"] == pytest.approx(unknown, abs=1e-4)
    labelled = rows["distinct_texts"] - rows["cached_texts"]
    assert plan["calibration"]["share_to_label"]["mean"] == pytest.approx(labelled / 60, abs=1e-4)
    for name in ("engine", "device", "dtype", "digest", "max_length"):
        assert told["model"][name] == done["model"][name]
    assert told["headline"]["plan_rows"] == 60


def test_the_options_of_score_are_taken(few: Path, tiny_model: Path, program: Program) -> None:
    with_labels = ("--text-column", "text", "--label-column", "id", "--keep-columns", "none", "--chunk-rows", 7)
    rest = ("--cache-rows", 0, "--shard-bytes", 1_000, "--deadline", "90m", "--prefix", "sb_", "--max-reject-rate", 0.5)
    ended = program("plan", few, "--model", tiny_model, "--seconds", 0.1, "--json", *with_labels, *rest)
    assert ended.code == 0, ended.err
    assert strict_json(ended.out)["plan"]["time"]["in_time"] is True


@pytest.mark.parametrize("name", ["dump.parquet", "dump.tsv"])
def test_a_sorted_dump_does_not_deceive_it(
    name: str,
    sorted_texts: list[str],
    tiny_model: Path,
    tmp_path: Path,
    planned: Callable[..., Plan],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_READ_BYTES", 0)
    path = put(tmp_path / name, sorted_texts, **({"row_group_size": 2_500} if name.endswith("parquet") else {}))
    plan = planned(path)
    tokens, found = tokens_of(sorted_texts, tiny_model), plan["sample"]["tokens"]
    assert not plan["sample"]["is_all"]
    assert found["low"] <= tokens.mean() <= found["high"]
    assert found["mean"] == pytest.approx(tokens.mean(), rel=0.1)
    for at, low, high in (("p50", 42, 58), ("p95", 90, 98)):
        assert np.percentile(tokens, low) <= found[at] <= np.percentile(tokens, high)
    assert plan["rows"]["exact"] == plan["shards"]["exact"] == name.endswith("parquet")
    assert plan["rows"]["low"] <= 20_000 <= plan["rows"]["high"]
    assert plan["rows"]["rows"] == pytest.approx(20_000, rel=0.1)
    assert without_times(planned(path)) == without_times(plan), "and again it says the same"
    if name == "dump.tsv":
        assert planned(path, exact=True)["rows"] == plan["rows"] | {
            "rows": 20_000, "low": 20_000, "high": 20_000, "exact": True
        }  # fmt: skip


def test_what_the_output_takes(sorted_texts: list[str], tmp_path: Path, planned: Callable[..., Plan], tiny_model: Path,
                               program: Program) -> None:  # fmt: skip
    path = put(tmp_path / "dump.parquet", random.Random(1).sample(sorted_texts, 20_000))
    plan = planned(path, output=str(tmp_path / "not" / "there"))
    assert program("score", path, "--model", tiny_model, "--output", tmp_path / "out", "--progress", "none").code == 0
    real = sum(part.stat().st_size for part in (tmp_path / "out").glob("part-*"))
    assert plan["disk"]["output_bytes"] == pytest.approx(real, rel=0.15)
    assert plan["disk"]["needed_bytes"] > plan["disk"]["output_bytes"]
    assert plan["disk"]["enough"] is True
    assert planned(path, keep_columns=("none",))["disk"]["output_bytes"] < plan["disk"]["output_bytes"] / 2


def test_texts_that_come_again_take_no_time(tmp_path: Path, planned: Callable[..., Plan]) -> None:
    """However far away, as long as it is in the same shard."""
    texts = [f"{number} bagus" for number in range(1_000)]
    path = put(tmp_path / "dump.parquet", texts * 20)
    assert planned(path)["calibration"]["share_to_label"]["mean"] == pytest.approx(1 / 20)
    assert planned(path, shard_rows=2_000)["calibration"]["share_to_label"]["mean"] == pytest.approx(1 / 2)
    assert planned(path, cache_rows=0, chunk_rows=1_000)["calibration"]["share_to_label"]["mean"] == 1


def test_the_time_is_rows_times_tokens_by_pace(few: Path, planned: Callable[..., Plan]) -> None:
    plan = planned(few, limit_rows=50)
    pace, time = plan["calibration"], plan["time"]
    assert plan["rows"]["rows"] == 50
    work = 50 * pace["share_to_label"]["mean"] * plan["sample"]["tokens"]["mean"]
    labelling = time["seconds"] - pace["load_seconds"]
    assert labelling == pytest.approx(work / pace["tokens_per_second"]["mean"], rel=0.2, abs=0.1)
    assert time["low"] <= time["seconds"] <= time["high"]
    assert pace["tokens_per_second"]["low"] <= pace["tokens_per_second"]["mean"] <= pace["tokens_per_second"]["high"]
    assert pace["pieces"] >= 4
    assert list(time["slices"]) == ["2", "8", "32"]


def test_rows_that_are_left_out_are_not_forecast(
    sorted_texts: list[str], tmp_path: Path, planned: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a text file that is too large to be counted in passing, too."""
    monkeypatch.setattr(module, "_READ_BYTES", 0)
    path = put(tmp_path / "dump.tsv", sorted_texts)
    assert not planned(path)["rows"]["exact"]
    assert planned(path, limit_rows=150)["rows"]["rows"] == 150


def test_a_compressed_file_is_said_to_be_one_shard(
    sorted_texts: list[str], tmp_path: Path, planned: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    import gzip

    path = put(tmp_path / "dump.tsv", sorted_texts)
    packed = path.with_suffix(".tsv.gz")
    packed.write_bytes(gzip.compress(path.read_bytes(), 1))
    monkeypatch.setattr(module, "_READ_BYTES", 0)
    monkeypatch.setattr(excerpts, "UNPACKED_BYTES", 2**20)
    plan = planned(packed, shard_rows=100)
    assert plan["shards"]["count"] == plan["rows"]["compressed_files"] == 1
    assert plan["rows"]["high"] is None, "of one beginning nobody knows the rest"
    said = " ".join(plan["warnings"])
    assert "one shard" in said
    assert "--exact" in said
    plan = planned(packed, exact=True)
    assert plan["rows"]["rows"] == plan["rows"]["high"] == 20_000


def test_the_shards_of_text_that_is_not_read_through(
    sorted_texts: list[str], tmp_path: Path, planned: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path / "dump.tsv", sorted_texts)
    exact = planned(path, shard_rows=1_000, shard_bytes=2**16)["shards"]
    monkeypatch.setattr(module, "_READ_BYTES", 0)
    found = planned(path, shard_rows=1_000, shard_bytes=2**16)["shards"]
    assert (found["exact"], exact["exact"]) == (False, True)
    assert found["count"] == pytest.approx(exact["count"], rel=0.35)


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        ([None] * 30 + ["a"] * 5, {}, "no text"),
        (["kata " * 300] * 20, {}, "longer than --max-length"),
        (["\U0001f600 \U0001f601"] * 20, {}, "unknown to the model"),
        ([], {}, "no rows"),
        ([f"{n}" for n in range(2_100)], {"shard_rows": 2}, "many small files"),
        (["bagus"] * 10, {"deadline": "1s"}, "--deadline"),
    ],
)
def test_what_somebody_should_know(
    rows: list[Any], options: dict[str, Any], said: str, tmp_path: Path, planned: Callable[..., Plan],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(Labeller, "load", lambda _: 1.5)
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": pa.array(rows, pa.string())}), path)
    plan = planned(path, **options)
    assert any(said in each for each in plan["warnings"]), plan["warnings"]


def test_too_many_rejects_and_too_little_disk(
    tmp_path: Path, planned: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("id\ttext\n" + "1\ta\nno tab\n" * 20)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 0, 10))
    plan = planned(path, output=str(tmp_path / "out"))
    assert plan["sample"]["rejected_share"] == 0.5
    assert plan["disk"]["enough"] is False
    assert any("--max-reject-rate" in each for each in plan["warnings"])
    assert any("more disk" in each for each in plan["warnings"])
    assert planned(path, output="s3://bucket/out")["disk"]["free_bytes"] is None, "and nobody is asked"


def test_a_dump_without_faults_is_not_warned_of(few: Path, planned: Callable[..., Plan]) -> None:
    assert planned(few)["warnings"] == []


def test_failures_are_those_of_score(few: Path, tiny_model: Path, tmp_path: Path, program: Program) -> None:
    assert program("plan", tmp_path / "none.tsv", "--model", tiny_model).code == 3
    assert program("plan", few, "--model", tmp_path).code == 8
    ended = program("plan", few, "--model", tiny_model, "--keep-columns", "no", "--metrics", tmp_path / "m.json")
    assert ended.code == json.loads((tmp_path / "m.json").read_text())["exit_code"] == 2
    data = bytearray(few.read_bytes())
    data[40:60] = b"\0" * 20
    few.write_bytes(data)
    assert program("plan", few, "--model", tiny_model).code == 3


def test_a_dictionary_that_cannot_be_joined(tmp_path: Path, planned: Callable[..., Plan]) -> None:
    """Indices of 8 bits know 127 values: each row group has others."""
    writer = None
    for group in range(3):
        texts = pa.DictionaryArray.from_arrays(
            pa.array([row % 100 for row in range(300)], pa.int8()), pa.array([f"{group} {n}" for n in range(100)])
        )
        rows = pa.table({"text": texts})
        writer = writer or pq.ParquetWriter(tmp_path / "a.parquet", rows.schema)
        writer.write_table(rows)
    assert writer
    writer.close()
    plan = planned(tmp_path / "a.parquet")
    assert (plan["sample"]["rows"], plan["sample"]["distinct_share"]) == (900, pytest.approx(1 / 3, abs=1e-3))


def test_the_table(few: Path, tiny_model: Path, program: Program) -> None:
    ended = program("plan", few, "--model", tiny_model, "--seconds", 0.1, "--output", few.parent / "out")
    heads = [line.split()[0] for line in ended.out.splitlines()]
    assert heads == ["input", "rows", "tokens", "shares", "shards", "compute", "time", "disk"]
    assert "bagus" not in ended.out + ended.err
    metrics = forecast(PlanOptions(input=(str(few),), model=str(tiny_model), seconds=0.1, shard_rows=5, deadline="9h"))
    told = table(metrics, None)
    assert "on 8 such machines" in told
    assert "on 32" not in told, "there are 12 shards"
    assert "done by --deadline" in told
    metrics["plan"]["rows"] |= {"exact": False, "low": 1, "high": None}
    assert "about 60 (1 to ?), by samples" in table(metrics, None)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.04, "0.0 s"), (45, "45 s"), (720, "12 min"), (11_100, "3 h 05 min"), (180_000, "2 d 02 h")]
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(("count", "said"), [(999, "999 B"), (1_234, "1.2 kB"), (512e9, "512 GB"), (3e18, "3,000 PB")])
def test_sizes(count: float, said: str) -> None:
    assert size(count) == said


def test_it_loads_no_torch_where_openvino_runs(optimized_model: Path) -> None:
    code = (
        "import sys\nfrom sentiment_batch.config import PlanOptions\nfrom sentiment_batch.forecast import forecast\n"
        f"options = PlanOptions(input=('sample:test',), model={str(optimized_model)!r}, seconds=0.1, limit_rows=50, "
        "device='cpu')\n"
        "assert forecast(options)['model']['engine'] == 'openvino'\n"
        "sys.exit(bool({'torch', 'transformers', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_what_cannot_be_is_said_before(few: Path, tiny_model: Path, tmp_path: Path, program: Program) -> None:
    """As `score` says it, and it needs no model for that."""
    (tmp_path / "dumps").mkdir()
    few.rename(tmp_path / "dumps" / "few.parquet")
    given = (tmp_path / "dumps", "--model", tiny_model)
    since = ("--since", tmp_path / "before", "--key", "id")
    for options, said in (
        (("--output", tmp_path / "dumps" / "out"), "lies in the input folder"),
        (("--output", tmp_path), "few.parquet lies in --output"),
        (since, "is not a finished output of `score`"),
        ((*since, "--output", tmp_path / "before" / "out"), "neither can lie in the other"),
        (("--key", "id"), "--key tells the rows of --since apart"),
    ):
        planned, scored = (
            program(command, *given, *options, *more)
            for command, more in (
                ("plan", ()),
                ("score", () if "--output" in options else ("--output", tmp_path / "o")),
            )
        )
        assert said in planned.err
        assert (planned.code, planned.err) == (scored.code, scored.err)


def test_since(few: Path, tiny_model: Path, tmp_path: Path, planned: Callable[..., Plan]) -> None:
    """How many rows are kept nobody knows without reading the earlier output; whether any can be is known."""
    before = tmp_path / "before"
    options = {"input": (str(few),), "model": str(tiny_model), "progress": "none", "device": "cpu"}
    score(ScoreOptions(**options, output=str(before)))
    kept = planned(few, since=str(before), key=("id",), device="cpu")
    assert kept["warnings"] == [
        f"--since {before}: the time is that of scoring all rows; those that are kept take next to none"
    ]
    none = planned(few, since=str(before), key=("id",), device="cpu", max_length=9)["warnings"][-1]
    assert none.endswith("--max-length 64 there, 9 here; nothing of it is kept, and all rows are scored")
    with pytest.raises(InputError, match="has no column 'source', by which"):
        planned(few, since=str(before), key=("source",))


def test_the_workers_of_a_cluster_are_not_asked_for_here(few: Path, planned: Callable[..., Plan]) -> None:
    plan = planned(few, ray="10.0.0.1:6379", workers=8)
    assert plan["compute"]["at_once"] == 1
    assert plan["warnings"] == [
        "--ray: the time is that of one worker like this host; N of them take about an Nth of it"
    ]


def test_a_slice(few: Path, planned: Callable[..., Plan], tiny_model: Path, program: Program) -> None:
    """The plan is of the whole job, but for the time, which is of the slice."""
    whole, plan = planned(few, shard_rows=25), planned(few, shard_rows=25, shard_slice="3/3")
    assert plan["shards"]["slice"] == {"index": 3, "of": 3, "count": 1, "rows": 10}
    assert (plan["rows"], plan["disk"]) == (whole["rows"], whole["disk"])
    pace, time = plan["calibration"], plan["time"]
    work = 10 * pace["share_to_label"]["mean"] * plan["sample"]["tokens"]["mean"]
    labelling = time["seconds"] - pace["load_seconds"]
    assert labelling == pytest.approx(work / pace["tokens_per_second"]["mean"], rel=0.2, abs=0.1)
    assert time["slices"] == {}
    none = planned(few, shard_rows=25, shard_slice="9/9")
    assert (none["shards"]["slice"]["count"], none["time"]["rows_per_second"]) == (0, None)
    ended = program("plan", few, "--model", tiny_model, "--seconds", 0.1, "--shard-rows", 25, "--shard-slice", "1/3")
    assert "slice     1/3: 1 shard, 25 rows\n" in ended.out


def test_a_slice_of_text_that_is_not_read_through(
    sorted_texts: list[str], tmp_path: Path, planned: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path / "dump.tsv", sorted_texts)
    monkeypatch.setattr(module, "_READ_BYTES", 0)
    shards = planned(path, shard_rows=1_000, shard_bytes=2**16, shard_slice="2/4")["shards"]
    assert shards["slice"]["count"] == pytest.approx(shards["count"] / 4, abs=1)
    assert shards["slice"]["rows"] == pytest.approx(5_000, rel=0.2)


def test_more_devices_than_a_slice_has_shards_do_not_help(
    few: Path, planned: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(module, "worker_computes", lambda compute, _, shards: asked.append(shards) or [compute])
    planned(few, shard_rows=10)
    planned(few, shard_rows=10, shard_slice="1/3")
    assert asked == [7, 3]


def test_json_is_printed_beside_a_log_file(few: Path, tiny_model: Path, tmp_path: Path, program: Program) -> None:
    log = tmp_path / "log.txt"
    given = ("plan", few, "--model", tiny_model, "--seconds", 0.1, "--log-file", log)
    assert strict_json(program(*given, "--json").out)["plan"]["rows"]["rows"] == 60
    assert len(program(*given).out.splitlines()) == 1
    assert "INFO" in log.read_text()
