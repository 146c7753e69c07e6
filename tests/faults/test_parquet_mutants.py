"""Parquet files with bytes changed, cut out and put in: the rows of the sound file, or exit 3; never another row.

Page checksums are on, as they must be for that promise. Mutants are read by a process that forks a reader for a dozen
of them at a time, with a limit of memory and a timer; a reader that a signal ends (Arrow is C++) is counted, and the
rest of its dozen goes to another. That a job may die at any instant without harm is proven elsewhere (test_crash.py).
"""

import hashlib
import json
import os
import random
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sentiment_batch.errors import InputError
from sentiment_batch.read.inputs import find_inputs
from sentiment_batch.read.parquet import byte_range, shards
from sentiment_batch.read.plan import open_inputs, plan, read_chunks, shard_sha256

Tier = Callable[[int, int], int]

MEMORY = 2 * 2**30  # above what the forked reader has
SECONDS = 30
_AT_ONCE = 12
_ROWS = 40
_STRING = pa.string()

TEXT_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "large_string": pa.large_string(),
    "string_view": pa.string_view(),
    "dictionary8": pa.dictionary(pa.int8(), pa.string()),
    "dictionary16": pa.dictionary(pa.int16(), pa.string()),
    "dictionary32": pa.dictionary(pa.int32(), pa.string()),
    "dictionary_u8": pa.dictionary(pa.uint8(), pa.string()),
    "dictionary_u32": pa.dictionary(pa.uint32(), pa.string()),
}
HOW: dict[str, dict[str, Any]] = {
    "none": {"compression": "none"},
    "plain": {"compression": "none", "use_dictionary": False},
    "snappy": {"compression": "snappy", "use_dictionary": False},
    "gzip": {"compression": "gzip"},
    "zstd": {"compression": "zstd"},
    "brotli": {"compression": "brotli"},
    "lz4": {"compression": "lz4"},
    "v2": {"data_page_version": "2.0"},
    "v2_plain": {"data_page_version": "2.0", "use_dictionary": False, "compression": "none"},
    "delta": {"use_dictionary": False, "column_encoding": {"text": "DELTA_BYTE_ARRAY"}},
    "delta_length": {"use_dictionary": False, "column_encoding": {"text": "DELTA_LENGTH_BYTE_ARRAY"}},
    "small_pages": {"data_page_size": 64, "write_batch_size": 4, "use_dictionary": False},
    "one_group": {"row_group_size": 1000},
    "single_rows": {"row_group_size": 1},
    "no_statistics": {"write_statistics": False},
    "page_index": {"write_page_index": True},
    "no_schema": {"store_schema": False},
    "version1": {"version": "1.0"},
}


def seed_table(type: pa.DataType = _STRING, rows: int = _ROWS, nulls: bool = True) -> pa.Table:
    chance = random.Random(rows)
    texts = [f"ulasan {chance.randrange(12)} é😀" * chance.choice([1, 1, 3]) for _ in range(rows)]
    texts = [None if nulls and number % 9 == 4 else text for number, text in enumerate(texts)]
    return pa.table({"text": pa.array(texts).cast(type), "n": chance.sample(range(rows), rows)})


def make_seeds(folder: Path) -> dict[str, Path]:
    """Sound files of many kinds, all with page checksums."""
    tables: dict[str, tuple[pa.Table, dict[str, Any]]] = {}
    for name, type in TEXT_TYPES.items():
        tables[name] = (seed_table(type), {})
    for name, how in HOW.items():
        tables[name] = (seed_table(), how)
    kinds = pa.array([["a", None], [], None, ["b"]] * 10)
    structs = pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}, {"a": 2, "b": None}] * 10)
    uuids = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes([n]) * 16 for n in range(_ROWS)], pa.binary(16)))
    days = pa.array([None if n % 7 == 3 else n * 86_400_000_001 for n in range(_ROWS)], pa.timestamp("ns"))
    tables["int96"] = (seed_table().append_column("kind", days), {"use_deprecated_int96_timestamps": True})
    for indices in (pa.int8(), pa.int32()):
        spoilt = pa.DictionaryArray.from_arrays(
            pa.array([n % 3 for n in range(_ROWS)], indices), pa.array([b"a", b"\xff", b"b"]).view(_STRING)
        )
        tables[f"bad_dictionary_{indices}"] = (seed_table().set_column(0, "text", spoilt), {})
    tables["uuid"] = (seed_table().append_column("kind", uuids), {})
    tables["no_nulls"] = (seed_table(nulls=False), {})
    tables["list"] = (seed_table().append_column("kind", kinds), {})
    tables["struct"] = (seed_table().append_column("kind", structs), {"use_dictionary": False})
    tables["all_null"] = (seed_table().set_column(0, "text", pa.nulls(_ROWS, pa.string())), {})
    tables["no_rows"] = (seed_table().slice(0, 0), {})
    tables["one_row"] = (seed_table().slice(0, 1), {})
    paths = {}
    for name, (table, how) in tables.items():
        paths[name] = folder / f"{name}.parquet"
        pq.write_table(table, paths[name], write_page_checksum=True, **{"row_group_size": 16, **how})
    return paths


def regions(path: Path) -> dict[str, tuple[int, int]]:
    """(first byte, byte behind the last) of the parts of a file; the pages of all columns are one."""
    size = path.stat().st_size
    footer = int.from_bytes(path.read_bytes()[-8:-4], "little")
    (file,) = find_inputs([str(path)])
    headers = [byte_range(file, shard)[0] for shard in shards(file, 1, 2**40)]
    pages = (4, size - 8 - footer)
    found = {"magic": (0, 4), "pages": pages, "footer": (pages[1], size - 8), "end": (size - 8, size)}
    for number, start in enumerate(sorted(set(headers))[:3]):
        found[f"header {number}"] = (start, min(start + 24, pages[1]))
    return {name: (start, stop) for name, (start, stop) in found.items() if start < stop}


def mutant(data: bytes, where: tuple[int, int], chance: random.Random) -> tuple[str, bytes]:
    """(what was done, the bytes after it), with the change in the range."""
    at = chance.randrange(*where)
    how = chance.choice(["bit", "bit", "byte", "bytes", "zeros", "ones", "cut", "insert", "swap", "copy", "truncate"])
    few = chance.choice([1, 2, 4, 16])
    if how == "bit":
        return how, data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
    if how == "byte":
        return how, data[:at] + chance.randbytes(1) + data[at + 1 :]
    if how == "bytes":
        return how, data[:at] + chance.randbytes(few) + data[at + few :]
    if how in ("zeros", "ones"):
        return how, data[:at] + (b"\0" if how == "zeros" else b"\xff") * few + data[at + few :]
    if how == "cut":
        return how, data[:at] + data[at + few :]
    if how == "insert":
        return how, data[:at] + chance.randbytes(few) + data[at:]
    if how == "swap":
        return how, data[:at] + data[at + few : at + 2 * few] + data[at : at + few] + data[at + 2 * few :]
    if how == "copy":
        other = chance.randrange(len(data))
        return how, data[:at] + data[other : other + few] + data[at + few :]
    return how, data[:at]


def read_rows(path: str) -> dict[str, str]:
    """Hashes of texts, of rows with all columns and of the schema, read as a job reads them: planned, in shards,
    hashed afterwards.
    """
    texts, rows = hashlib.sha256(), hashlib.sha256()
    inputs = open_inputs((path,), "parquet", (), ("text",))
    names = tuple(inputs.schema.names)
    schema = hashlib.sha256(repr([(name, str(inputs.schema.field(name).type)) for name in names]).encode())
    for planned in plan(inputs, 10, 2**28):
        for chunk in read_chunks(inputs, planned, names, "text", 7):
            texts.update(repr(chunk.batch.column("text").to_pylist()).encode())
            rows.update(repr([column.to_pylist() for column in chunk.batch.columns]).encode())
            texts.update(repr([(one["row"], one["reason"]) for one in chunk.rejects]).encode())
        shard_sha256(inputs, planned)
    return {"rows": rows.hexdigest(), "texts": texts.hexdigest(), "schema": schema.hexdigest()}


def _read_some(paths: list[str], report: int) -> None:
    """In a forked child: a line of JSON for each file, as soon as it is read. Never returns."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    for path in paths:
        signal.alarm(SECONDS)
        try:
            found = read_rows(path)
        except InputError as error:
            found = {"refused": str(error)}
        except MemoryError as error:
            found = {"memory": str(error)}
        except BaseException:
            found = {"bug": traceback.format_exc()[-1500:]}
        signal.alarm(0)
        os.write(report, (json.dumps(found) + "\n").encode())
    os._exit(0)


def read_all(paths: list[str]) -> list[dict[str, Any]]:
    """What came of each file; {"signal": ...} for one that its reader did not survive."""
    found: list[dict[str, Any]] = []
    while len(found) < len(paths):
        reader, writer = os.pipe()
        some = paths[len(found) : len(found) + _AT_ONCE]
        pid = os.fork()
        if not pid:
            os.close(reader)
            _read_some(some, writer)
        os.close(writer)
        with os.fdopen(reader) as lines:
            told = [json.loads(line) for line in lines]
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        found += told
        if code:
            found.append({"signal": -code})
    return found


def serve() -> None:
    """Lines of JSON with lists of paths in, lines with what came of them out: a process with one thread can fork."""
    for line in sys.stdin:
        print(json.dumps(read_all(json.loads(line))), flush=True)


@pytest.fixture(scope="module")
def readers() -> Any:
    import subprocess

    search = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": "1", "ARROW_NUM_THREADS": "1"},
        text=True,
    )

    def ask(paths: list[Path]) -> list[dict[str, Any]]:
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps([str(path) for path in paths]) + "\n")
        process.stdin.flush()
        return list(json.loads(process.stdout.readline()))

    yield ask
    assert process.stdin
    assert process.stdout
    process.stdin.close()
    process.wait(timeout=SECONDS)
    process.stdout.close()


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_seeds(tmp_path_factory.mktemp("seeds"))


Readers = Callable[[list[Path]], list[dict[str, Any]]]


def test_sound_files_are_read(seeds: dict[str, Path], readers: Readers) -> None:
    assert len(seeds) >= 30
    for name, found in zip(seeds, readers(list(seeds.values())), strict=True):
        assert "rows" in found, (name, found)


def test_a_mutant_gives_the_same_rows_or_none(
    seeds: dict[str, Path],
    readers: Readers,
    tmp_path: Path,
    tier: Tier,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Every seed in turn, a region and a change by chance; figures at the end.

    Nothing protects the names and types of columns, which are in the footer: a file with others is as good as any.
    """
    total = tier(960, 50_000)
    start = random.randrange(2**32) if request.config.getoption("--long") else 7
    chance = random.Random(start)
    sound = dict(zip(seeds, readers(list(seeds.values())), strict=True))
    places = {name: regions(path) for name, path in seeds.items()}
    counts: Counter[str] = Counter()
    by_region: Counter[tuple[str, str]] = Counter()
    faults: list[str] = []
    slowest = 0.0
    while counts["tried"] < total:
        told = {}
        for name, path in seeds.items():
            region = chance.choice(list(places[name]))
            how, data = mutant(path.read_bytes(), places[name][region], chance)
            victim = tmp_path / f"{counts['tried'] + len(told)}.parquet"
            victim.write_bytes(data)
            told[victim] = (name, region, how)
        began = time.perf_counter()
        for victim, found in zip(told, readers(list(told)), strict=True):
            name, region, how = told[victim]
            kind = next(iter(found))
            if found == sound[name]:
                kind = "identical"
            elif found.get("texts") == sound[name].get("texts") and found["schema"] != sound[name]["schema"]:
                kind = "schema" if region == "footer" else kind
            elif kind == "refused":
                assert str(victim) in found["refused"], found
            elif kind == "signal" and found["signal"] == signal.SIGALRM:
                kind = "hung"
            elif (
                kind == "signal" and found["signal"] == signal.SIGABRT
            ):  # pyarrow, which catches no C++ exception there
                kind = "crashed"
            if kind not in ("identical", "refused", "memory", "schema", "crashed"):
                kept = victim.rename(victim.with_suffix(".kept"))
                faults.append(f"{kept} ({name}, {region}, {how}): {found}")
            counts.update([kind, "tried"])
            by_region[region.split()[0], kind] += 1
            victim.unlink(missing_ok=True)
        slowest = max(slowest, time.perf_counter() - began)
    with capsys.disabled():
        print(f"\nmutants of {len(seeds)} files, seed {start}: {dict(counts)}; {slowest:.1f} s for a round")
        print({f"{region}: {kind}": number for (region, kind), number in sorted(by_region.items())})
    assert not faults, "\n".join(faults[:10])
    assert counts["crashed"] < total / 1000
    assert counts["refused"] > total / 4
    assert counts["identical"] > total / 50


@pytest.mark.parametrize("name", ["plain", "delta", "delta_length", "v2_plain"])
def test_a_page_that_says_another_encoding(name: str, seeds: dict[str, Path], readers: Readers, tmp_path: Path) -> None:
    """No checksum covers the header of a page: each of its bytes in turn is each of the encodings."""
    data = seeds[name].read_bytes()
    start, stop = regions(seeds[name])["header 0"]
    (sound,) = readers([seeds[name]])
    victims = []
    for at in range(start, stop):
        for encoding in range(0, 20, 2):  # as Thrift writes small numbers
            victims.append(tmp_path / f"{at}-{encoding}.parquet")
            victims[-1].write_bytes(data[:at] + bytes([encoding]) + data[at + 1 :])
    found = readers(victims)
    assert all(each == sound or "refused" in each for each in found), [each for each in found if "refused" not in each]
    assert sum("footer does not name" in each.get("refused", "") for each in found) > 1


def test_what_a_job_cannot_read_is_refused_by_its_type(tmp_path: Path) -> None:
    """A text of bytes, of lists or of structs; an extension type is read as what it is stored as."""
    for number, texts in enumerate(
        [pa.array([b"a"]), pa.array([["a"]]), pa.array([{"text": "a"}]), pa.array([b"ab"], pa.binary(2))]
    ):
        path = tmp_path / f"{number}.parquet"
        pq.write_table(pa.table({"text": texts}), path)
        with pytest.raises(InputError, match=rf"{number}\.parquet.*'text' holds .*not strings"):
            open_inputs((str(path),), "auto", (), ("text",))


class Quoted(pa.ExtensionType):
    """An extension type that a hostile file could name: nothing of it is made while reading."""

    def __init__(self) -> None:
        super().__init__(pa.string(), "sentiment_batch.quoted")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage: pa.DataType, serialized: bytes) -> "Quoted":
        raise AssertionError("made from the file")


def test_an_extension_type_is_not_made(tmp_path: Path) -> None:
    path = tmp_path / "extension.parquet"
    table = pa.table({"text": ["a", "b"], "n": [1, 2]})
    extended = table.set_column(0, "text", pa.ExtensionArray.from_storage(Quoted(), table.column("text").chunk(0)))
    pq.write_table(extended, path)
    sound = tmp_path / "plain.parquet"
    pq.write_table(table, sound)
    assert rows_of(path) == rows_of(sound)


def rows_of(path: Path) -> list[Any]:
    inputs = open_inputs((str(path),), "auto", (), ("text",))
    return [
        row
        for planned in plan(inputs, 10, 2**28)
        for chunk in read_chunks(inputs, planned, tuple(inputs.schema.names), "text", 7)
        for row in chunk.batch.to_pylist()
    ]


def test_a_dictionary_index_out_of_range_is_refused(tmp_path: Path) -> None:
    """The indices of a page are bits of a width that holds more values than the dictionary has; no checksums here."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": list("abcabcab")}), path, compression="none")
    data = path.read_bytes()
    packed = bytes([2, 3, 0b00100100, 0b01001001])  # two bits each: 0 1 2 0 1 2 0 1
    assert data.count(packed) == 1
    path.write_bytes(data.replace(packed, bytes([2, 3, 0b11100100, 0b01001001])))
    with pytest.raises(InputError, match=r"a\.parquet, .*row group 0"):
        rows_of(path)


@pytest.mark.parametrize("plaintext_footer", [True, False])
def test_an_encrypted_file_is_refused(tmp_path: Path, plaintext_footer: bool) -> None:
    encryption = pytest.importorskip("pyarrow.parquet.encryption")

    class Keys(encryption.KmsClient):  # type: ignore[misc, name-defined]
        def __init__(self, config: Any):
            super().__init__()

        def wrap_key(self, key: bytes, master: str) -> str:
            import base64

            return base64.b64encode(key).decode()

        def unwrap_key(self, wrapped: str, master: str) -> bytes:
            import base64

            return base64.b64decode(wrapped)

    factory = encryption.CryptoFactory(lambda config: Keys(config))
    how = encryption.EncryptionConfiguration(
        footer_key="f", column_keys={"c": ["text"]}, plaintext_footer=plaintext_footer, double_wrapping=False
    )
    properties = factory.file_encryption_properties(encryption.KmsConnectionConfig(), how)
    path = tmp_path / "secret.parquet"
    table = pa.table({"text": ["a", "b"], "n": [1, 2]})
    with pq.ParquetWriter(path, table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
    with pytest.raises(InputError, match=r"secret\.parquet") as caught:
        rows_of(path)
    assert "encrypted" in str(caught.value)


if __name__ == "__main__":
    serve()
