"""finished.py: the rows of an output once more, with the numbers that they have in the data."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Program, random_texts
from hypothesis import given
from hypothesis import strategies as st

from sentiment_batch.errors import InputError
from sentiment_batch.finished import Finished, open_finished, row_numbers


@given(st.lists(st.booleans(), max_size=40), st.integers(0, 100), st.integers(1, 9))
def test_rows_have_the_numbers_that_they_had_among_those_that_were_rejected(
    kept: list[bool], first: int, piece: int
) -> None:
    expected = [first + place for place, is_kept in enumerate(kept) if is_kept]
    gaps = np.array([place for place, is_kept in enumerate(kept) if not is_kept], np.int64)
    starts = range(0, len(expected), piece)
    found = [row_numbers(first, start, len(expected[start : start + piece]), gaps).tolist() for start in starts]
    assert [number for piece in found for number in piece] == expected


@pytest.fixture
def lines(tmp_path: Path) -> list[str]:
    """Of two files, some of which no Parquet row can hold."""
    texts = [text if row % 7 else f"{text}\tone field too many" for row, text in enumerate(random_texts(120))]
    for name, part in (("a.tsv", texts[:70]), ("b.tsv", texts[70:])):
        (tmp_path / name).write_text("text\n" + "".join(f"{text}\n" for text in part), encoding="utf-8")
    return texts


def scored(program: Program, model: Path, folder: Path, *others: object) -> Path:
    inputs = (folder / "a.tsv", folder / "b.tsv")
    options = ("--output", folder / "out", "--shard-rows", 30, "--max-reject-rate", 1, "--progress", "none")
    assert program("score", *inputs, "--model", model, *options, *others).code == 0
    return folder / "out"


def test_every_row_of_several_parts_has_its_place_in_all_inputs(
    lines: list[str], tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    output = open_finished(str(scored(program, tiny_model, tmp_path, "--prefix", "sb_")))
    assert output
    assert (output.command, output.labels, output.prefix) == ("score", ("positive", "neutral", "negative"), "sb_")
    assert len(output.parts) == 5
    assert output.rows() == {"rows_in": 120, "rejected": 18}
    found = [
        (int(number), text)
        for numbers, batch in output.batches(["text"])
        for number, text in zip(numbers, batch.column("text").to_pylist(), strict=True)
    ]
    assert found == [(row, text) for row, text in enumerate(lines) if row % 7]


def test_an_evaluation_is_one_part(tiny_model: Path, tmp_path: Path, program: Program) -> None:
    rows = [f"{text}\t{label}\n" for text, label in zip(random_texts(30), ["positive", "negative"] * 15, strict=True)]
    (tmp_path / "split.tsv").write_text("text\tlabel\n" + "".join(rows))
    options = ("--data", tmp_path / "split.tsv", "--output", tmp_path / "out", "--progress", "none")
    assert program("evaluate", "--model", tiny_model, *options).code == 0
    output = open_finished(str(tmp_path / "out"))
    assert output
    assert (output.command, output.rows()) == ("evaluate", {"rows_in": 30, "rejected": 0})
    (numbers, batch), *others = output.batches(["label"])
    assert (numbers.tolist(), batch.column("label").to_pylist(), others) == (
        list(range(30)),
        ["positive", "negative"] * 15,
        [],
    )
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    del metrics["model"]["labels"]
    (tmp_path / "out" / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(InputError, match=r"metrics\.json is not one that `evaluate` writes: model has no labels"):
        open_finished(str(tmp_path / "out"))


def test_what_is_no_output(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "metrics.json").write_text('{"command": "compare"}')
    for name in ("file", "missing", "empty", "other"):
        assert open_finished(str(tmp_path / name)) is None
    assert open_finished(str(tiny_model)) is None


def rows_of(output: Finished) -> int:
    return sum(len(numbers) for numbers, _ in output.batches(output.added()))


def test_a_part_that_is_not_as_it_was_is_refused(
    lines: list[str], tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    out = scored(program, tiny_model, tmp_path)
    output = open_finished(str(out))
    assert output
    assert rows_of(output) == 102
    part = out / "part-00002.parquet"
    whole = part.read_bytes()
    for damaged in (whole[:-1], whole + b" ", (out / "part-00003.parquet").read_bytes(), b""):
        part.write_bytes(damaged)
        with pytest.raises(InputError, match=r"part-00002\.parquet is missing, or not as it was published; see sent"):
            rows_of(output)
    part.write_bytes(whole)
    column = pq.ParquetFile(part).metadata.row_group(0).column(2)
    assert column.path_in_schema == "confidence"
    flipped = bytearray(whole)
    first = column.dictionary_page_offset or column.data_page_offset
    flipped[first + column.total_compressed_size - 1] ^= 1
    part.write_bytes(flipped)
    with pytest.raises(InputError, match=r"part-00002\.parquet cannot be read"):
        rows_of(output)
    part.write_bytes(whole)
    rejects = next((out / "_rejects").iterdir())
    rejects.write_text("")
    with pytest.raises(InputError, match=r"has 0 rows, \d are listed"):
        rows_of(output)


def test_a_part_without_the_columns_of_its_model_is_refused(
    lines: list[str], tiny_model: Path, tmp_path: Path, program: Program
) -> None:
    out = scored(program, tiny_model, tmp_path)
    metrics = json.loads((out / "_metrics.json").read_text())
    metrics["model"]["labels"] = ["positive", "neutral", "n_tokens"]
    (out / "_metrics.json").write_text(json.dumps(metrics))
    output = open_finished(str(out))
    assert output
    with pytest.raises(InputError, match=r"has no column 'prob_n_tokens' of float"):
        output.schema()


def test_row_groups_are_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many rows one has: `--chunk-rows` is the user's."""
    from sentiment_batch import finished

    monkeypatch.setattr(finished, "_is_listed", lambda *_: True)
    monkeypatch.setattr(finished, "read_part", lambda *_: True)
    columns = {"predicted_label": pa.array(["a"] * 100_000), "confidence": pa.array([1.0] * 100_000, pa.float32())}
    pq.write_table(pa.table({**columns, "prob_a": columns["confidence"]}), tmp_path / "part.parquet")
    part = {"name": "part.parquet", "rows_in": 100_000, "rejected": 0}
    options = {"options": {"prefix": "", "text_column": "text"}}
    model = {"model": {"labels": ["a"]}}
    store = finished.open_store(str(tmp_path))
    output = Finished(str(tmp_path), store, "evaluate", "", "", options, model, (part,))
    sizes = [len(numbers) for numbers, _ in output.batches(output.added())]
    assert max(sizes) <= 32_768
    assert sum(sizes) == 100_000
