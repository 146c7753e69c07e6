"""Split: the labelled texts of all files in order, or one line that says which row is in the way."""

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment_batch.config import ReadOptions
from sentiment_batch.errors import InputError
from sentiment_batch.read import split
from sentiment_batch.read.split import (
    Split,
    Splits,
    are_labels,
    describe,
    label_names,
    label_order,
    read_split,
    read_splits,
)

BLANKS = ("", " ", "\u3000\u00a0", "\r")


def put(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def put_table(path: Path, **columns: Any) -> str:
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return str(path)


def read(*paths: str, columns: tuple[str, ...] = (), limit_rows: int | None = None) -> Split:
    return read_split(paths, "label", ReadOptions(columns=columns, limit_rows=limit_rows))


def refusal(*paths: str, **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        read(*paths, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split, "_CHUNK_ROWS", 3)


def test_the_rows_of_all_files_in_order(tmp_path: Path, small_chunks: None) -> None:
    one = put(tmp_path / "b.tsv", b"text\tlabel\nc\tx\na\ty\nb\tx\nz\tx\n")
    two = put(tmp_path / "a.tsv", b"label\ttext\nz\te\ny\td\n")
    assert read(one, two) == Split(["c", "a", "b", "z", "e", "d"], ["x", "y", "x", "x", "z", "y"], 0)
    assert read(two, one).texts == ["e", "d", "c", "a", "b", "z"]


rows = st.lists(st.tuples(st.sampled_from(["b", "a", *BLANKS]), st.sampled_from("xy")), min_size=1, max_size=12)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(rows, st.sampled_from([1, 2, 5, 1000]), st.one_of(st.none(), st.integers(1, 12)))
def test_blank_texts_are_left_out_and_counted(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], chunk_rows: int, limit_rows: int | None
) -> None:
    path = put(
        tmp_path_factory.getbasetemp() / "blank.tsv",
        "".join(f"{text}\t{label}\n" for text, label in [("first", "x"), *rows]).encode(),
    )
    taken = [("first", "x"), *rows][:limit_rows]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(split, "_CHUNK_ROWS", chunk_rows)
        found = read(path, columns=("text", "label"), limit_rows=limit_rows)
    kept = [row for row in taken if row[0] not in BLANKS]
    assert list(zip(found.texts, found.labels, strict=True)) == kept
    assert found.blank == len(taken) - len(kept)


def test_a_null_text_is_blank_and_needs_no_label(tmp_path: Path) -> None:
    path = put_table(tmp_path / "a.parquet", text=["c", None, "", "a"], label=["x", None, None, "y"])
    assert read(path) == Split(["c", "a"], ["x", "y"], 2)
    assert read(put(tmp_path / "a.csv", b'text,label\nc,x\n,\n" ",\na,y\n')) == Split(["c", "a"], ["x", "y"], 2)


def test_a_text_is_taken_as_it_is(tmp_path: Path) -> None:
    assert read(put(tmp_path / "a.csv", b'text,label\n" b\r\n ",x\na,y\n')).texts == [" b\r\n ", "a"]


@pytest.mark.parametrize("row", [0, 2, 3, 6])
def test_a_row_without_a_label_is_named(tmp_path: Path, small_chunks: None, row: int) -> None:
    labels: list[str | None] = list("xyzxyzx")
    labels[row] = None
    texts = ["rahasia", "c", "", "a", "b", "e", "d"]
    texts[row] = "rahasia"
    other = put_table(tmp_path / "other.parquet", text=["z", "y"], label=["x", "y"])
    path = put_table(tmp_path / "a.parquet", text=texts, label=labels)
    message = refusal(other, path)
    assert f"{path}, row {row}: no label" in message
    assert "'label'" in message
    assert "rahasia" not in message

    body = "".join(f"{text}\t{label or ''}\n" for text, label in zip(texts, labels, strict=True))
    path = put(tmp_path / "a.tsv", f"text\tlabel\n{body}".encode())
    assert f"{path}, row {row}: no label" in refusal(path)


@pytest.mark.parametrize(
    ("name", "row", "reason"),
    [
        ("a.tsv", b"rahasia", "field_count"),
        ("a.tsv", b"rahasia \xff\tx", "invalid_utf8"),
        ("a.csv", b'"rahasia,x', "unterminated_quote"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(
    tmp_path: Path, small_chunks: None, name: str, row: bytes, reason: str
) -> None:
    comma = b"," if name.endswith("csv") else b"\t"
    good = [comma.join(pair) for pair in ((b"c", b"x"), (b"a", b"y"), (b"b", b"x"), (b"d", b"x"))]
    path = put(tmp_path / name, b"\n".join([b"text" + comma + b"label", *good, row, *good, row]))
    message = refusal(path)
    assert f"{path}, row 4: {reason}" in message
    assert "rahasia" not in message


def test_a_parquet_text_that_is_no_utf8_is_named(tmp_path: Path, small_chunks: None) -> None:
    texts = pa.array([b"c", b"a", b"b", b"d", b"\xff"]).view(pa.string())
    path = put_table(tmp_path / "a.parquet", text=texts, label=list("xyxyx"))
    assert f"{path}, row 4: invalid_utf8" in refusal(path)


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.string(), pa.dictionary(pa.int8(), pa.binary())])
def test_a_label_that_is_no_utf8_is_named(tmp_path: Path, small_chunks: None, kind: pa.DataType) -> None:
    labels = pa.array([b"x", b"y", b"x", b"x", b"\xffrahasia", b"\xfe"])
    labels = labels.view(kind) if kind == pa.string() else labels.cast(kind)
    path = put_table(tmp_path / "a.parquet", text=list("cabdef"), label=labels)
    message = refusal(path)
    assert f"{path}, row 4: the column 'label' holds no label name" in message
    assert "rahasia" not in message


@pytest.mark.parametrize("labels", [[["x"], ["y"]], [{"a": 1}, {"a": 2}]], ids=["list", "struct"])
def test_a_label_column_that_holds_no_names_is_an_input_error(tmp_path: Path, labels: list[Any]) -> None:
    path = put_table(tmp_path / "a.parquet", text=["b", "a"], label=labels)
    message = refusal(path)
    assert path in message
    assert "'label'" in message


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (pa.array(["y", None, "x"]), ["y", None, "x"]),
        (pa.array(["y", None, "x"], pa.large_string()), ["y", None, "x"]),
        (pa.array(["y", None, "x"], pa.string_view()), ["y", None, "x"]),
        (pa.array(["y", None, "x"]).dictionary_encode(), ["y", None, "x"]),
        (pa.array([2, None, 0]), ["2", None, "0"]),
        (pa.array([2, None, 0]).dictionary_encode(), ["2", None, "0"]),
        (pa.array([True, None, False]), ["true", None, "false"]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_a_label_is_a_name_whatever_its_column_holds(tmp_path: Path, labels: pa.Array, names: list[str | None]) -> None:
    assert label_names(labels, "a.parquet", 0, "label") == names
    path = put_table(tmp_path / "a.parquet", text=["b", None, "a"], label=labels)
    assert read(path) == Split(["b", "a"], [names[0], names[2]], 1)


@pytest.mark.parametrize("type", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())], ids=str)
def test_texts_of_every_type(tmp_path: Path, type: pa.DataType) -> None:
    path = put_table(tmp_path / "a.parquet", text=pa.array(["c", None, "a"], type), label=["x", "y", "z"])
    assert read(path) == Split(["c", "a"], ["x", "z"], 1)


@pytest.mark.parametrize("data", [b"text\tlabel\n", b"text\tlabel\n\tx\n \ty\n"])
def test_no_rows_with_a_text_is_an_input_error(tmp_path: Path, data: bytes) -> None:
    path = put(tmp_path / "a.tsv", data)
    assert re.search(f"{re.escape(path)}.*no rows", refusal(path))


def test_a_missing_label_column_is_named(tmp_path: Path) -> None:
    path = put(tmp_path / "a.tsv", b"text\tsentiment\nb\tx\na\ty\n")
    message = refusal(path)
    assert path in message
    assert "'label'" in message
    assert "'sentiment'" in message


def test_a_reject_is_described_without_its_text() -> None:
    reject = {
        "file": "a.tsv",
        "row": 7,
        "reason": "field_count",
        "detail": "1 fields, expected 2",
        "preview": "rahasia",
    }
    assert describe(reject) == "a.tsv, row 7: field_count (1 fields, expected 2)"


def test_a_header_line_is_no_row_to_learn_from(tmp_path: Path, small_chunks: None) -> None:
    """With --columns a file has none: `label` would become a label."""
    path = put(tmp_path / "a.tsv", b"text\tlabel\nc\tx\na\ty\n")
    assert refusal(path, columns=("text", "label")) == (
        f"{path}: its first line is a header line, which is no row; leave --columns out"
    )
    other = put(tmp_path / "b.tsv", b"c\tx\na\ty\nb\tx\ntext\tlabel\n")
    assert read(other, columns=("text", "label")).texts == ["c", "a", "b", "text"], "further down it is a row like any"
    assert read(path).texts == ["c", "a"]


def test_the_sample_splits_read_whole() -> None:
    found = read("sample:train")
    assert (len(found.texts), found.blank) == (3000, 0)
    assert sorted(set(found.labels)) == ["negative", "neutral", "positive"]


def both(folder: Path, train: list[tuple[str, str]], valid: list[tuple[str, str]]) -> Splits:
    """The splits of two files without headers."""
    paths = []
    for name, rows in (("train", train), ("valid", valid)):
        data = "".join(f"{text}\t{label}\n" for text, label in rows)
        paths.append(put(folder / f"{name}.tsv", data.encode()))
    return read_splits((paths[0],), paths[1], "label", ReadOptions(columns=("text", "label")))


def test_the_splits_have_the_labels_of_the_training_data(tmp_path: Path) -> None:
    found = both(tmp_path, [("c", "neutral"), ("a", "positive"), ("b", "negative")], [("d", "positive")])
    assert found.train == Split(["c", "a", "b"], ["neutral", "positive", "negative"], 0)
    assert found.valid == Split(["d"], ["positive"], 0)
    assert found.labels == ("positive", "neutral", "negative")


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        (["neutral", "negative", "positive", "neutral"], ("positive", "neutral", "negative")),
        (["negative", "positive"], ("positive", "negative")),
        (["neutral", "mixed", "positive"], ("mixed", "neutral", "positive")),
        (["3", "10", "1"], ("1", "10", "3")),
    ],
)
def test_the_order_of_the_labels(labels: list[str], order: tuple[str, ...]) -> None:
    assert label_order(labels) == order


def test_the_report_counts_what_makes_a_split_doubtful(tmp_path: Path) -> None:
    train = [("c", "x"), ("a", "y"), ("", "x"), ("c", "x"), ("b", "y"), ("a", "x"), ("c", "x")]
    valid = [("d", "y"), ("c", "y"), (" ", "y"), ("c", "y"), ("a", "y")]
    assert both(tmp_path, train, valid).report() == {
        "train_rows": 6,
        "valid_rows": 4,
        "train_blank": 1,
        "valid_blank": 1,
        "train_duplicates": 3,  # c twice more, a once more
        "train_contradictions": 1,  # a is x and y
        "shared_texts": 2,  # a and c
        "train_labels": {"x": 4, "y": 2},
        "valid_labels": {"x": 0, "y": 4},
    }


@pytest.mark.parametrize(
    ("train", "valid", "file", "message"),
    [
        ([("b", "x"), ("a", "x")], [("c", "x")], "train", "'x'"),
        ([("b", "Bad"), ("a", "bad")], [("c", "bad")], "train", "'Bad' and 'bad' differ in case"),
        (
            [("b", "x"), ("a", "y")],
            [("c", "x"), ("", "q"), ("d", "z")],
            "valid",
            "row 2: the label 'z' is not in the training data",
        ),
        ([(f"text {number}", str(number)) for number in range(101)], [("c", "7")], "train", "101 labels"),
    ],
)
def test_labels_that_cannot_be_learnt_are_refused(
    tmp_path: Path, train: list[tuple[str, str]], valid: list[tuple[str, str]], file: str, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        both(tmp_path, train, valid)
    assert str(caught.value).startswith(str(tmp_path / f"{file}.tsv"))


@pytest.mark.parametrize(
    ("names", "may_be_listed"),
    [(["good"], True), (["x" * 30] * 20, True), (["x" * 31], False), (["x"] * 21, False)],
)
def test_reviews_in_the_place_of_labels_are_told_from_labels(names: list[str], may_be_listed: bool) -> None:
    assert are_labels(names) is may_be_listed
