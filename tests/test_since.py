"""since.py: what is kept of an earlier output, that scoring all rows would give the same, and when nothing is kept."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import LABELS, Program, faults_of, random_texts
from faults import stub
from faults.forge import Forger
from faults.jobs import data_files, write_dump
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sentiment_batch import report
from sentiment_batch import score as job
from sentiment_batch.config import LabelOptions, ScoreOptions
from sentiment_batch.errors import InputError, OutputConflict, Stopped
from sentiment_batch.finished import open_finished
from sentiment_batch.labeller import Labeller
from sentiment_batch.model.classifier import Classifier
from sentiment_batch.model.compute import Compute
from sentiment_batch.score import score

PROBABILITIES = [f"prob_{label}" for label in LABELS]
CLOSE = 1e-6  # what the batch that a text is in may change of a probability in float32; 2e-7 was seen
CUT = {"shard_rows": 60, "chunk_rows": 25}
COUNTED = ("rows", "predictions", "profile")


class Engine:
    """Exact logits that follow from a text's ids alone, whatever batch it is in; of some texts they are no numbers."""

    def __init__(self) -> None:
        self.asked = 0  # texts that it was given
        self.stops_behind: int | None = None
        self.always_finite = False

    def __call__(self, input_ids: np.ndarray, attention_mask: np.ndarray | None) -> np.ndarray:
        self.asked += len(input_ids)
        if self.stops_behind is not None and self.asked > self.stops_behind:
            raise Stopped(15)
        ids = input_ids if attention_mask is None else input_ids * attention_mask
        sums = (ids * (1 + np.arange(ids.shape[1]) % 11)).sum(1)
        logits = np.stack([sums % prime / 4 for prime in (7, 11, 13)], 1).astype(np.float32)
        if not self.always_finite:
            logits[sums % 17 == 3, 1] = np.nan
        return logits


@pytest.fixture
def engine(tiny_model: Path) -> Iterator[Engine]:
    """In the place of the model; its tokenizer is real."""
    engine = Engine()

    def open_labeller(options: LabelOptions, text_column: str) -> Labeller:
        names = LabelOptions.__dataclass_fields__
        labeller = Labeller(text_column=text_column, **{name: getattr(options, name) for name in names})
        labeller.compute = Compute("torch", "cpu", "float32")
        labeller.classifier = Classifier(engine, len(LABELS), 200, labeller.folder.pad_token_id, labeller.effort)
        return labeller

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "page_of", stub._page_of)
        patch.setattr(job, "open_labeller", open_labeller)
        yield engine


Row = tuple[Any, str | None]


def write_rows(path: Path, rows: list[Row], key: pa.DataType | None = None) -> Path:
    """As Parquet if there is a type for the key, else as TSV, in which a text with a tab is a reject."""
    if key is None:
        lines = (f"{'' if id is None else id}\t{text or ''}\n" for id, text in rows)
        path.write_text("id\ttext\n" + "".join(lines), encoding="utf-8")
        return path
    ids = [id if id is None or not pa.types.is_string(key) else str(id) for id, _ in rows]
    texts = pa.array([text for _, text in rows], pa.string())
    pq.write_table(pa.table({"id": pa.array(ids, key), "text": texts}), path)
    return path


def labelled(dump: Path | str, model: Path | str, out: Path | str, **settings: Any) -> dict[str, Any]:
    """The metrics of a job, which fit their schema."""
    settings = {"progress": "none", "max_reject_rate": 1.0, **settings}
    metrics = score(ScoreOptions(input=(str(dump),), model=str(model), output=str(out), **settings))
    assert not faults_of(json.loads(json.dumps(metrics)))
    assert metrics["headline"].get("rows_kept") == metrics.get("since", {}).get("rows_kept")
    return metrics


IDS = st.sampled_from([None, 1, 2, 3, 10, 11])
TEXTS = st.sampled_from([None, "", " ", "ok", "bagus", "ok banget", "two\tfields", "enak sekali " * 60])
some_rows = st.lists(st.tuples(IDS, TEXTS | st.sampled_from(random_texts(20))), max_size=40)


@st.composite
def two_nights(draw: st.DrawFn) -> tuple[list[Row], list[Row]]:
    """What came first, and then: rows removed, moved, repeated, with another text or another key, and others."""
    before = draw(some_rows)
    kept = draw(st.permutations(before)) if draw(st.booleans()) else before
    after: list[Row] = []
    for id, text in kept[: draw(st.integers(0, len(kept)))]:
        change = draw(st.sampled_from("=====kt2"))
        after.append((draw(IDS) if change == "k" else id, draw(TEXTS) if change == "t" else text))
        after += [after[-1]] if change == "2" else []
    return before, after + draw(some_rows)


FORMATS = {"tsv": None, "int64": pa.int64(), "int8": pa.int8(), "string": pa.string(), "double": pa.float64()}
KINDS = {"tsv": "string", "int8": "int64"}  # of those that are not of a kind of their own
formats = st.sampled_from([*FORMATS])


def pairs_of(rows: list[Row], format: str) -> list[Row]:
    """Key and text of each row of the output, in which no rejected row is."""
    if format == "tsv":
        rows = [("" if id is None else id, text or "") for id, text in rows if "\t" not in (text or "")]
    if KINDS.get(format, format) == "string":
        rows = [(None if id is None else str(id), text) for id, text in rows]
    return rows


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    two=two_nights(), was=formats, other=st.none() | formats, cache_rows=st.sampled_from([0, 3, 99]), odd=st.booleans()
)
@example(two=([(1, "ok")], [(1, "ok"), (2, "bagus")]), was="int64", other="int8", cache_rows=0, odd=True)
@example(two=([(1, "ok")], [(1, "ok"), (2, "bagus")]), was="tsv", other="int8", cache_rows=0, odd=True)
def test_it_is_what_scoring_all_rows_would_give(
    two: tuple[list[Row], list[Row]],
    was: str,
    other: str | None,
    cache_rows: int,
    odd: bool,
    engine: Engine,
    tiny_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    (before, after), now, folder = two, other or was, tmp_path_factory.mktemp("nights")
    cut, prefix = {"shard_rows": 9, "chunk_rows": 4, "cache_rows": cache_rows}, "sb_" if odd else ""
    earlier = write_rows(folder / f"before.{'tsv' if was == 'tsv' else 'parquet'}", before, FORMATS[was])
    dump = write_rows(folder / f"after.{'tsv' if now == 'tsv' else 'parquet'}", after, FORMATS[now])
    labelled(earlier, tiny_model, folder / "earlier", **{**cut, "chunk_rows": 7}, prefix=prefix)
    engine.asked = 0
    full = labelled(dump, tiny_model, folder / "full", **cut)
    of_all, engine.asked = engine.asked, 0
    kept = labelled(dump, tiny_model, folder / "kept", **cut, since=str(folder / "earlier"), key=("id",))
    assert pq.read_table(folder / "kept").equals(pq.read_table(folder / "full"))
    assert [kept[name] for name in COUNTED] == [full[name] for name in COUNTED]

    same_kind = KINDS.get(was, was) == KINDS.get(now, now)
    status = pq.read_table(folder / "earlier")[f"{prefix}status"].to_pylist()
    there = {pair for pair, each in zip(pairs_of(before, was), status, strict=True) if each == "ok"}
    pairs = [pair for pair in pairs_of(after, now) if (pair[1] or "").strip()]
    known = sum(pair in there and pair[0] is not None for pair in pairs) if same_kind else 0
    assert (kept["since"]["rows_kept"], kept["since"]["rows_scored"]) == (known, len(pairs) - known)
    assert ("why_none_kept" in kept["since"]) != same_kind
    assert engine.asked <= min(of_all, len(pairs) - known)
    shutil.rmtree(folder)


@pytest.fixture
def nights(tmp_path: Path) -> list[Path]:
    """Three dumps of 200 rows. Of those of the night before 20 have another text and 20 others are not there any more,
    20 are new, and all are in another order.
    """
    texts = iter(random_texts(400))
    rows: list[Row] = [(id, next(texts)) for id in range(200)]
    dumps = []
    for night in range(3):
        dumps.append(write_rows(tmp_path / f"{night}.parquet", rows, pa.int64()))
        changed = [(id, next(texts)) for id, _ in rows[:20]]
        rows = [(1_000 + 20 * night + number, next(texts)) for number in range(20)] + rows[40:][::-1] + changed
    return dumps


def rows_by_id(out: Path) -> dict[int, dict[str, Any]]:
    return {row["id"]: row for row in pq.read_table(out).to_pylist()}


@pytest.mark.parametrize("calibrated", [False, True])
def test_of_a_real_model_night_after_night(
    calibrated: bool, nights: list[Path], warm_model: Path, tmp_path: Path, program: Program
) -> None:
    """What was kept is the same bit for bit, for the second time, too; all of it is near what a full run gives."""
    how: dict[str, Any] = {**CUT, "calibrated": calibrated}
    labelled(nights[0], warm_model, tmp_path / "0", **how)
    for night in (1, 2):
        before, out, full = (tmp_path / name for name in (str(night - 1), str(night), f"full-{night}"))
        metrics = labelled(nights[night], warm_model, out, **how, since=str(before), key=("id",))
        assert (metrics["since"]["rows_kept"], metrics["since"]["rows_scored"]) == (160, 40)
        wanted = labelled(nights[night], warm_model, full, **how)
        assert metrics["rows"] == wanted["rows"]
        assert metrics["profile"]["unknown_share"] == wanted["profile"]["unknown_share"]
        assert metrics["predictions"]["counts"] == wanted["predictions"]["counts"]
        ours, theirs = pq.read_table(out), pq.read_table(full)
        assert ours.schema.equals(theirs.schema, check_metadata=True)
        inexact = [*PROBABILITIES, "confidence"]
        assert ours.drop_columns(inexact).equals(theirs.drop_columns(inexact))
        for name in inexact:
            assert np.abs(ours[name].to_numpy() - theirs[name].to_numpy()).max() < CLOSE
        now, then = rows_by_id(out), rows_by_id(before)
        same = [id for id in now if id in then and now[id]["text"] == then[id]["text"]]
        assert len(same) == 160
        assert [now[id] for id in same] == [then[id] for id in same], "bit for bit"
        assert program("verify", out).code == 0


def test_the_tokens_of_what_is_kept_are_not_given_to_the_model(
    nights: list[Path], engine: Engine, tiny_model: Path, tmp_path: Path
) -> None:
    before = labelled(nights[0], tiny_model, tmp_path / "0")
    engine.asked = 0
    metrics = labelled(nights[1], tiny_model, tmp_path / "1", since=str(tmp_path / "0"), key=("id",))
    assert engine.asked == metrics["since"]["rows_scored"] == 200 - metrics["since"]["rows_kept"]
    assert 40 <= engine.asked <= 40 + before["rows"]["nonfinite"]
    told = {name: metrics["since"][name] for name in ("path", "job_id", "key")}
    assert told == {"path": str(tmp_path / "0"), "job_id": before["job_id"], "key": ["id"]}


def test_several_columns_tell_rows_apart(engine: Engine, tiny_model: Path, tmp_path: Path) -> None:
    rows = {"shop": ["a", "a", "b", "b", None], "id": [1, 2, 1, 2, 1], "text": ["ok", "bagus", "ok", "jelek", "ok"]}
    pq.write_table(pa.table(rows), tmp_path / "a.parquet")
    rows["shop"][1], rows["id"][3] = "b", 3
    pq.write_table(pa.table(rows), tmp_path / "b.parquet")
    engine.always_finite = True  # a row without a label is not kept, whatever its key
    labelled(tmp_path / "a.parquet", tiny_model, tmp_path / "0")
    for key, kept in ((("shop", "id"), 2), (("id",), 4), (("shop",), 3), (("text",), 5)):
        metrics = labelled(
            *(tmp_path / "b.parquet", tiny_model, tmp_path / "-".join(key)),
            since=str(tmp_path / "0"),
            key=key,
            keep_columns=("text",),
        )
        assert (metrics["since"]["rows_kept"], metrics["since"]["key"]) == (kept, list(key))
        assert pq.read_table(tmp_path / "-".join(key)).column_names[:2] == ["text", "predicted_label"]


@pytest.fixture
def earlier(nights: list[Path], engine: Engine, tiny_model: Path, tmp_path: Path) -> Path:
    """The output of the first night."""
    labelled(nights[0], tiny_model, tmp_path / "earlier", **CUT)
    return tmp_path / "earlier"


def _other_model(model: Path, folder: Path) -> dict[str, Any]:
    shutil.copytree(model, folder / "other")
    config = json.loads((folder / "other" / "config.json").read_text())
    (folder / "other" / "config.json").write_text(json.dumps({**config, "hidden_act": "relu"}))
    return {"model": str(folder / "other")}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_other_model, "it is of another model ("),
        (lambda *_: {"max_length": 32}, "--max-length 64 there, 32 here"),
        (lambda *_: {"batch_tokens": 999}, "computed with torch cpu float32 auto there, torch cpu float32 999 here"),
    ],
    ids=["model", "max-length", "batch-tokens"],
)
def test_what_would_be_labelled_in_another_way_is_all_scored(
    change: Callable[..., dict[str, Any]],
    why: str,
    earlier: Path,
    nights: list[Path],
    tiny_model: Path,
    tmp_path: Path,
    program: Program,
) -> None:
    """It is said, and does not stop the job: a new model must not fail the night in which it goes live."""
    settings = {"model": str(tiny_model), **change(tiny_model, tmp_path)}
    options = [each for name, value in settings.items() for each in (f"--{name.replace('_', '-')}", value)]
    ended = program(
        *("score", nights[1], *options, "--output", tmp_path / "out", "--since", earlier, "--key", "id"),
        *("--max-reject-rate", 1, "--progress", "none", "--metrics", tmp_path / "m.json"),
    )
    assert ended.code == 0, ended.err
    assert f"{why}" in ended.err
    assert "nothing of it is kept, and all rows are scored" in ended.err
    told = json.loads((tmp_path / "m.json").read_text())["since"]
    assert (told["rows_kept"], told["rows_scored"], why in told["why_none_kept"]) == (0, 200, True)
    assert why in ended.out, "and the summary says so"
    assert program("verify", tmp_path / "out").code == 0


def test_what_a_version_with_other_rows_made_is_not_kept(earlier: Path, nights: list[Path], tiny_model: Path) -> None:
    forger = Forger(earlier)
    forger.manifest["identity"]["row_format"] -= 1
    forger.sign(job=True)
    metrics = labelled(nights[1], tiny_model, earlier.parent / "out", since=str(earlier), key=("id",))
    assert metrics["since"]["why_none_kept"] == "another version of the program made it"


def test_labels_in_another_order_are_not_taken_for_each_other(
    earlier: Path, nights: list[Path], tiny_model: Path
) -> None:
    forger = Forger(earlier)
    forger.metrics["model"]["labels"].reverse()
    forger.sign()
    metrics = labelled(nights[1], tiny_model, earlier.parent / "out", since=str(earlier), key=("id",))
    assert metrics["since"]["why_none_kept"] == "its labels are others"


def refused(program: Program, *arguments: object) -> tuple[int, str]:
    ended = program("score", *arguments, "--max-reject-rate", 1, "--progress", "none")
    return ended.code, ended.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--since", "earlier"), "give --key, such as --key id"),
        (("--key", "id"), "give --since with an earlier output"),
        (("--since", "out", "--key", "id"), "neither can lie in the other"),
        (("--since", "out/earlier", "--key", "id"), "neither can lie in the other"),
        (("--since", ".", "--key", "id"), "neither can lie in the other"),
    ],
)
def test_options_that_contradict_each_other(
    options: tuple[str, ...],
    words: str,
    earlier: Path,
    nights: list[Path],
    tiny_model: Path,
    program: Program,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(earlier.parent)
    code, error = refused(program, nights[1], "--model", tiny_model, "--output", "out", *options)
    assert (code, words in error) == (2, True), error


def _removed(earlier: Path) -> None:
    shutil.rmtree(earlier)


def _a_file(earlier: Path) -> None:
    shutil.rmtree(earlier)
    earlier.write_text("")


def _without_its_marker(earlier: Path) -> None:
    (earlier / "_SUCCESS").unlink()


def _flipped(name: str, place: int = -200) -> Callable[[Path], None]:
    def flip(earlier: Path) -> None:
        data = bytearray((earlier / name).read_bytes())
        data[place] ^= 1
        (earlier / name).write_bytes(data)

    return flip


def _without_a_part(earlier: Path) -> None:
    (earlier / "part-00002.parquet").unlink()


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (_removed, "is not a finished output of `score`"),
        (_a_file, "is not a finished output of `score`"),
        (_without_its_marker, "is not a finished output of `score`"),
        (_flipped("_SUCCESS"), "is damaged"),
        (_flipped("_metrics.json", 0), "is not one that `score` writes"),
        (_flipped("part-00001.parquet"), "part-00001.parquet is missing, or not as it was published"),
        (_flipped("part-00001.parquet", 700), "part-00001.parquet cannot be read"),
        (_without_a_part, "part-00002.parquet is missing"),
    ],
)
def test_an_earlier_output_that_is_none_or_damaged(
    harm: Callable[[Path], None], words: str, earlier: Path, nights: list[Path], tiny_model: Path, program: Program
) -> None:
    harm(earlier)
    out = earlier.parent / "out"
    code, error = refused(program, nights[1], "--model", tiny_model, "--output", out, "--since", earlier, "--key", "id")
    assert (code, words in error) == (3, True), error
    assert not out.exists()


def test_an_earlier_output_without_the_columns_that_tell_rows(
    nights: list[Path], engine: Engine, tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    for keep, lacks in (("text", "id"), ("id", "text"), ("none", "id")):
        labelled(nights[0], tiny_model, tmp_path / keep, keep_columns=(keep,))
        options = ("--output", tmp_path / "out", "--since", tmp_path / keep, "--key", "id")
        code, error = refused(program, nights[1], "--model", tiny_model, *options)
        assert code == 3
        assert f"has no column '{lacks}', by which its rows are told" in error
        assert "label once without --since, and let --keep-columns have it" in error
    options = ("--output", tmp_path / "out", "--since", tmp_path / "text", "--key", "number")
    code, error = refused(program, nights[1], "--model", tiny_model, *options)
    assert (code, "'number'" in error) == (3, True), error


def test_a_key_of_lists_is_refused(earlier: Path, tiny_model: Path, tmp_path: Path, program: Program) -> None:
    pq.write_table(pa.table({"id": [[1]], "text": ["ok"]}), tmp_path / "lists.parquet")
    options = ("--output", tmp_path / "out", "--since", earlier, "--key", "id")
    code, error = refused(program, tmp_path / "lists.parquet", "--model", tiny_model, *options)
    assert (code, "the column 'id' holds list" in error) == (3, True), error


def test_texts_of_another_column_of_the_earlier_output_are_those_that_it_labelled(
    engine: Engine, tiny_model: Path, tmp_path: Path
) -> None:
    """It has both columns, and what it says is of `title`."""
    rows = pa.table({"id": [1, 2, 3], "title": ["ok", "bagus", "jelek"], "text": ["bagus", "ok", "jelek"]})
    pq.write_table(rows, tmp_path / "a.parquet")
    labelled(tmp_path / "a.parquet", tiny_model, tmp_path / "titles", text_column="title")
    metrics = labelled(
        tmp_path / "a.parquet", tiny_model, tmp_path / "out", since=str(tmp_path / "titles"), key=("id",)
    )
    assert metrics["since"]["rows_kept"] == 1


def test_a_job_that_is_done_needs_its_earlier_output_no_more(
    tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    """Old nights go by and by, and a scheduler may run a day again."""
    (tmp_path / "a.tsv").write_text("id\ttext\n1\tbagus\n2\tburuk\n")
    given = ("score", tmp_path / "a.tsv", "--model", tiny_model, "--output")
    assert program(*given, tmp_path / "1").code == 0
    second = (*given, tmp_path / "2", "--since", tmp_path / "1", "--key", "id")
    assert program(*second).code == 0
    (tmp_path / "1").rename(tmp_path / "gone")
    again = program(*second)
    assert (again.code, "done already" in again.err) == (0, True), again.err
    for changed in (("--key", "text"), ("--prefix", "p_"), ("--output", tmp_path / "3")):
        ended = program(*second, *changed)
        assert (ended.code, "is not a finished output of `score`" in ended.err) == (3, True)
    (tmp_path / "1").mkdir()
    assert program(*second).code == 3, "what is there is another one"
    (tmp_path / "1").rmdir()
    (tmp_path / "a.tsv").write_text("id\ttext\n1\tbagus\n2\tburuk sekali\n")
    assert program(*second).code == 3
    for identity in ("[1]", '"a"', "null", '{"options": 1}'):
        (tmp_path / "2" / "_SUCCESS").write_text(f'{{"job_id": "x", "identity": {identity}}}')
        assert program(*second).code == 3


def test_it_is_another_job_than_without(earlier: Path, nights: list[Path], tiny_model: Path, tmp_path: Path) -> None:
    out, options = tmp_path / "out", {**CUT, "since": str(earlier), "key": ("id",)}
    first = labelled(nights[1], tiny_model, out, **options)
    assert labelled(nights[1], tiny_model, out, **options) == {**first, "already_done": True}
    with pytest.raises(OutputConflict, match=r"--key id there, none here; --since [0-9a-f]{60} there, none here"):
        labelled(nights[1], tiny_model, out, **CUT)
    moved = {**options, "since": str(shutil.move(earlier, tmp_path / "moved"))}
    assert labelled(nights[1], tiny_model, out, **moved)["already_done"], "wherever it lies now"
    shutil.rmtree(tmp_path / "moved")
    labelled(nights[0], tiny_model, earlier, **CUT)
    with pytest.raises(OutputConflict, match="--since"):
        labelled(nights[1], tiny_model, out, **options)


def test_a_stopped_job_goes_on_to_the_same_bytes(
    earlier: Path, nights: list[Path], engine: Engine, tiny_model: Path, tmp_path: Path
) -> None:
    options = {**CUT, "since": str(earlier), "key": ("id",)}
    labelled(nights[1], tiny_model, tmp_path / "whole", **options)
    engine.asked, engine.stops_behind = 0, 25
    out = tmp_path / "out"
    with pytest.raises(Stopped):
        labelled(nights[1], tiny_model, out, **options)
    sealed = len([*(tmp_path / ".out.wip").glob("part-*.parquet")])
    assert 0 < sealed < 4
    engine.stops_behind = None
    aside = earlier.rename(tmp_path / "aside")
    with pytest.raises(InputError, match="is not a finished output"):
        labelled(nights[1], tiny_model, out, **options)
    aside.rename(earlier)
    metrics = labelled(nights[1], tiny_model, out, **options)
    assert metrics["run"]["resumed"]
    assert metrics["since"]["rows_kept"] + metrics["since"]["rows_scored"] == 200
    assert data_files(out) == data_files(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def test_a_part_that_is_lost_behind_all_others_is_made_again(
    earlier: Path, nights: list[Path], tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no shard left, and no index when it is found out."""
    options = {**CUT, "since": str(earlier), "key": ("id",)}
    labelled(nights[1], tiny_model, tmp_path / "whole", **options)

    def stop(*_: object) -> None:
        raise Stopped(15)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(job, "settled_parts", stop)
        with pytest.raises(Stopped):
            labelled(nights[1], tiny_model, out, **options)
    for number in (0, 2):
        _flipped(f"part-0000{number}.parquet", 700)(tmp_path / ".out.wip")
    labelled(nights[1], tiny_model, out, **options)
    assert data_files(out) == data_files(tmp_path / "whole")


@pytest.fixture
def stubbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a worker has, too."""
    stub.install_for(monkeypatch)


@pytest.mark.usefixtures("stubbed")
def test_workers_find_the_index(tmp_path: Path) -> None:
    labelled(write_dump(tmp_path / "before.tsv", 150), "stub", tmp_path / "0", **CUT)
    dump, options = write_dump(tmp_path / "dump.tsv", 200), {**CUT, "since": str(tmp_path / "0"), "key": ("id",)}
    alone = labelled(dump, "stub", tmp_path / "alone", **options)
    assert 0 < alone["since"]["rows_scored"] < alone["since"]["rows_kept"]
    two = labelled(dump, "stub", tmp_path / "two", **options, workers=2)
    assert two["since"] == alone["since"]
    assert data_files(tmp_path / "two") == data_files(tmp_path / "alone")


@pytest.mark.usefixtures("stubbed")
def test_where_the_index_is_out_of_reach_it_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is for a worker on another host."""
    labelled(write_dump(tmp_path / "before.tsv", 150), "stub", tmp_path / "0", **CUT)
    dump, options = write_dump(tmp_path / "dump.tsv", 200), {**CUT, "since": str(tmp_path / "0"), "key": ("id",)}
    alone = labelled(dump, "stub", tmp_path / "alone", **options)
    ready_job = job.ready_job

    def without_index(*given: Any, **how: Any) -> Any:
        ready = ready_job(*given, **how)
        shutil.rmtree(ready.since.known.folder)
        return ready

    monkeypatch.setattr(job, "ready_job", without_index)
    assert labelled(dump, "stub", tmp_path / "out", **options)["since"] == alone["since"]
    assert data_files(tmp_path / "out") == data_files(tmp_path / "alone")


@pytest.mark.usefixtures("stubbed")
def test_in_a_bucket(bucket: str, tmp_path: Path, program: Program) -> None:
    before, dump = write_dump(tmp_path / "before.tsv", 150), write_dump(tmp_path / "dump.tsv", 200)
    labelled(before, "stub", f"{bucket}/0", **CUT)
    labelled(before, "stub", tmp_path / "0", **CUT)
    key = {**CUT, "key": ("id",)}
    here = labelled(dump, "stub", tmp_path / "1", **key, since=str(tmp_path / "0"))
    there = labelled(dump, "stub", f"{bucket}/1", **key, since=f"{bucket}/0")
    assert there["since"] == {**here["since"], "path": f"{bucket}/0"}
    output = open_finished(f"{bucket}/1")
    assert output
    rows = pa.Table.from_batches([batch for _, batch in output.batches(output.schema().names)])
    assert rows.equals(pq.read_table(tmp_path / "1"))
    assert program("verify", f"{bucket}/1").code == 0
    with pytest.raises(InputError, match="is not a finished output"):
        labelled(dump, "stub", tmp_path / "2", **key, since=f"{bucket}/none")


@pytest.mark.usefixtures("stubbed")
def test_an_evaluation_is_no_earlier_output(tmp_path: Path, program: Program) -> None:
    (tmp_path / "split.tsv").write_text("id\ttext\tlabel\n1\tok\tpositive\n2\tbad\tnegative\n")
    evaluated = ("--model", "stub", "--output", tmp_path / "evaluation", "--progress", "none")
    assert program("evaluate", "--data", tmp_path / "split.tsv", *evaluated).code == 0
    with pytest.raises(InputError, match="is not a finished output of `score`"):
        labelled(tmp_path / "split.tsv", "stub", tmp_path / "out", since=str(tmp_path / "evaluation"), key=("id",))


@pytest.mark.parametrize(
    ("forge", "words"),
    [
        (lambda seal, since: seal["counts"].update(rows_kept=61), "says 61 rows kept, "),
        (lambda seal, since: seal["counts"].update(rows_kept="1"), "says '1' rows kept, "),
        (lambda seal, since: since.update(rows_kept=since["rows_kept"] + 1), "_metrics.json says"),
        (lambda seal, since: since.update(rows_scored=0), "_metrics.json says 0 rows_scored, "),
        (lambda seal, since: since.clear(), "_metrics.json says None rows_kept, "),
    ],
)
def test_verify_counts_what_was_kept(
    forge: Callable[[dict[str, Any], dict[str, Any]], None],
    words: str,
    earlier: Path,
    nights: list[Path],
    tiny_model: Path,
    program: Program,
) -> None:
    out = earlier.parent / "out"
    labelled(nights[1], tiny_model, out, **CUT, since=str(earlier), key=("id",))
    forger = Forger(out)
    table, seal = forger.part(1)
    forge(seal, forger.metrics["since"])
    forger.put(1, table, seal)
    forger.sign()
    ended = program("verify", out, "--skip-inputs")
    assert (ended.code, words in ended.err) == (3, True), ended.err
