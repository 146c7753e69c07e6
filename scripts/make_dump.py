"""Write a realistic dump of reviews, as Parquet and as TSV, for the demo and the tests.

    python scripts/make_dump.py --rows 20000 --seed 1 --output-folder dumps

writes dumps/dump.parquet and dumps/dump.tsv: the same rows in the same order. The columns are review_id (int64, unique,
unsorted), created_at (timestamp; ISO 8601 in the TSV), source (dictionary of strings), rating (int8, with nulls) and
text. In the TSV a null is an empty field, so that a null text and an empty text look alike there; nothing is quoted or
escaped, and no text holds a tab or a line end.

The texts are put together from the sentences of the sample. One row in every 200 has a null text, one in every 100 a
blank one, one in every 500 a single character, one in every 4,000 more than 3,000 words, and one in every 80 another
script than Latin; where two of these meet, the first named holds. About 15 % of the rows repeat the text of another
row, however far away.

A row follows from the seed and its number alone, so --seed 1 --rows 1000 gives the first 1,000 rows of
--seed 1 --rows 200000. Memory does not grow with --rows: one row group of 50,000 rows is held at a time.
"""

import argparse
import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

SAMPLE_FOLDER = Path(__file__).resolve().parents[1] / "sentiment_batch" / "sample"
FORMATS = ("parquet", "tsv")
ROW_GROUP_ROWS = 50_000
SCHEMA = pa.schema(
    [
        ("review_id", pa.int64()),
        ("created_at", pa.timestamp("ms")),
        ("source", pa.dictionary(pa.int8(), pa.string())),
        ("rating", pa.int8()),
        ("text", pa.string()),
    ]
)

SOURCES = ("marketplace", "play_store", "app_store", "maps", "survey")
SOURCE_SHARES = (0.45, 0.2, 0.1, 0.2, 0.05)
LABELS = ("positive", "neutral", "negative")
LABEL_SHARES = (0.55, 0.2, 0.25)
RATINGS = ((5, 5, 5, 5, 4, 4, 3), (3, 3, 3, 4, 4, 5, 2), (1, 1, 1, 2, 2, 2, 3))
NULL_RATING_SHARE = 0.08
FIRST_SECOND = np.datetime64("2023-01-01T00:00:00")
LAST_SECOND = np.datetime64("2024-12-31T23:59:59")

# Less than the 15 % promised: single characters and single sentences repeat by themselves.
REPEATED_SHARE = 0.147
# How many sentences a text has. Few have one: the sample holds only some 10,000.
SENTENCE_COUNTS = (1,) + (2,) * 17 + (3,) * 9 + (4,) * 5
MOST_SENTENCES = max(SENTENCE_COUNTS)
NULL_EVERY, BLANK_EVERY, ONE_CHARACTER_EVERY, LONG_EVERY, OTHER_SCRIPT_EVERY = 200, 100, 500, 4_000, 80
LONG_WORDS = (3_001, 4_000)
BLANKS = ("", "", " ", "   ")
ONE_CHARACTERS = ("k", "y", ".", "5", "👍", "?", "A", "好", "-", "😡", '"', "\\")
OTHER_SCRIPTS = (
    "很好吃。服务也不错",
    "質量太差了",
    "とても美味しかったです。",
    "배송이 빨라요 감사합니다",
    "ممتاز جدا شكرا",
    "Очень доволен, спасибо!",
    "ราคาดี ส่งไว",
    "बहुत अच्छा",
    "ꦲꦤꦕꦫꦏ",
    "πολύ καλό",
    "הכל מצוין",
)
# {} is the text. Quotes, commas and backslashes are for readers that take them for syntax.
WRAPPERS = (
    '"{}"',
    '{} "recommended" katanya',
    'kata teman "wajib coba", {}',
    '{} ukuran 14"',
    "{} 'zonk'",
    "{} :'(",
    "jum'at: {}",
    "{} \\o/",
    "{} ¯\\_(ツ)_/¯",
    "{} \\n",
    "C:\\foto\\baru {}",
    "{} , , ,",
    "{} 😍😍",
    "{} 👍🏽",
    "👨‍👩‍👧 {}",
    "{} 🙏🙏🙏",
    "{} &amp; <br>",
    "*update* {}",
    "{} #1, 100% ok",
)
WRAPPED_SHARE = 0.15

Integers = npt.NDArray[np.int64]


class Sentence(NamedTuple):
    text: str
    mark: str


def random_bits(seed: int, rows: Integers, name: str) -> npt.NDArray[np.uint64]:
    """64 random bits for each row, from the seed, the row number and the name of what is drawn, and nothing else.

    They are SplitMix64's outputs (Steele et al. 2014, doi:10.1145/2660193.2660195) number `rows`, begun at a hash of
    seed and name.
    """
    start = int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:8], "little")
    bits = rows.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(start)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def random_shares(seed: int, rows: Integers, name: str) -> npt.NDArray[np.float64]:
    """A number in [0, 1) for each row."""
    return (random_bits(seed, rows, name) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def random_below(seed: int, rows: Integers, name: str, bound: int | Integers) -> Integers:
    """An integer in [0, bound) for each row; `bound` is one number or one for each row."""
    return (random_bits(seed, rows, name) % np.asarray(bound).astype(np.uint64)).astype(np.int64)


def random_choices(seed: int, rows: Integers, name: str, shares: Sequence[float]) -> Integers:
    """An index into `shares` for each row, drawn with those shares."""
    return np.searchsorted(np.cumsum(shares)[:-1], random_shares(seed, rows, name), side="right").astype(np.int64)


def one_in(seed: int, rows: Integers, every: int) -> list[int]:
    """Where in `rows` the chosen rows are: one, at random, of each `every` rows from a multiple of `every` on."""
    return np.flatnonzero(rows % every == random_below(seed, rows // every, f"one in {every}", every)).tolist()


def first_rows(seed: int, rows: Integers) -> Integers:
    """The row that each row has its text from: itself, or for REPEATED_SHARE of the rows an earlier one."""
    first = rows.copy()
    left = np.arange(len(rows))
    while left.size:
        left = left[(first[left] > 0) & (random_shares(seed, first[left], "is repeated") < REPEATED_SHARE)]
        first[left] = random_below(seed, first[left], "repeated row", first[left])
    return first


def read_sentences() -> list[list[Sentence]]:
    """For each of LABELS the distinct sentences of the sample's reviews of that label, with the marks that end them."""
    found: dict[str, dict[Sentence, None]] = {label: {} for label in LABELS}
    for split in ("train", "valid", "test"):
        with open(SAMPLE_FOLDER / f"{split}.tsv", encoding="utf-8", newline="\n") as lines:
            next(lines)
            for line in lines:
                text, label = line.rstrip("\n").split("\t")
                for match in re.finditer(r"(.+?)([.!?;~]+|$)(?:\s+|$)", text):
                    found[label][Sentence(match[1].strip(), match[2])] = None
    return [list(sentences) for sentences in found.values()]


def joined(sentences: Sequence[Sentence]) -> str:
    """The sentences as one text, a comma between two where the first has no mark and ends with a letter or digit."""
    *others, last = sentences
    begun = (text + (mark or ("," if text[-1].isalnum() else "")) for text, mark in others)
    return " ".join([*begun, last.text + last.mark.replace(";", ".")])


def long_text(sentences: Sequence[Sentence], bits: int) -> str:
    """A text of as many words as `bits` choose within LONG_WORDS."""
    rng = random.Random(bits)
    words = rng.randint(*LONG_WORDS)
    return " ".join(joined(rng.choices(sentences, k=words)).split(" ")[:words])


def make_texts(seed: int, rows: Integers, labels: Integers, sentences: list[list[Sentence]]) -> list[str | None]:
    """The text of each row. `labels` are indexes into LABELS, those of the rows that the texts come from."""
    first = first_rows(seed, rows)
    counts = np.array(SENTENCE_COUNTS)[random_below(seed, first, "sentence count", len(SENTENCE_COUNTS))]
    sizes = np.array([len(of_label) for of_label in sentences])[labels]
    chosen = np.stack([random_below(seed, first, f"sentence {n}", sizes) for n in range(MOST_SENTENCES)], axis=1)
    # A share of the range picks the wrapper, the rest none.
    wrappers = random_below(seed, first, "wrapper", round(len(WRAPPERS) / WRAPPED_SHARE)).tolist()
    texts: list[str | None] = []
    for label, count, picks, wrapper in zip(labels.tolist(), counts.tolist(), chosen.tolist(), wrappers, strict=True):
        text = joined([sentences[label][pick] for pick in picks[:count]])
        texts.append(WRAPPERS[wrapper].replace("{}", text) if wrapper < len(WRAPPERS) else text)

    bits = random_bits(seed, rows, "special text").tolist()
    for at in one_in(seed, rows, OTHER_SCRIPT_EVERY):
        script = OTHER_SCRIPTS[bits[at] % len(OTHER_SCRIPTS)]
        texts[at] = (script, f"{script} {texts[at]}", f"{texts[at]} {script}", f"{texts[at]}{script}")[bits[at] >> 62]
    for at in one_in(seed, rows, LONG_EVERY):
        texts[at] = long_text(sentences[labels[at]], bits[at])
    for at in one_in(seed, rows, ONE_CHARACTER_EVERY):
        texts[at] = ONE_CHARACTERS[bits[at] % len(ONE_CHARACTERS)]
    for at in one_in(seed, rows, BLANK_EVERY):
        texts[at] = BLANKS[bits[at] % len(BLANKS)]
    for at in one_in(seed, rows, NULL_EVERY):
        texts[at] = None
    return texts


def make_tables(row_count: int, seed: int) -> Iterator[pa.Table]:
    """The rows 0 to `row_count` - 1 in order, in tables of ROW_GROUP_ROWS rows; the last may be shorter."""
    sentences = read_sentences()
    for start in range(0, row_count, ROW_GROUP_ROWS):
        rows = np.arange(start, min(start + ROW_GROUP_ROWS, row_count), dtype=np.int64)
        labels = random_choices(seed, first_rows(seed, rows), "label", LABEL_SHARES)
        ratings = np.array(RATINGS, dtype=np.int8)[labels, random_below(seed, rows, "rating", len(RATINGS[0]))]
        seconds = random_below(seed, rows, "created_at", int((LAST_SECOND - FIRST_SECOND).astype(np.int64)) + 1)
        sources = random_choices(seed, rows, "source", SOURCE_SHARES).astype(np.int8)
        columns = [
            # An odd factor permutes the numbers below 2**40 (products may wrap: 2**40 divides 2**64).
            (rows.astype(np.uint64) * np.uint64(0x9E3779B97F) + np.uint64(seed % 2**40)) % np.uint64(2**40),
            (FIRST_SECOND + seconds).astype("datetime64[ms]"),
            pa.DictionaryArray.from_arrays(sources, pa.array(SOURCES)),
            pa.array(ratings, mask=random_shares(seed, rows, "rating is null") < NULL_RATING_SHARE),
            make_texts(seed, rows, labels, sentences),
        ]
        yield pa.table(columns, schema=SCHEMA)


def tsv_lines(table: pa.Table) -> bytes:
    """The rows of `table` as TSV: fields as they are between tabs, a null as an empty field, LF line ends."""
    created_at = np.datetime_as_string(table["created_at"].to_numpy(), unit="s").tolist()
    other = (table[name].to_pylist() for name in ("source", "rating", "text"))
    fields = zip(table["review_id"].to_pylist(), created_at, *other, strict=True)
    lines = ("\t".join("" if field is None else str(field) for field in row) for row in fields)
    return "".join(f"{line}\n" for line in lines).encode()


def write_dump(row_count: int, seed: int, output_folder: Path, formats: Sequence[str]) -> None:
    """Write dump.parquet, dump.tsv or both into `output_folder`, made if missing; such files there are replaced."""
    output_folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        if "parquet" in formats:
            parquet = stack.enter_context(pq.ParquetWriter(output_folder / "dump.parquet", SCHEMA))
        if "tsv" in formats:
            tsv = stack.enter_context(open(output_folder / "dump.tsv", "wb"))
            tsv.write(("\t".join(SCHEMA.names) + "\n").encode())
        for table in make_tables(row_count, seed):
            if "parquet" in formats:
                parquet.write_table(table, row_group_size=ROW_GROUP_ROWS)
            if "tsv" in formats:
                tsv.write(tsv_lines(table))


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a realistic dump of reviews for the demo and the tests.")
    parser.add_argument("--rows", type=int, default=20_000, help="rows in each file (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same rows (default: %(default)s)")
    parser.add_argument("--output-folder", type=Path, required=True, help="where the files go; made if missing")
    parser.add_argument("--format", action="append", choices=FORMATS, help="may be repeated (default: both)")
    options = parser.parse_args()
    if options.rows < 0:
        parser.error(f"--rows {options.rows}: give 0 or more")
    write_dump(options.rows, options.seed, options.output_folder, options.format or FORMATS)


if __name__ == "__main__":
    main()
