"""The pages of a Parquet column, from their headers: do they say what the footer says?

No checksum covers headers and footer, and Arrow believes both: of a row group whose number of rows was made smaller, by
a bit or by a hand, the last rows are left out in silence, and a page whose encoding was changed has other texts. A
header is a struct in Thrift's compact protocol, right before its page; see parquet.thrift and
thrift-compact-protocol.md.
"""

from collections.abc import Collection
from typing import Any, BinaryIO

_DATA_PAGE, _DATA_PAGE_V2, _DICTIONARY_PAGE = 0, 3, 2
_KIND, _UNPACKED, _PACKED, _HEADER, _HEADER_V2 = 1, 2, 3, 5, 8  # fields of a page's header
_VALUES = 1  # of the header of either data page
_ENCODING, _ENCODING_V2 = 2, 4
# Those that can be taken for each other. All writers name them in the footer, if not always the plain ones.
_DELTAS = {5: "DELTA_BINARY_PACKED", 6: "DELTA_LENGTH_BYTE_ARRAY", 7: "DELTA_BYTE_ARRAY", 9: "BYTE_STREAM_SPLIT"}
_MOST_BYTES = 16 * 2**20  # of one string, a minimum of a page
_DEEPEST = 8


class BadPage(ValueError):
    """What stands there is no header of a page."""


def count_values(file: BinaryIO, start: int, stop: int, expected: int, encodings: Collection[str]) -> int:
    """The values in the data pages from `start` to `stop`; beyond it, as old writers need, up to those expected.

    Raises `BadPage` where the pages end before that, and for an encoding that is not among those of the footer.
    """
    values = 0
    while start < stop or values < expected:
        header, start = _page(file, start)
        if header[_KIND] in (_DATA_PAGE, _DATA_PAGE_V2):
            number, encoded = (_HEADER, _ENCODING) if header[_KIND] == _DATA_PAGE else (_HEADER_V2, _ENCODING_V2)
            inner = header.get(number)
            count = inner.get(_VALUES) if isinstance(inner, dict) else None
            if not isinstance(inner, dict) or not isinstance(count, int) or count < 0:
                raise BadPage("a data page without its number of values")
            encoding = inner.get(encoded)
            if not isinstance(encoding, int):
                raise BadPage("a data page without its encoding")
            if encoding in _DELTAS and _DELTAS[encoding] not in encodings:
                raise BadPage(f"a page in {_DELTAS[encoding]}, which the footer does not name")
            values += count
    return values


def dictionary_bytes(file: BinaryIO, start: int) -> int:
    """The size of the dictionary's page that begins there, unpacked; 0 if another page does."""
    header, _ = _page(file, start)
    return int(header[_UNPACKED]) if header[_KIND] == _DICTIONARY_PAGE else 0


def _page(file: BinaryIO, start: int) -> tuple[dict[int, Any], int]:
    """The header of the page that begins there, and where the next one begins."""
    file.seek(start)
    header = _struct(file, _DEEPEST)
    sizes = [header.get(field) for field in (_KIND, _UNPACKED, _PACKED)]
    if not all(isinstance(size, int) and size >= 0 for size in sizes):
        raise BadPage("a page without its size")
    return header, file.tell() + header[_PACKED]


def _struct(file: BinaryIO, depth: int) -> dict[int, Any]:
    fields: dict[int, Any] = {}
    number = 0
    while byte := _byte(file):
        number = number + (byte >> 4) if byte >> 4 else _zigzag(file)
        fields[number] = byte & 15 == 1 if byte & 15 in (1, 2) else _value(file, byte & 15, depth)
    return fields


def _value(file: BinaryIO, kind: int, depth: int) -> Any:
    if not depth:
        raise BadPage("nested too deep")
    if kind in (1, 2, 3):
        return _byte(file)
    if kind in (4, 5, 6):
        return _zigzag(file)
    if kind == 7:
        return _bytes(file, 8)
    if kind == 8:
        return _bytes(file, _varint(file))
    if kind in (9, 10):
        head = _byte(file)
        count = head >> 4 if head >> 4 < 15 else _varint(file)
        return [_value(file, head & 15, depth - 1) for _ in range(count)]
    if kind == 12:
        return _struct(file, depth - 1)
    raise BadPage(f"a field of the type {kind}")


def _zigzag(file: BinaryIO) -> int:
    number = _varint(file)
    return number >> 1 ^ -(number & 1)


def _varint(file: BinaryIO) -> int:
    number = 0
    for shift in range(0, 70, 7):
        byte = _byte(file)
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number
    raise BadPage("a number without an end")


def _byte(file: BinaryIO) -> int:
    return _bytes(file, 1)[0]


def _bytes(file: BinaryIO, count: int) -> bytes:
    if count > _MOST_BYTES:
        raise BadPage(f"a string of {count} bytes")
    data = file.read(count)
    if len(data) < count:
        raise BadPage("the file ends inside it")
    return data
