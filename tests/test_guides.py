"""docs/*.md: the commands are the program's, the blocks run on the real engines, the arithmetic is right."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from conftest import Program

from sentiment_batch.config import ScoreOptions

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
READING = (DOCS / "reading.md").read_text(encoding="utf-8")
SIZING = (DOCS / "sizing.md").read_text(encoding="utf-8")
CHOOSING = (DOCS / "choosing.md").read_text(encoding="utf-8")
NIGHTS = ("2026-01-30", "2026-01-31")
# what a page's block does not say: a session that asks no network, with Hive's metastore in the working folder
SPARK = """
from pyspark.sql import SparkSession
spark = (
    SparkSession.builder.master("local[1]").enableHiveSupport()
    .config("spark.ui.enabled", "false").config("spark.sql.warehouse.dir", "warehouse")
    .config("spark.driver.bindAddress", "127.0.0.1").config("spark.sql.shuffle.partitions", "1").getOrCreate()
)
"""


def blocks(language: str, section: str) -> list[str]:
    """The blocks of a language in a section of docs/reading.md."""
    text = READING.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    found = re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found, f"no {language} in {section}"
    return found


@pytest.fixture(scope="module")
def nights(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the page is about: `labelled`, of two nights, with rejects, and `model`."""
    from sentiment_batch.score import score

    folder = tmp_path_factory.mktemp("nights")
    shutil.copytree(tiny_model, folder / "model")
    dump = folder / "dump.tsv"
    dump.write_text("text\tlabel\nbagus sekali\tpositive\n\tneutral\none field\nlambat\tnegative\n", encoding="utf-8")
    for night in NIGHTS:
        score(
            ScoreOptions(
                input=(str(dump),),
                model=str(folder / "model"),
                output=str(folder / "labelled" / f"day={night}"),
                max_reject_rate=1,
                shard_bytes=40,
                progress="none",
            )
        )
    return folder


def test_the_nights_have_all_that_a_reader_could_stumble_over(nights: Path) -> None:
    names = {path.name for path in (nights / "labelled" / f"day={NIGHTS[0]}").iterdir()}
    assert {"_SUCCESS", "_metrics.json", "_rejects", "part-00000.parquet", "part-00001.parquet"} <= names


@pytest.mark.parametrize("number", range(2))
def test_pandas_and_pyarrow(nights: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(nights)
    found: dict[str, object] = {}
    exec(blocks("python", "pandas and pyarrow")[number], found)
    if number == 0:
        assert len(found["night"]) == 3  # type: ignore[arg-type]
        assert len(found["nights"]) == 6  # type: ignore[arg-type]
        assert found["nights"]["day"].astype(str).unique().tolist() == list(NIGHTS)  # type: ignore[index]


def test_duckdb(nights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(nights)
    labels, figures = (duckdb.sql(each).fetchall() for each in blocks("sql", "DuckDB"))
    assert sum(row[2] for row in labels) == 4
    assert {str(row[0]) for row in labels} == set(NIGHTS)
    assert [row[1:3] for row in figures] == [(4, 1), (4, 1)]
    assert sum(share for share in figures[0][3].values()) == pytest.approx(1)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("java"), reason="Spark needs Java")
def test_spark_and_its_hive(nights: Path, tmp_path: Path) -> None:
    read, label = blocks("python", "Spark")
    ddl = "".join(blocks("sql", "Athena, Hive, Trino")).replace("s3://lake/labelled/", str(tmp_path / "labelled"))
    statements = [each for each in ddl.split(";") if each.strip()]
    script = tmp_path / "reads.py"
    script.write_text(
        f"{SPARK}{read}\n"
        "assert nights.count() == 6, nights.count()\n"
        "assert nights.where('predicted_label is null').count() == 2\n"
        f"{label}\n"
        "rows = again.selectExpr('again_predicted_label').collect()\n"
        "assert len(rows) == 6 and sum(row[0] is None for row in rows) == 2, rows\n"
        f"found = [spark.sql(each).collect() for each in {statements!r}]\n"
        "assert sum(row['reviews'] for row in found[-1]) == 4, found[-1]\n"
        f"assert {{row['day'] for row in found[-1]}} == {set(NIGHTS)!r}, found[-1]\n"
        "kinds = {kind.name: kind.dataType.simpleString() for kind in nights.schema}\n"
        "told = {row['col_name']: row['data_type'] for row in spark.sql('DESCRIBE reviews').collect()}\n"
        "del kinds['day'], told['day']\n"
        "assert {name: told[name] for name in kinds} == kinds, (told, kinds)\n"
    )
    for name in ("labelled", "model"):
        os.symlink(nights / name, tmp_path / name)
    environment = {
        **os.environ,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT),  # Spark begins Python in its own way
    }
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_the_hours_of_the_sizing_page_follow_from_its_rows_a_second() -> None:
    rows = re.findall(r"^\| [^|]+ \| [^|]+ \| ([\d,]+) \| ([\d.]+) \| ([\d,]+) \| ([\d,]+) \|$", SIZING, re.MULTILINE)
    assert len(rows) >= 5
    for speed, million, billion, core_hours in rows:
        hours = 1e9 / float(speed) / 3600
        assert million == f"{hours / 1000:.2f}"
        assert billion == f"{hours:,.0f}"
        assert core_hours == f"{2 * hours:,.0f}"
    told = r"cost (\d+) with the small model in int8 and (\d+) with BERT-base in int8"
    costs = re.findall(told, " ".join(SIZING.split()))
    assert costs == [(f"{2e9 / 617 / 3600 * 0.05:.0f}", f"{2e9 / 137 / 3600 * 0.05:.0f}")]
    assert round(1e9 / 617 / 3600 / 128) == 4
    assert "128 pairs do the billion rows of the first line in 4 hours" in " ".join(SIZING.split())


def test_what_the_sizing_page_says_was_measured_is_in_the_changelog() -> None:
    measured = " ".join((ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split())
    for speed in re.findall(r"^\| [^|]+ \| [^|]+ \| ([\d,]+) \|", SIZING, re.MULTILINE):
        assert re.search(rf"(?<![\d.]){speed}(?![\d.]*\d)", measured), speed


def test_the_defaults_of_the_choosing_page_are_the_programs() -> None:
    rows = ScoreOptions.__dataclass_fields__["shard_rows"].default
    assert f"`--shard-rows` ({rows:,}) and `--shard-bytes` (256 MiB of input)" in CHOOSING
    assert ScoreOptions.__dataclass_fields__["shard_bytes"].default == 256 * 2**20
    assert f"A billion rows** are {-(-(10**9) // rows):,} parts" in CHOOSING
    assert f"| parts of a million rows | {-(-(10**6) // rows)} |" in CHOOSING
    assert f"| {rows / 617 / 60:.0f} minutes at 617 rows/s, {rows / 137 / 60:.0f} at 137 |" in CHOOSING
    assert f"{0.025 / (rows / 617) * 100:.2f} % at 617 rows/s" in CHOOSING


def test_links_of_the_guides_lead_somewhere() -> None:
    pages = list(DOCS.glob("*.md"))
    assert len(pages) >= 3
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (DOCS / target).exists(), f"{page.name}: {target}"


def test_every_guide_is_named_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in DOCS.glob("*.md"):
        assert f"](docs/{page.name})" in readme, page.name


def test_optimize_without_a_calibration_is_understood(program: Program) -> None:
    """The choosing page advises it."""
    assert program("optimize", "--model", "nowhere").code != 2
