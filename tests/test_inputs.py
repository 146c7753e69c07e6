"""Inputs: which files a path means, in which order, and what is refused before a row is read."""

import bz2
import errno
import gzip
import hashlib
import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from conftest import time_limit

import sentiment_batch
from sentiment_batch.errors import InputError, SentimentBatchError, UsageError
from sentiment_batch.read.inputs import (
    InputFile,
    byte_blocks,
    check_is_text,
    check_unchanged,
    find_inputs,
    range_sha256,
)

MIB = 2**20
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": lambda data: gzip.compress(data, 1),
    ".bz2": lambda data: bz2.compress(data, 1),
    ".zst": lambda data: pa.Codec("zstd").compress(data, asbytes=True),
}
DATA = b"".join(b"baris %d\tbagus\n" % (number * 7919 % 10_007) for number in range(2_000))  # 31 kB in no order

suffixes = pytest.mark.parametrize("suffix", COMPRESS)
compressed = pytest.mark.parametrize("suffix", [suffix for suffix in COMPRESS if suffix])


def put(path: Path, data: bytes = b"text\nbagus\n") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path)


def found(*paths: str | Path, format: str = "auto") -> list[str]:
    return [file.path for file in find_inputs([str(path) for path in paths], format)]


def one(path: str | Path) -> InputFile:
    (file,) = find_inputs([str(path)])
    return file


def test_the_files_come_in_the_order_given(tmp_path: Path) -> None:
    paths = [put(tmp_path / name) for name in ("b.tsv", "c.tsv", "a.tsv")]
    assert found(*paths) == paths
    assert found(*reversed(paths)) == paths[::-1]


def test_a_glob_is_sorted_and_has_files_only(tmp_path: Path) -> None:
    for name in ("b.tsv", "a.tsv", "c.csv", "deep/d.tsv", "folder.tsv/e.txt"):
        put(tmp_path / name)
    assert found(tmp_path / "*.tsv") == [str(tmp_path / "a.tsv"), str(tmp_path / "b.tsv")]
    assert found(tmp_path / "[bc].tsv") == [str(tmp_path / "b.tsv")]
    assert found(tmp_path / "**/?.tsv") == [str(tmp_path / name) for name in ("a.tsv", "b.tsv", "deep/d.tsv")]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path: Path) -> None:
    path = put(tmp_path / "a[1].tsv")
    put(tmp_path / "a1.tsv")
    assert found(path) == [path]


def test_a_folder_is_searched_to_its_bottom_without_what_is_not_data(tmp_path: Path) -> None:
    wanted = ["a.tsv", "day=01/b.tsv", "day=01/x/c.tsv", "day=02/a.tsv", "z.tsv"]
    hidden = ["_SUCCESS", ".a.tsv.crc", "_temporary/0/d.tsv", ".hidden/e.tsv", "day=01/_f.tsv", "day=01/.g.tsv"]
    for name in sorted([*wanted, *hidden], key=lambda name: hashlib.md5(name.encode()).digest()):
        put(tmp_path / name)
    assert found(tmp_path) == [str(tmp_path / name) for name in wanted]
    assert found(f"{tmp_path}/") == found(tmp_path)


def test_a_folder_whose_own_name_is_hidden_is_searched_if_it_is_given(tmp_path: Path) -> None:
    path = put(tmp_path / "_export" / "a.tsv")
    assert found(tmp_path / "_export") == [path]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("absent.tsv", "no such file"),
        ("*.csv", "no file matches"),
        ("empty", "no data files"),
        ("hidden", "no data files"),
        ("sample:all", "sample:train"),
    ],
)
def test_a_path_without_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, message: str):
    (tmp_path / "empty").mkdir()
    put(tmp_path / "hidden" / "_a.tsv")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        find_inputs([given])
    assert given in str(caught.value)


def test_the_samples_are_inside_the_package() -> None:
    files = find_inputs(["sample:train", "sample:valid", "sample:test"])
    folder = Path(sentiment_batch.__file__).parent / "sample"
    assert [file.path for file in files] == [str(folder / f"{split}.tsv") for split in ("train", "valid", "test")]
    assert {file.format for file in files} == {"tsv"}


@pytest.mark.parametrize(
    ("name", "format", "compression"),
    [
        ("a.tsv", "tsv", None),
        ("a.tab", "tsv", None),
        ("a.csv", "csv", None),
        ("a.parquet", "parquet", None),
        ("a.pq", "parquet", None),
        ("A.TSV", "tsv", None),
        ("a.tsv.gz", "tsv", "gzip"),
        ("a.csv.zst", "csv", "zstd"),
        ("a.csv.bz2", "csv", "bz2"),
        ("a.b.CSV.GZ", "csv", "gzip"),
    ],
)
def test_the_name_tells_the_format(tmp_path: Path, name: str, format: str, compression: str | None) -> None:
    file = one(put(tmp_path / name))
    assert (file.format, file.compression) == (format, compression)


@pytest.mark.parametrize("name", ["a.txt", "a", "a.gz", "a.tsv.zip", "tsv", "a.txt.gz"])
def test_a_name_that_tells_no_format_needs_the_option(tmp_path: Path, name: str) -> None:
    path = put(tmp_path / name)
    with pytest.raises(UsageError, match="--format") as caught:
        find_inputs([path])
    assert path in str(caught.value)
    (file,) = find_inputs([path], "csv")
    assert (file.format, file.compression) == ("csv", "gzip" if name.endswith(".gz") else None)


def test_the_option_beats_the_name(tmp_path: Path) -> None:
    (file,) = find_inputs([put(tmp_path / "a.csv")], "tsv")
    assert file.format == "tsv"


def test_a_packed_parquet_file_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "a.parquet.gz")
    with pytest.raises(InputError, match="unpack it") as caught:
        find_inputs([path])
    assert path in str(caught.value)


def test_mixed_formats_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "a.tsv")
    put(tmp_path / "b.csv")
    with pytest.raises(InputError, match="mix csv and tsv"):
        find_inputs([str(tmp_path)])


def test_a_file_is_read_once_by_whatever_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "data" / "a.tsv")
    other = put(tmp_path / "data" / "b.tsv")
    (tmp_path / "link.tsv").symlink_to(path)
    (tmp_path / "folder").symlink_to(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    for again in (path, "data/a.tsv", "data/../data/a.tsv", "link.tsv", "folder/a.tsv", "data/*.tsv", "data"):
        with pytest.raises(InputError, match="the same file") as caught:
            find_inputs([other, path, again])
        assert ".tsv" in str(caught.value)
    assert found(other, "link.tsv") == [other, "link.tsv"]


def test_the_identity_is_the_content_without_the_folder(tmp_path: Path) -> None:
    data = bytes(range(256)) * 1024  # 256 KiB
    path = Path(put(tmp_path / "x" / "a.tsv", data))
    os.utime(path, ns=(5, 7))
    identity = one(path).identity()
    edges = hashlib.sha256(data[: 64 * 1024] + data[-64 * 1024 :]).hexdigest()
    assert identity == {"format": "tsv", "name": "a.tsv", "size": len(data), "mtime_ns": 7, "edges_sha256": edges}

    path.rename(tmp_path / "a.tsv")
    assert one(tmp_path / "a.tsv").identity() == identity
    for changed in (b"x" + data[1:], data[:-1] + b"x"):
        other = Path(put(tmp_path / "y" / "a.tsv", changed))
        os.utime(other, ns=(5, 7))
        assert one(other).identity()["edges_sha256"] != edges


def test_a_file_that_may_not_be_read_is_an_input_error(tmp_path: Path) -> None:
    path = put(tmp_path / "a.tsv")
    os.chmod(path, 0)
    if os.access(path, os.R_OK):
        pytest.skip("root reads everything")
    with pytest.raises(InputError, match=r"a\.tsv"):
        find_inputs([path])


def test_a_file_that_is_the_same_is_unchanged(tmp_path: Path) -> None:
    check_unchanged(one(put(tmp_path / "a.tsv")))


def grow(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(b"x\n")
    os.utime(path, ns=(5, 5))


def replace(path: Path) -> None:
    path.write_bytes(b"text\nburuk\n")
    os.utime(path, ns=(5, 6))


@pytest.mark.parametrize("change", [grow, replace, Path.unlink])
def test_a_file_that_changed_is_refused(tmp_path: Path, change: Callable[[Path], None]) -> None:
    path = put(tmp_path / "a.tsv")
    os.utime(path, ns=(5, 5))
    file = one(path)
    change(Path(path))
    with pytest.raises(InputError, match="during the run") as caught:
        check_unchanged(file)
    assert path in str(caught.value)


@suffixes
@pytest.mark.parametrize(
    ("start", "stop"), [(0, None), (0, 0), (0, 1), (1, 2), (9, 20_000), (20_000, None), (5, 5), (0, 10**9)]
)
def test_blocks_are_a_slice_of_the_unpacked_bytes(tmp_path: Path, suffix: str, start: int, stop: int | None) -> None:
    file = one(put(tmp_path / f"a.tsv{suffix}", COMPRESS[suffix](DATA)))
    assert b"".join(byte_blocks(file, start, stop)) == DATA[start:stop]


@suffixes
def test_blocks_are_of_one_mib_at_most(tmp_path: Path, suffix: str) -> None:
    data = DATA * 40
    file = one(put(tmp_path / f"a.tsv{suffix}", COMPRESS[suffix](data)))
    blocks = list(byte_blocks(file, 1, len(data) - 1))
    assert b"".join(blocks) == data[1:-1]
    assert max(map(len, blocks)) <= MIB


@suffixes
@pytest.mark.parametrize("beyond", [0, 1, 1000])
def test_from_the_end_of_the_file_on_there_is_nothing(tmp_path: Path, suffix: str, beyond: int) -> None:
    """The row behind a header line without a line feed begins one byte behind the end."""
    file = one(put(tmp_path / f"a.tsv{suffix}", COMPRESS[suffix](b"text")))
    with time_limit(1):
        assert list(byte_blocks(file, 4 + beyond)) == []


@compressed
def test_all_members_of_an_archive_are_read(tmp_path: Path, suffix: str) -> None:
    pack = COMPRESS[suffix]
    for cut in (1, 777, len(DATA) - 1):
        file = one(put(tmp_path / f"a.tsv{suffix}", pack(DATA[:cut]) + pack(DATA[cut:])))
        assert b"".join(byte_blocks(file)) == DATA


def test_a_gzip_member_without_data_ends_nothing(tmp_path: Path) -> None:
    pack = COMPRESS[".gz"]  # block gzip ends each file with one, so that joined files have them inside
    file = one(put(tmp_path / "a.tsv.gz", pack(b"") + pack(DATA) + pack(b"") + pack(DATA) + pack(b"")))
    assert b"".join(byte_blocks(file)) == DATA * 2


@compressed
def test_an_archive_that_is_cut_short_is_refused_wherever_it_is_cut(tmp_path: Path, suffix: str) -> None:
    packed = COMPRESS[suffix](DATA[:300])
    path = tmp_path / f"a.tsv{suffix}"
    for length in range(1, len(packed)):
        file = one(put(path, packed[:length]))
        with pytest.raises(InputError, match="cannot be read near byte") as caught:
            list(byte_blocks(file))
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(("suffix", "behind"), [(".gz", 8), (".gz", 5), (".gz", 1), (".bz2", 4)])
def test_an_archive_with_a_wrong_checksum_is_refused(tmp_path: Path, suffix: str, behind: int) -> None:
    packed = bytearray(COMPRESS[suffix](DATA))
    packed[-behind] ^= 1
    path = put(tmp_path / f"a.tsv{suffix}", bytes(packed))
    with pytest.raises(InputError, match="cannot be read") as caught:
        list(byte_blocks(one(path)))
    assert path in str(caught.value)


@compressed
@pytest.mark.parametrize("first", [400_000, 3 * MIB])
def test_damage_behind_the_first_member_of_an_archive_is_told_where_it_is(
    tmp_path: Path, suffix: str, first: int
) -> None:
    noise = random.Random(0).randbytes(first)
    whole, pack = COMPRESS[suffix](noise), COMPRESS[suffix]
    path = put(tmp_path / f"a.tsv{suffix}", whole + pack(DATA)[:40] + bytes(40))
    with pytest.raises(InputError, match=r"cannot be read near byte \d+ \(behind byte \d+ unpacked\)") as caught:
        list(byte_blocks(one(path)))
    packed, unpacked = map(int, re.findall(r"byte (\d+)", str(caught.value)))
    assert len(whole) <= packed <= os.path.getsize(path)
    assert first - MIB < unpacked <= first


@compressed
def test_what_is_no_archive_is_refused(tmp_path: Path, suffix: str) -> None:
    path = put(tmp_path / f"a.tsv{suffix}", DATA)
    with pytest.raises(InputError, match=r"cannot be read near byte \d+ \(behind byte 0 unpacked\)") as caught:
        list(byte_blocks(one(path)))
    assert path in str(caught.value)


def test_a_file_that_went_away_is_an_input_error(tmp_path: Path) -> None:
    file = one(put(tmp_path / "a.tsv"))
    os.unlink(file.path)
    with pytest.raises(InputError, match=r"a\.tsv"):
        list(byte_blocks(file))


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (0, 10), (3, 17), (MIB - 1, 2 * MIB + 3), (0, 10**9)])
def test_the_hash_of_a_range_is_of_the_bytes_on_the_disk(tmp_path: Path, start: int, stop: int) -> None:
    data = DATA * 80
    file = one(put(tmp_path / "a.csv", data))
    assert range_sha256(file, start, stop) == hashlib.sha256(data[start:stop]).hexdigest()


def test_a_hard_link_is_the_same_file(tmp_path: Path) -> None:
    path = put(tmp_path / "a.tsv")
    os.link(path, tmp_path / "b.tsv")
    for given in ([path, str(tmp_path / "b.tsv")], [str(tmp_path)]):
        with pytest.raises(InputError, match=r"b\.tsv is the same file as .*a\.tsv"):
            find_inputs(given)
    put(tmp_path / "c.tsv", Path(path).read_bytes())
    assert len(found(path, tmp_path / "c.tsv")) == 2, "the same bytes are not the same file"


def test_what_is_left_out_of_a_folder_is_said_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("a.tsv", "x/b.tsv", "_SUCCESS", ".a.tsv.crc", "_temporary/0/c.tsv", "x/_started", "_metadata"):
        put(tmp_path / name)
    caplog.set_level("INFO")
    assert len(found(tmp_path)) == 2
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"{tmp_path}: 5 left out")
    assert line.endswith("'.a.tsv.crc', '_SUCCESS', '_metadata', '_started', '_temporary'")
    put(tmp_path / "_more")
    caplog.clear()
    assert len(found(tmp_path)) == 2
    assert caplog.records[0].getMessage().endswith(", ...")


def test_nothing_is_said_where_nothing_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    put(tmp_path / "a.tsv")
    found(tmp_path)
    found(tmp_path / "*.tsv")
    found(tmp_path / "a.tsv")
    assert caplog.records == []


def test_columns_in_the_names_of_folders_are_said_to_be_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = [f"lake/year=2026/day={day}/{part}.tsv" for day in (1, 2) for part in "ab"]
    for name in [*names, "lake/kind=x/c.tsv", "other/a=b.tsv"]:
        put(tmp_path / name)
    for given, columns in (
        ("lake", "'day', 'kind', 'year'"),
        ("lake/year=2026", "'day'"),
        ("lake/year=*/day=*/a.tsv", "'day', 'year'"),
        ("lake/year=2026/**/a.tsv", "'day'"),
    ):
        caplog.clear()
        found(tmp_path / given)
        (line,) = caplog.records
        assert line.getMessage().startswith(f"{tmp_path / given}: the names of its folders are no columns")
        assert f"do not get {columns};" in line.getMessage()
    caplog.clear()
    for given in ("lake/year=2026/day=1", "lake/kind=x/*.tsv", "lake/year=2026/day=2/a.tsv", "other"):
        found(tmp_path / given)
    assert caplog.records == [], "who names a folder knows its name"


def test_what_is_left_out_of_a_pattern_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    for name in ("a.tsv", "_b.tsv"):
        put(tmp_path / name)
    assert found(tmp_path / "*.tsv") == [str(tmp_path / "a.tsv")]
    assert "_b.tsv" in caplog.text
    caplog.clear()
    assert found(tmp_path / "_*.tsv") == [str(tmp_path / "_b.tsv")]
    assert caplog.records == []


def test_a_pattern_that_matches_only_what_is_left_out_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "_a.tsv")
    with pytest.raises(InputError, match="no file matches"):
        find_inputs([str(tmp_path / "*.tsv")])


def test_a_pattern_that_matches_folders_alone_says_so(tmp_path: Path) -> None:
    put(tmp_path / "day=1" / "a.tsv")
    with pytest.raises(InputError, match=r"no file matches .*day=\*; what matches are folders"):
        find_inputs([str(tmp_path / "day=*")])
    with pytest.raises(InputError, match=r"no file matches .*night=\*$"):
        find_inputs([str(tmp_path / "night=*")])


@pytest.mark.parametrize(
    ("name", "data", "code", "said"),
    [
        ("a.xlsx", b"PK\x03\x04\x14\0xl/workbook.xml", 3, "looks like an Excel workbook, not TSV, CSV or Parquet"),
        ("a.tar.gz", b"\x1f\x8b\x08\0\0\0\0\0", 2, "give --format"),
        ("a.json", b'{"text": "bagus"}', 2, "if it is one of them, else leave it out"),
        ("README.md", b"bagus", 2, "leave it out"),
        ("a", b"", 2, "give --format"),
        ("part-0", b"PAR1\0\0PAR1", 2, "give --format"),
    ],
)
def test_a_name_that_tells_no_format(tmp_path: Path, name: str, data: bytes, code: int, said: str) -> None:
    """What is none of the formats is not to be given out for one."""
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SentimentBatchError, match=said) as caught:
        find_inputs([str(tmp_path)])
    assert caught.value.exit_code == code
    assert name in str(caught.value)


ODD_NAMES = [b"a\nb.tsv", b"a\"b'.tsv", b"\xff\xfe.tsv", b"\x1b[31m.tsv", "é 評 😀.tsv".encode(), b"*.tsv", b" .tsv"]


@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
def test_a_file_of_any_name_is_read(tmp_path: Path, name: bytes) -> None:
    path = os.fsencode(tmp_path) + b"/" + name
    with open(path, "wb") as stream:
        stream.write(DATA)
    for given in (os.fsdecode(path), str(tmp_path)):
        file = one(given)
        assert os.fsencode(file.path) == path
        assert b"".join(byte_blocks(file)) == DATA
        check_unchanged(file)
        assert os.fsencode(str(file.identity()["name"])) == name


def test_a_pattern_over_folders_leaves_out_those_of_unfinished_work(tmp_path: Path) -> None:
    for name in ("a.tsv", "day=1/b.tsv", "_temporary/0/c.tsv", "day=1/_hidden/d.tsv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        put(tmp_path / name)
        (tmp_path / name).write_text(f"text\n{name}\n")
    found = find_inputs([f"{tmp_path}/**/*.tsv"])
    assert [os.path.relpath(file.path, tmp_path) for file in found] == ["a.tsv", "day=1/b.tsv"]
    assert len(find_inputs([f"{tmp_path}/_temporary/**/*.tsv"])) == 1
    assert len(find_inputs([f"{tmp_path}/day=1/_*/d.tsv"])) == 1


def test_a_pattern_in_a_folder_that_is_named_leaves_out_what_lies_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder's own name is spelled out; that says nothing of the names below it."""
    for name in ("_export/a.tsv", "_export/_temporary/0/b.tsv", "_export/_c.tsv", ".day/d.tsv", ".day/_e.tsv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        put(tmp_path / name)
    monkeypatch.chdir(tmp_path / "_export")
    patterns = (f"{tmp_path}/_export/**/*.tsv", "../_export//**/*.tsv", "**/*.tsv", "./*.tsv")
    for pattern in patterns:
        assert [os.path.basename(file.path) for file in find_inputs([pattern])] == ["a.tsv"], pattern
    assert [os.path.basename(file.path) for file in find_inputs(["../.day/*.tsv"])] == ["d.tsv"]


@pytest.mark.parametrize("suffix", ["gz", "bz2", "zst"])
def test_a_plain_text_that_is_named_like_an_archive_is_refused(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a.tsv.{suffix}").write_text("text\nbagus é\n")
    (file,) = find_inputs([str(tmp_path / f"a.tsv.{suffix}")])
    with pytest.raises(InputError, match=rf"is plain text, not \w+; name it without \.{suffix}$"):
        check_is_text(file)


@pytest.mark.parametrize("suffix", ["gz", "bz2", "zst"])
def test_an_archive_of_no_bytes_is_refused(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a.tsv.{suffix}").touch()
    (file,) = find_inputs([str(tmp_path / f"a.tsv.{suffix}")])
    with pytest.raises(InputError, match="is empty, which is no archive"):
        check_is_text(file)


@pytest.mark.parametrize("format", ["tsv", "auto"])
@pytest.mark.parametrize("kind", ["fifo", "/dev/null", "/dev/stdin"])
def test_what_is_read_only_once_is_no_input(tmp_path: Path, kind: str, format: str) -> None:
    path = str(tmp_path / "a") if kind == "fifo" else kind
    if kind == "fifo":
        os.mkfifo(path)
    with time_limit(5), pytest.raises(InputError, match=r"not a file.*write it to a file first|cannot be read"):
        find_inputs([path], format)


def test_a_folder_in_a_circle_ends(tmp_path: Path) -> None:
    put(tmp_path / "a.tsv")
    (tmp_path / "again").symlink_to(tmp_path)
    with time_limit(5), pytest.raises(InputError, match="again is a link to a folder that it lies in"):
        find_inputs([str(tmp_path)])


def closed(monkeypatch: pytest.MonkeyPatch, folder: Path, *calls: str) -> None:
    """Have the calls fail for what lies in the folder, or for a list of it, as for a user who may not."""

    def refusing(call: Callable[..., Any]) -> Callable[..., Any]:
        def refuse(path: Any = ".", *arguments: Any, **named: Any) -> Any:
            if not isinstance(path, int):
                inside = os.fspath(path).removeprefix(str(folder)).strip("/")
                if os.fspath(path).startswith(str(folder)) and (inside or call.__name__ in ("scandir", "listdir")):
                    raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
            return call(path, *arguments, **named)

        return refuse

    for name in calls:
        monkeypatch.setattr(os, name, refusing(getattr(os, name)))


@pytest.mark.parametrize("calls", [("scandir", "listdir"), ("stat", "lstat")], ids=["not listed", "not entered"])
@pytest.mark.parametrize("given", ["", "*/*.tsv", "**/*.tsv", "day=2/*.tsv", "*/b.tsv", "**"])
def test_a_folder_that_is_closed_is_refused_wherever_it_is_met(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, calls: tuple[str, ...]
) -> None:
    """To go on with the other folders would be to lose its rows in silence."""
    for name in ("a.tsv", "day=1/b.tsv", "day=2/b.tsv", "day=3/b.tsv"):
        put(tmp_path / name)
    closed(monkeypatch, tmp_path / "day=2", *calls)
    with pytest.raises(InputError, match=r"day=2.*cannot be read: Permission denied; let this user read it"):
        find_inputs([f"{tmp_path}/{given}"])


def test_a_file_in_a_folder_that_is_closed_is_not_said_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path / "day=2" / "b.tsv")
    closed(monkeypatch, tmp_path / "day=2", "stat")
    with pytest.raises(InputError, match=r"b\.tsv cannot be read: Permission denied"):
        find_inputs([path])


def test_a_closed_folder_that_is_no_data_is_in_nobodys_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "day=1" / "a.tsv")
    put(tmp_path / "_temporary" / "b.tsv")
    closed(monkeypatch, tmp_path / "_temporary", "scandir", "listdir")
    assert found(tmp_path) == found(tmp_path / "*/*.tsv") == found(tmp_path / "day=1/*") == [path]


@pytest.mark.parametrize("given", ["", "*", "*.tsv"])
def test_a_link_to_nothing_is_refused_in_a_folder_and_by_a_pattern(tmp_path: Path, given: str) -> None:
    put(tmp_path / "a.tsv")
    (tmp_path / "b.tsv").symlink_to(tmp_path / "gone.tsv")
    with pytest.raises(InputError, match=r"b\.tsv cannot be read: No such file"):
        find_inputs([f"{tmp_path}/{given}"])


def test_folders_that_a_pattern_matches_beside_files_are_said_to_be_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.tsv", "day=1/b.tsv", "_temporary/c.tsv"):
        put(tmp_path / name)
    assert found(tmp_path / "*") == [str(tmp_path / "a.tsv")]
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert line.startswith(f"{tmp_path}/*: matches folders, too, whose files are left out: '{tmp_path}/day=1'; name")
    caplog.clear()
    assert len(found(tmp_path / "**")) == 2
    assert "matches folders" not in caplog.text, "their files are matched, too"
