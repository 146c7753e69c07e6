"""Bytes -> records: where each row of a TSV or CSV begins and ends, whatever the bytes are.

A TSV record is what stands between two line feeds; quotes mean nothing. A CSV record follows RFC 4180: a field that
begins with a quote ends at the next quote that is not doubled, and may hold commas and line feeds. Where a quote is
never closed, only the line that opened it is refused: the lines after it are read again as records of their own, so
that a stray quote costs one row and not the rest of the file (pandas and polars lose the rest). So does a quote that is
closed on its line with text behind it.
"""

import hashlib
import re
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

MAX_ROW_BYTES = 16 * 2**20
MAX_QUOTED_BYTES = 2**20
_KEPT_BYTES = 256
BOM = b"\xef\xbb\xbf"

LINE_TOO_LONG = "line_too_long"
UNTERMINATED_QUOTE = "unterminated_quote"
TEXT_AFTER_QUOTE = "text_after_quote"


class Record(NamedTuple):
    """One row as bytes, without the line feed at its end. With a `reason` it cannot be used."""

    offset: int  # of the first byte, in the uncompressed file
    length: int  # in bytes, without the line feed
    data: bytes  # all of it; its first bytes only where the line is too long
    reason: str = ""
    sha256: str = ""  # of all of it, where `data` is not


def lines(blocks: Iterable[bytes], offset: int = 0) -> Iterator[Record]:
    """The lines in the blocks, a last one without a line feed included; `offset` is that of the first byte.

    A line of more than `MAX_ROW_BYTES` is skipped as it streams by and comes out with a reason, so that memory holds
    one line and one block at most.
    """
    source = iter(blocks)
    tail = b""
    for block in source:
        while block:  # a second time for what follows a line that was skipped
            *whole, tail = (tail + block).split(b"\n")
            block = b""
            for data in whole:
                yield _line(offset, data)
                offset += len(data) + 1
            if len(tail) > MAX_ROW_BYTES:
                record, block = _skip_line(offset, tail, source)
                yield record
                offset += record.length + 1
                tail = b""
    if tail:
        yield _line(offset, tail)


def _line(offset: int, data: bytes) -> Record:
    length = len(data)
    if length <= MAX_ROW_BYTES:
        return Record(offset, length, data)
    return Record(offset, length, data[:_KEPT_BYTES], LINE_TOO_LONG, hashlib.sha256(data).hexdigest())


def _skip_line(offset: int, head: bytes, blocks: Iterator[bytes]) -> tuple[Record, bytes]:
    """The record of a line that begins with `head` and ends somewhere in the blocks, and what follows it there."""
    digest, length = hashlib.sha256(head), len(head)
    rest = b""
    for block in blocks:
        part, newline, rest = block.partition(b"\n")
        digest.update(part)
        length += len(part)
        if newline:
            break
    return Record(offset, length, head[:_KEPT_BYTES], LINE_TOO_LONG, digest.hexdigest()), rest


def quoted_records(rows: Iterable[Record]) -> Iterator[Record]:
    """CSV records from lines: those of a quoted field that goes over line ends are joined again.

    Each line is looked at twice at most, however many quotes are never closed: `open_ahead` remembers how many of the
    lines ahead are known to leave a quoted field open.
    """
    source = iter(rows)
    ahead: deque[Record] = deque()  # read, but not yet given out
    open_ahead = 0
    while first := ahead.popleft() if ahead else next(source, None):
        taken = open_ahead = max(0, open_ahead - 1)
        if first.reason or b'"' not in first.data:
            yield first
            continue
        state = _quote_state(without_bom(first), inside=False)
        if state is not OPEN:
            yield first if state is CLOSED else first._replace(reason=TEXT_AFTER_QUOTE)
            continue
        last = ahead[taken - 1] if taken else first
        while state is OPEN and last.offset + last.length - first.offset <= MAX_QUOTED_BYTES:
            if taken == len(ahead):
                if (line := next(source, None)) is None:
                    break
                ahead.append(line)
            last = ahead[taken]
            taken += 1
            state = MALFORMED if last.reason else _quote_state(last.data, inside=True)
            open_ahead = taken if state is OPEN else open_ahead
        if state is CLOSED:
            data = b"\n".join([first.data, *(ahead.popleft().data for _ in range(taken))])
            open_ahead = 0
            yield Record(first.offset, len(data), data)
        else:
            yield first._replace(reason=UNTERMINATED_QUOTE)


def without_bom(record: Record) -> bytes:
    return record.data if record.offset else record.data.removeprefix(BOM)


OPEN, CLOSED, MALFORMED = "open", "closed", "malformed"


def _quote_state(line: bytes, inside: bool) -> str:
    """Whether the line leaves a quoted field open, or has text behind a closing quote, which RFC 4180 forbids."""
    position = 0
    while True:
        if inside:
            quote = line.find(b'"', position)
            if quote < 0:
                return OPEN
            after = line[quote + 1 : quote + 2]
            if after == b'"':
                position = quote + 2
                continue
            if after == b"" or line[quote + 1 :] == b"\r":
                return CLOSED
            if after != b",":
                return MALFORMED
            inside, position = False, quote + 2
        elif line[position : position + 1] == b'"':
            inside, position = True, position + 1
        else:
            comma = line.find(b",", position)
            if comma < 0:
                return CLOSED
            position = comma + 1


_QUOTED_FIELD = re.compile(r'"([^"]*+(?:""[^"]*+)*+)"(?:,|$)')


def split_quoted(record: str) -> list[str]:
    """The fields of one CSV record that `quoted_records` found to be whole."""
    if '"' not in record:
        return record.split(",")
    fields, position = [], 0
    while True:
        if record.startswith('"', position):
            match = _QUOTED_FIELD.match(record, position)
            assert match is not None, "quoted_records lets only closed quotes through"
            fields.append(match.group(1).replace('""', '"'))
            position = match.end()
            if not match.group().endswith(","):
                return fields
        else:
            comma = record.find(",", position)
            if comma < 0:
                return [*fields, record[position:]]
            fields.append(record[position:comma])
            position = comma + 1
