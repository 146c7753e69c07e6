"""The embedded reviews are what their README says."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from conftest import LABELS, SAMPLE, sample_rows

ROOT = Path(__file__).parents[1]
SPLITS = ("train", "valid", "test")


def sentences(split: str) -> set[str]:
    """Every sentence, in lower case and without punctuation."""
    found = set()
    for text, _ in sample_rows(split):
        for sentence in re.split(r"[.!?\n]+", text.lower()):
            words = re.findall(r"\w+", sentence)
            if len(words) > 2:
                found.add(" ".join(words))
    return found


def test_at_least_3000_reviews_in_three_classes() -> None:
    assert sum(len(sample_rows(split)) for split in SPLITS) >= 3000
    for split in SPLITS:
        assert set(Counter(label for _, label in sample_rows(split))) == set(LABELS)


def test_no_review_and_no_sentence_is_in_two_splits() -> None:
    for one, other in (("train", "valid"), ("train", "test"), ("valid", "test")):
        assert not {text for text, _ in sample_rows(one)} & {text for text, _ in sample_rows(other)}
        assert not sentences(one) & sentences(other)


def test_the_generator_writes_these_files(tmp_path: Path) -> None:
    """Byte for byte, whatever seed the hash tables have."""
    script = tmp_path / "scripts" / "make_sample.py"
    script.parent.mkdir()
    script.write_bytes((ROOT / "scripts" / "make_sample.py").read_bytes())
    subprocess.run([sys.executable, str(script)], check=True, env={"PYTHONHASHSEED": "7"}, stdout=subprocess.DEVNULL)
    for split in SPLITS:
        made = tmp_path / "sentiment_batch" / "sample" / f"{split}.tsv"
        assert made.read_bytes() == (SAMPLE / f"{split}.tsv").read_bytes()


@pytest.fixture(scope="module")
def dumps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dumps")
    script = ROOT / "scripts" / "make_dump.py"
    subprocess.run(
        [sys.executable, str(script), "--rows", "20000", "--output-folder", str(folder)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return folder


def test_the_demos_dump_has_what_dumps_have(dumps: Path) -> None:
    table = pq.read_table(dumps / "dump.parquet")
    texts = table.column("text").to_pylist()
    assert table.num_rows == 20_000
    assert {"review_id", "created_at", "source", "text"} <= set(table.schema.names)
    assert texts.count(None) > 10
    assert sum(text is not None and not text.strip() for text in texts) > 10
    known = [text for text in texts if text]
    assert 0.05 < 1 - len(set(known)) / len(known) < 0.3, "repeats"
    for mark in ('"', "'", "\\", "🙂|👍|😍|😭|😡|❤|🔥"):
        assert sum(bool(re.search(re.escape(mark) if len(mark) == 1 else mark, text)) for text in known) > 10
    assert max(len(text.split()) for text in known) >= 3000


def test_the_tsv_dump_has_the_same_rows(dumps: Path) -> None:
    table = pq.read_table(dumps / "dump.parquet")
    lines = (dumps / "dump.tsv").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    header, *rows = (line.split("\t") for line in lines)
    assert header == table.schema.names
    position = header.index("text")
    assert [row[position] for row in rows] == [text or "" for text in table.column("text").to_pylist()]
