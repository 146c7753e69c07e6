"""Inputs that are made to fill memory or days, and files that are not what their names say.

What is measured runs in a process of its own: this file as a script, `python test_bombs.py FILE [COLUMN]`, reads it as
a job does and prints what came of it and the peak of its memory.
"""

import bz2
import gzip
import io
import json
import os
import pickle
import random
import subprocess
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.orc
import pyarrow.parquet as pq
import pytest

from sentiment_batch.errors import InputError, SentimentBatchError
from sentiment_batch.read import delimited, parquet
from sentiment_batch.read.plan import open_inputs, plan, read_chunks

MIB = 2**20
GROWTH = 64 * MIB
_CHUNK_ROWS = 32_768
ROWS = b"text\n" + b"bagus sekali\n" * 3


def read_all(path: str, columns: tuple[str, ...] = (), chunks: int = 10**9) -> dict[str, Any]:
    """What a job reads of a file with its default sizes: rows, rejects by their reason, the largest chunk."""
    inputs = open_inputs((path,), "auto", columns, ("text",))
    found: dict[str, Any] = {"rows": 0, "reasons": [], "largest": 0}
    for planned in plan(inputs, 100_000, 2**26):
        for chunk in read_chunks(inputs, planned, ("text",), "text", _CHUNK_ROWS):
            found["rows"] += chunk.rows
            found["reasons"] += [reject["reason"] for reject in chunk.rejects][:10]
            found["largest"] = max(found["largest"], parquet.as_strings(chunk.batch.column(0)).nbytes)
            chunks -= 1
            if not chunks:
                return found
    return found


def measured(path: Path, *, chunks: int = 10**9, seconds: float = 60) -> dict[str, Any]:
    """`read_all` in a process of its own, with its peak of memory and its exit code."""
    search = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, str(path), str(chunks)],
        env={**os.environ, "PYTHONPATH": search},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert ended.returncode == 0, (ended.returncode, ended.stderr[-2000:])
    return dict(json.loads(ended.stdout))


def main() -> None:
    try:
        found: dict[str, Any] = {"code": 0, **read_all(sys.argv[1], (), int(sys.argv[2]))}
    except SentimentBatchError as error:
        found = {"code": error.exit_code, "error": str(error)}
    status = Path("/proc/self/status").read_text()  # `ru_maxrss` has that of the parent in it
    found["peak"] = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    print(json.dumps(found))


@pytest.fixture(scope="session")
def small_peaks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """The peak of memory for a small file of each kind."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.tsv").write_bytes(ROWS * 100)
    pq.write_table(pa.table({"text": ["bagus"] * 1000}), folder / "small.parquet")
    return {name: measured(folder / f"small.{name}")["peak"] for name in ("tsv", "parquet")}


Say = Callable[[str], None]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    def said(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}")

    return said


def growth(found: dict[str, Any], small_peaks: dict[str, int], kind: str, say: Say, what: str) -> int:
    more = int(found["peak"]) - small_peaks[kind]
    say(f"{what}: peak {found['peak'] / MIB:.0f} MiB, {more / MIB:+.1f} MiB against a small file")
    return more


@pytest.mark.parametrize("name", ["line.tsv", "line.csv", "field.csv"])
def test_a_line_of_100_megabytes(tmp_path: Path, small_peaks: dict[str, int], say: Say, name: str) -> None:
    path = tmp_path / name
    with path.open("wb") as file:
        file.write(b"text\nbagus\n" + b'"' * name.startswith("field"))
        for _ in range(100):
            file.write(b"x" * 10**6)
        file.write(b'"' * name.startswith("field") + b"\nburuk\n")
    found = measured(path)
    assert (found["code"], found["rows"], found["reasons"]) == (0, 3, ["line_too_long"])
    assert growth(found, small_peaks, "tsv", say, f"{name} of 100 MB") <= GROWTH


def test_a_hundred_megabytes_of_lines_in_a_quote_that_is_never_closed(
    tmp_path: Path, small_peaks: dict[str, int], say: Say
) -> None:
    path = tmp_path / "open.csv"
    path.write_bytes(b'text\n"' + (b"y" * 999 + b"\n") * 100_000)
    found = measured(path)
    assert (found["code"], found["rows"], found["reasons"]) == (0, 100_000, ["unterminated_quote"])
    assert growth(found, small_peaks, "tsv", say, "100 MB behind an open quote") <= 4 * GROWTH  # a chunk is of 33 MB


def test_a_chunk_of_long_lines_has_fewer(tmp_path: Path, small_peaks: dict[str, int], say: Say) -> None:
    """150 lines of a megabyte, in an archive, which is one shard; by their number they would be one chunk."""
    path = tmp_path / "long.tsv.gz"
    noise = random.Random(0).randbytes(2**16).hex().encode() * 8
    with gzip.open(path, "wb", 1) as file:
        file.write(b"text\n")
        for _ in range(150):
            file.write(noise + b"\n")
    found = measured(path)
    assert (found["code"], found["rows"], found["reasons"]) == (0, 150, [])
    assert found["largest"] <= delimited.MAX_CHUNK_BYTES + 2 * MIB
    assert growth(found, small_peaks, "tsv", say, "150 lines of 1 MB") <= 5 * delimited.MAX_CHUNK_BYTES


def bombs(path: Path, suffix: str, megabytes: int) -> Path:
    """An archive that unpacks to a thousand times its size."""
    block = b"bagus sekali\n" * 80_660  # a MiB
    with path.open("wb") as file:
        if suffix == ".bz2":
            file.write(bz2.compress(b"text\n"))
            file.write(bz2.compress(block) * megabytes)
            return path
        if suffix == ".zst":
            with pa.CompressedOutputStream(file, "zstd") as stream:
                stream.write(b"text\n")
                for _ in range(megabytes):
                    stream.write(block)
            return path
        packer = zlib.compressobj(9, wbits=31)
        file.write(packer.compress(b"text\n"))
        for _ in range(megabytes):
            file.write(packer.compress(block))
        file.write(packer.flush())
    return path


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".zst"])
def test_an_archive_that_unpacks_to_hundreds_of_times_its_size(
    tmp_path: Path, small_peaks: dict[str, int], say: Say, suffix: str
) -> None:
    path = bombs(tmp_path / f"bomb.tsv{suffix}", suffix, 80)
    ratio = 80 * MIB / path.stat().st_size
    found = measured(path)
    assert ratio > 201
    assert found["code"] == 3
    assert f"{path} unpacks to more than 200 times its size" in found["error"]
    assert growth(found, small_peaks, "tsv", say, f"{suffix} of {ratio:.0f}:1") <= GROWTH


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_an_archive_that_packs_well_because_it_is_small_is_read(tmp_path: Path, suffix: str) -> None:
    path = bombs(tmp_path / f"same.tsv{suffix}", suffix, 3)
    assert 3 * MIB / path.stat().st_size > 200
    assert read_all(str(path))["rows"] == 3 * 80_660


PACK: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": lambda data: pa.Codec("zstd").compress(data, asbytes=True),
}
suffixes = pytest.mark.parametrize("suffix", PACK)


@suffixes
def test_all_members_of_an_archive_are_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"many.tsv{suffix}"
    pieces = [ROWS, b"a\nb", b"c\n", b"d"]
    if suffix != ".bz2":  # one without data stops Arrow with an error there; the file is refused
        pieces.insert(2, b"")
    path.write_bytes(b"".join(map(PACK[suffix], pieces)))
    assert read_all(str(path))["rows"] == 6, "a row may begin in one member and end in the next"


def wrong_checksum(packed: bytes) -> bytes:
    return packed[:-6] + bytes([packed[-6] ^ 1]) + packed[-5:]


def planned(path: Path) -> None:
    plan(open_inputs((str(path),), "auto", (), ("text",)), 100, 2**26)


@suffixes
@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data[: len(data) // 2], lambda data: data + b"garbage", "checksum"]
)
def test_an_archive_that_is_damaged_is_refused_before_a_row_is_labelled(
    tmp_path: Path, suffix: str, damage: Any
) -> None:
    if damage == "checksum" and suffix == ".zst":
        pytest.skip("Arrow writes no checksum into a frame")
    path = tmp_path / f"damaged.tsv{suffix}"
    packed = PACK[suffix](ROWS)
    path.write_bytes(wrong_checksum(packed) if damage == "checksum" else damage(packed))
    with pytest.raises(InputError, match="cannot be read near byte") as caught:
        planned(path)
    assert str(path) in str(caught.value)


def zipped(name: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, ROWS)
    return stream.getvalue()


def written(write: Callable[[pa.Table, Any], None]) -> bytes:
    stream = io.BytesIO()
    write(pa.table({"text": ["bagus", "buruk"] * 50}), stream)
    return stream.getvalue()


def arrow_stream(table: pa.Table, stream: Any) -> None:
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)


def tar() -> bytes:
    import tarfile

    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        member = tarfile.TarInfo("dump.tsv")
        member.size = len(ROWS)
        archive.addfile(member, io.BytesIO(ROWS))
    return stream.getvalue()


DISGUISED: dict[str, Callable[[], bytes]] = {
    "a zip archive": lambda: zipped("dump.tsv"),
    "an Excel workbook": lambda: zipped("[Content_Types].xml"),
    "a tar archive": tar,
    "an Arrow or Feather file": lambda: written(pyarrow.feather.write_feather),
    "a Feather file": lambda: written(lambda table, stream: pyarrow.feather.write_feather(table, stream, version=1)),
    "an Arrow stream": lambda: written(arrow_stream),
    "ORC": lambda: written(pyarrow.orc.write_table),
    "a Python pickle": lambda: pickle.dumps({"text": ["bagus"] * 3}),
    "gzip": lambda: gzip.compress(ROWS),
    "bzip2": lambda: bz2.compress(ROWS),
    "Zstandard": lambda: PACK[".zst"](ROWS),
    "Parquet": lambda: written(pq.write_table),
    "an SQLite database": lambda: b"SQLite format 3\0" + bytes(80),
    "a NumPy array": lambda: b"\x93NUMPY\x01\0" + bytes(80),
    "UTF-16": lambda: ROWS.decode().encode("utf-16"),
    "UTF-32": lambda: ROWS.decode().encode("utf-32"),
}


@pytest.mark.parametrize("what", DISGUISED)
@pytest.mark.parametrize("name", ["dump.tsv", "dump.csv", "dump.parquet", "dump.tsv.gz", "packed.tsv.gz"])
@pytest.mark.parametrize("columns", [(), ("text",)])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_file_that_is_something_else_is_told_what_it_looks_like(
    tmp_path: Path, what: str, name: str, columns: tuple[str, ...]
) -> None:
    path = tmp_path / name
    content = DISGUISED[what]()
    if (what, path.suffix) in (("Parquet", ".parquet"), ("gzip", ".gz")) and not name.startswith("packed"):
        pytest.skip("it is what it says")
    path.write_bytes(gzip.compress(content) if name.startswith("packed") else content)
    with pytest.raises(InputError, match=f"looks like {what}, not ") as caught:
        open_inputs((str(path),), "auto", columns, ("text",))
    assert str(path) in str(caught.value)
    assert "first" in str(caught.value) or ".gz" in str(caught.value) or "ending" in str(caught.value)


WORDS = {
    "Latin": "bagus sekali, tempatnya bersih",
    "Chinese": "非常好吃, 還會再來",
    "Russian": "очень хорошо",
    "Thai": "อร่อย มาก",
    "Arabic": "جيد جدا",
    "Japanese": "とてもおいしい",
}


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("columns", [(), ("id", "text")])
def test_wide_text_with_and_without_a_mark(tmp_path: Path, words: str, encoding: str, columns: tuple[str, ...]) -> None:
    path = tmp_path / "wide.tsv"
    text = "id\ttext\n" + f"1\t{WORDS[words]}\n" * 50
    path.write_text(text, "utf-8", newline="")
    assert read_all(str(path), columns)["rows"] == 51 - (not columns)
    path.write_text(text, encoding, newline="")
    with pytest.raises(InputError, match=f"looks like {encoding[:6].upper()}, .* iconv -f {encoding[:6].upper()}"):
        read_all(str(path), columns)


@pytest.mark.parametrize("first", ["ORC", "PAR1", "BZh", "PK", "FEA1", "Obj", "ARROW1"])
def test_a_word_is_no_sign_of_another_format(tmp_path: Path, first: str) -> None:
    path = tmp_path / "words.tsv"
    path.write_text(f"{first}\ttext\nORC\tbagus\n")
    assert read_all(str(path))["rows"] == 1


def one_value(path: Path, length: int, rows: int, **options: Any) -> Path:
    """One text, `rows` times: a dictionary of one value and a run of indices."""
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), ["x" * length])
    schema = pa.schema([("text", text.type if options.pop("as_dictionary", False) else pa.string())])
    with pq.ParquetWriter(path, schema, compression="zstd", **options) as writer:
        table = pa.table({"text": text}) if pa.types.is_dictionary(schema.field(0).type) else None
        if table is None:
            plain = pa.array(["x" * length] * 1000, pa.string())
            writer.write_table(pa.table({"text": pa.chunked_array([plain] * (rows // 1000))}), row_group_size=rows)
        else:
            chunked = pa.chunked_array([text] * (rows // 1000))
            writer.write_table(pa.table({"text": chunked}), row_group_size=rows)
    return path


@pytest.mark.parametrize("as_dictionary", [True, False])
def test_one_long_value_in_every_row_of_a_parquet_file(
    tmp_path: Path, small_peaks: dict[str, int], say: Say, as_dictionary: bool
) -> None:
    """A megabyte, 100,000 times: 100 GB in a file of kilobytes. It may be read, a bounded piece at a time."""
    length = 10**6 if as_dictionary else 10_000
    rows = 100_000 if as_dictionary else 20_000
    path = one_value(tmp_path / "one.parquet", length, rows, as_dictionary=as_dictionary)
    assert path.stat().st_size < 10**6
    found = measured(path, chunks=3)
    assert found["code"] == 0
    assert 0 < found["largest"] <= parquet.MAX_CHUNK_BYTES + MIB
    assert growth(found, small_peaks, "parquet", say, f"{rows:,} x {length:,} bytes") <= 4 * parquet.MAX_CHUNK_BYTES


def test_values_that_share_their_beginnings(tmp_path: Path, small_peaks: dict[str, int], say: Say) -> None:
    """Each value is the one before it and a letter more: quadratic, unpacked."""
    path = tmp_path / "delta.parquet"
    texts = ["x" * 100_000 + str(number) for number in range(2_000)]
    options: dict[str, Any] = {"use_dictionary": False, "column_encoding": {"text": "DELTA_BYTE_ARRAY"}}
    pq.write_table(pa.table({"text": texts}), path, **options)
    assert path.stat().st_size < 10**6
    found = measured(path)
    assert (found["code"], found["rows"]) == (0, 2_000)
    assert found["largest"] <= parquet.MAX_CHUNK_BYTES + MIB
    assert growth(found, small_peaks, "parquet", say, "2,000 x 100 kB by differences") <= 4 * parquet.MAX_CHUNK_BYTES


@pytest.mark.parametrize("as_dictionary", [True, False])
def test_long_values_come_in_order_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_dictionary: bool
) -> None:
    """The same cuts, small enough to look at every row."""
    monkeypatch.setattr(parquet, "MAX_CHUNK_BYTES", 1000)
    texts = [f"{number:03d}" * (1 + number * 7 % 60) for number in range(100)]
    column = pa.array(texts).dictionary_encode() if as_dictionary else pa.array(texts)
    path = tmp_path / "long.parquet"
    pq.write_table(pa.table({"text": column}), path, row_group_size=13)
    inputs = open_inputs((str(path),), "auto", (), ("text",))
    found = []
    for planned in plan(inputs, 50, 2**26):
        for chunk in read_chunks(inputs, planned, ("text",), "text", 40):
            values = parquet.as_strings(chunk.batch.column(0)).to_pylist()
            assert len(values) == 1 or sum(map(len, values)) <= 1000
            found += values
    assert found == texts


def varint(number: int) -> bytes:
    """Zigzag, as Thrift's compact protocol has it."""
    number, data = number << 1, b""
    while number > 0x7F:
        data += bytes([number & 0x7F | 0x80])
        number >>= 7
    return data + bytes([number])


def forged(path: Path, replace: Callable[[bytes], bytes]) -> Path:
    """The file with another footer, whose length is right."""
    data = path.read_bytes()
    length = int.from_bytes(data[-8:-4], "little")
    footer = replace(data[-8 - length : -8])
    assert footer != data[-8 - length : -8]
    path.write_bytes(data[: -8 - length] + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    return path


def three_rows(path: Path) -> Path:
    pq.write_table(pa.table({"text": ["a", "b", "c"]}), path, use_dictionary=False, write_statistics=False)
    return path


@pytest.mark.parametrize("rows", [2**32, 2**40, 2**62, 2**63 - 1])
def test_a_footer_that_declares_rows_without_end(tmp_path: Path, rows: int) -> None:
    """To plan them alone would take all memory."""
    declared = b"\x16" + varint(rows)
    path = forged(three_rows(tmp_path / "a.parquet"), lambda footer: footer.replace(b"\x16\x06", declared))
    began = time.perf_counter()
    with pytest.raises(InputError, match=r"a\.parquet"):
        read_all(str(path))
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("rows", [0, 1, 2, 4, 1000, 10**6])
def test_a_footer_that_declares_other_rows(tmp_path: Path, rows: int) -> None:
    declared = b"\x16" + varint(rows)
    path = forged(three_rows(tmp_path / "a.parquet"), lambda footer: footer.replace(b"\x16\x06", declared))
    with pytest.raises(InputError, match=r"a\.parquet"):
        read_all(str(path))


def test_a_footer_that_contradicts_itself(tmp_path: Path) -> None:
    path = forged(
        three_rows(tmp_path / "a.parquet"), lambda footer: footer.replace(b"\x16\x06", b"\x16" + varint(9), 1)
    )
    with pytest.raises(InputError, match=r"a\.parquet.* 9 rows and 3 in row groups"):
        read_all(str(path))


def test_a_name_of_any_length_is_not_allocated(tmp_path: Path) -> None:
    """Thrift strings carry their lengths: one of 2 GB is not believed."""
    for length in (2**20, 2**27, 2**31 - 1):
        path = three_rows(tmp_path / "a.parquet")
        raw, data = length, b""
        while raw > 0x7F:
            data += bytes([raw & 0x7F | 0x80])
            raw >>= 7
        data += bytes([raw])
        forged(path, lambda footer, data=data: footer.replace(b"\x18\x04text", b"\x18" + data + b"text"))
        with pytest.raises(InputError, match=r"a\.parquet is not a whole Parquet file"):
            read_all(str(path))


def test_a_row_group_that_unpacks_to_more_than_its_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"text": [f"{number:0100d}" for number in range(1000)], "other": ["x" * 1000] * 1000})
    pq.write_table(table, path, row_group_size=500, use_dictionary=False)
    monkeypatch.setattr(parquet, "MAX_GROUP_BYTES", 60_000)
    assert read_all(str(path))["rows"] == 1000, "only the columns that are read count"
    monkeypatch.setattr(parquet, "MAX_GROUP_BYTES", 50_000)
    with pytest.raises(InputError, match=r"a\.parquet, .*row group 0: unpacks to .* smaller row groups"):
        read_all(str(path))


def test_a_gibibyte_of_one_letter_in_one_page_is_refused_by_its_footer(
    tmp_path: Path, small_peaks: dict[str, int], say: Say
) -> None:
    """42.parquet in small: pages that pack a thousand to one; the cap is on what the footer declares."""
    path = tmp_path / "wide.parquet"
    text = pa.array(["x" * 2**20] * 64)
    with pq.ParquetWriter(path, pa.schema([("text", pa.string())]), compression="zstd", use_dictionary=False) as writer:
        writer.write_table(pa.table({"text": pa.chunked_array([text] * 33)}), row_group_size=10**6)
    assert path.stat().st_size < 2 * MIB
    found = measured(path)
    assert found["code"] == 3
    assert "unpacks to" in found["error"]
    assert growth(found, small_peaks, "parquet", say, "2.1 GB in one row group") <= GROWTH


if __name__ == "__main__":
    main()
